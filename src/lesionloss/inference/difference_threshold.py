"""The method without training: a threshold on the smoothed difference of two visits. A network should score better.

`matched_difference_threshold`, in this order: the baseline is matched to the follow-up (`data.visit_matching`); their
difference is smoothed in plane; lesion is where it is above a threshold, the follow-up is bright, and the voxel lies
deep enough below the surface of the brain, whose edge differs between visits; small components are removed.
`difference_threshold` is the same without matching and depth.
"""

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from lesionloss.core.argument_types import check_field_types
from lesionloss.core.call_text import format_call, parse_call
from lesionloss.core.catalogue import nearest
from lesionloss.core.components import label_components
from lesionloss.core.errors import DataError, UsageError
from lesionloss.data.prepared import PreparedCase
from lesionloss.data.visit_matching import MatchSettings, match_visits

_COARSE = 1.5  # an axis whose spacing is this many times the finest is through-plane and is not smoothed
_NOUN = "comparator"


@dataclass(frozen=True)
class DifferenceThreshold:
    """Settings of the method. The defaults were fixed on synthetic patients (docs/results/transfer.md).

    Attributes:
        matched: Whether the baseline is matched to the follow-up first.
        depth_mm: Smallest distance from the outside of the brain mask in mm.
        smoothing_mm: Standard deviation of the Gaussian filter in mm.
        threshold: Smallest difference in z-scores.
        bright: Smallest follow-up intensity in z-scores.
        smallest_mm3: Components up to this volume in mm³ are removed.

    Raises:
        UsageError: A number is negative, infinite or no number.
    """

    matched: bool = True
    depth_mm: float = 5.0
    smoothing_mm: float = 1.0
    threshold: float = 0.6
    bright: float = 0.5
    smallest_mm3: float = 15.0

    def __post_init__(self) -> None:
        """Check the values."""
        check_field_types(self)
        for name in ("depth_mm", "smoothing_mm", "threshold", "smallest_mm3"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise UsageError(f"{_NOUN}: {name} must be a number from 0 on, got {getattr(self, name)!r}")
        if not abs(self.bright) < float("inf"):
            raise UsageError(f"{_NOUN}: bright must be a number of standard deviations, got {self.bright!r}")

    def __str__(self) -> str:
        """The text that `read_difference_threshold` reads back."""
        name = "matched_difference_threshold" if self.matched else "difference_threshold"
        own, usual = asdict(self), asdict(METHODS[name])
        return format_call(name, {key: value for key, value in own.items() if value != usual[key]})

    @property
    def title(self) -> str:
        """Its name in tables, such as "matched difference threshold (no training)"."""
        text = str(self)
        return f"{text if '(' in text else text.replace('_', ' ')} (no training)"

    def mask(self, case: PreparedCase) -> NDArray[np.bool_]:
        """Mark new lesions.

        Args:
            case: A case with the image channels baseline, follow-up and difference, (3, X, Y, Z), z-scored.

        Returns:
            The mask (X, Y, Z).

        Raises:
            DataError: The case has other channels, or a constant baseline.
        """
        from scipy import ndimage

        if "difference" not in case.channels:
            raise DataError(f"{case.name}: the difference threshold needs two visits and the preparation step subtract")
        spacing = np.asarray(case.spacing_mm)
        sigma = np.where(spacing < _COARSE * spacing.min(), self.smoothing_mm / spacing, 0.0)
        baseline, followup = case.image[0], case.image[len(case.channels) // 2]
        difference = case.image[-1]
        if self.matched:
            own = match_visits(baseline, followup, case.brain, case.spacing_mm, MatchSettings(), case.name)
            difference = np.where(case.brain, followup - own, np.float32(0))
        smooth = ndimage.gaussian_filter(difference, sigma)
        mask = (smooth > self.threshold) & (followup > self.bright) & case.brain
        if self.depth_mm:
            mask &= depth_below_surface_mm(case.brain, case.spacing_mm) >= self.depth_mm
        components, _ = label_components(mask, 26)
        voxels = np.bincount(components.ravel())
        large = voxels * float(np.prod(spacing)) > self.smallest_mm3
        large[0] = False
        return np.asarray(large[components])


METHODS = {
    "matched_difference_threshold": DifferenceThreshold(),
    "difference_threshold": DifferenceThreshold(matched=False, depth_mm=0.0, threshold=1.0),
}


def read_difference_threshold(text: str) -> DifferenceThreshold:
    """Read `matched_difference_threshold`, `difference_threshold(threshold=1.2)`, and so on.

    Raises:
        UsageError: For another name, an unknown setting, or a value out of range.
    """
    name, values = parse_call(text, _NOUN)
    if name not in METHODS:
        raise UsageError(f"no {_NOUN} is named {name!r}; {nearest(name, list(METHODS))}")
    usual = asdict(METHODS[name])
    for key in values:
        if key not in usual or key == "matched":
            known = [known for known in usual if known != "matched"]
            raise UsageError(f"{_NOUN} {name!r} has no setting {key!r}; {nearest(key, known)}")
    return DifferenceThreshold(**{**usual, **values})


def depth_below_surface_mm(brain: NDArray[np.bool_], spacing_mm: tuple[float, ...]) -> NDArray[np.float32]:
    """Distance of each voxel from the nearest voxel outside the brain mask.

    Args:
        brain: Brain mask (*space); what lies beyond the image counts as outside.
        spacing_mm: Edge lengths of a voxel.

    Returns:
        Millimetres (*space); 0 outside the mask.
    """
    import edt

    inner = tuple(slice(1, -1) for _ in brain.shape)
    return np.asarray(edt.edt(np.pad(brain, 1), anisotropy=spacing_mm, parallel=1)[inner], dtype=np.float32)

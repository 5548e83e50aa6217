"""The Ljubljana longitudinal set: change of MS lesions between two FLAIR visits (Lesjak et al., Neuroinformatics 2016).

The published masks mark change in both directions: lesions that appeared or grew, and lesions that shrank. The target
`positive_change` keeps the connected components that brightened between the z-scored visits. It is derived, so it is
not comparable with masks that experts relabelled. `positive_voxels` keeps the voxels that brightened, whatever their
component. In patients 01, 03 and 12 the masks have 2264, 2768 and 2614 voxels, `positive_change` has 1913, 2287 and
698, and `positive_voxels` 1959, 2172 and 769; 15, 151 and 16 voxels of `positive_change` darkened. The folder may also
be `coregistered`, or `longitudinal` above it.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lesionloss.core.components import label_components
from lesionloss.data.layouts.find_files import discover_in, folders_in, image_file
from lesionloss.data.layouts.records import FoundCases, Layout, LayoutGroup, Target, published
from lesionloss.data.subject import Image, Labels, Mask, Subject
from lesionloss.data.z_score import z_score

VISITS = ("study1_FLAIR", "study2_FLAIR")


@dataclass(frozen=True)
class Change:
    """A connected component of the published mask; `mean_difference` is second minus first z-scored visit."""

    label: int
    voxels: int
    mean_difference: float


def _patients(root: Path) -> list[Path]:
    """List the patients' folders in `root`, in `root/coregistered` or in `root/longitudinal/coregistered`."""
    inner = (root / "longitudinal" / "coregistered", root / "coregistered", root)
    start = next(folder for folder in inner if folder.is_dir())
    return [folder for folder in folders_in(start) if re.fullmatch(r"patient\d+", folder.name)]


def _recognise(root: Path) -> bool:
    return any(image_file(folder, stem) for folder in _patients(root) for stem in (*VISITS, "gt"))


def _discover(root: Path) -> FoundCases:
    return discover_in(_patients(root), VISITS, reference="gt", brain="brainmask", brain_needed=True)


def changes(change: Mask, difference: Image) -> tuple[Mask, tuple[Change, ...]]:
    """Split a change mask into components (26-connected), and find those that brightened.

    A component counts as a whole, by its mean difference over all its voxels, also those outside the brain mask (which
    is tight in places). A mean of exactly zero is not brighter.

    Args:
        change: Mask of change (X, Y, Z).
        difference: Second minus first z-scored visit (X, Y, Z).

    Returns:
        The mask (X, Y, Z) of the components that brightened, and all components.
    """
    # Corners count as contact: slices are four times as thick as pixels are wide, so lesions step sideways.
    labels, _ = label_components(change, 26)
    inside = labels[change].astype(np.int64)
    voxels = np.bincount(inside)
    sums = np.bincount(inside, weights=difference[change].astype(np.float64))
    records = tuple(
        Change(label, int(voxels[label]), float(sums[label] / voxels[label])) for label in range(1, len(voxels))
    )
    brighter = np.isin(labels, [record.label for record in records if record.mean_difference > 0])
    return np.asarray(brighter, dtype=np.bool_), records


def difference_of(subject: Subject) -> Image:
    """Subtract the first visit from the second, each z-scored inside the brain mask: (X, Y, Z)."""
    brain = subject.brain if subject.brain is not None else np.ones(subject.space, dtype=np.bool_)
    first, second = (
        z_score(visit[0], brain, f"{subject.name}, visit {index}")
        for index, visit in enumerate(subject.visits, start=1)
    )
    return second - first


def positive_change(subject: Subject) -> Labels | None:
    """Keep the components of the published change mask that brightened from the first to the second visit."""
    if subject.lesion is None:
        return None
    return changes(subject.lesion, difference_of(subject))[0].astype(np.uint8)


def positive_voxels(subject: Subject) -> Labels | None:
    """Keep the voxels of the published change mask that are brighter in the second visit, whatever their component."""
    if subject.lesion is None:
        return None
    return (subject.lesion & (difference_of(subject) > 0)).astype(np.uint8)


LAYOUT = Layout(
    name="lit",
    title="Ljubljana longitudinal set, change of MS lesions between two FLAIR visits",
    looks_like="patient01/{study1_FLAIR,study2_FLAIR,brainmask,gt}.nii.gz",
    recognise=_recognise,
    discover=_discover,
    targets=(
        Target("positive_change", "new or growing lesions: change components that brightened", positive_change),
        Target("positive_voxels", "voxels of change that brightened, whatever their component", positive_voxels),
        Target("change", "all change, as published", published),
    ),
    group=LayoutGroup.LONGITUDINAL,
    visits="2",
    tested_on="3 patients (16 others lack images)",
)

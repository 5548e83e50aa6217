"""How well probabilities agree with observed frequencies: proper scores and binned calibration errors.

Each is taken over the whole image, over the brain (`_brain`), and within 10 mm of a reference lesion (`_near`): the
whole image is dominated by voxels that are clearly background. Sums are in float64, whatever the type of the map.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from lesionloss.core.errors import UsageError
from lesionloss.metrics.array_checks import Floats, Mask
from lesionloss.metrics.case import Case
from lesionloss.metrics.metric_registry import (
    COMPUTED,
    NAN,
    NOT_NEGATIVE,
    SHARE,
    Better,
    EmptyValues,
    RequiredMap,
    metric,
)

NEAR_MM = 10.0
SLAB_VOXELS = 1 << 19

# Probabilities are kept this far from 0 in logarithms: about the resolution of float32 next to 1.
EPS = 1e-7

Term = Callable[[Floats, Mask], Floats]


@dataclass(frozen=True)
class ImageRegion:
    """The voxels that a metric of calibration is taken over: `select` gives a mask, or None for all of them."""

    suffix: str
    words: str
    needs: tuple[RequiredMap, ...]
    empty: EmptyValues
    select: Callable[[Case], Mask | None]


@dataclass(frozen=True)
class Reliability:
    """Voxels, mean probability and share of lesion in each bin (left, right], shapes (bins,); NaN in empty bins."""

    voxels: NDArray[np.int64]
    probability: Floats
    lesion: Floats


def _without_ignored(case: Case, mask: Mask | None) -> Mask | None:
    if case.ignore is None:
        return mask
    return ~case.ignore if mask is None else mask & ~case.ignore


WHOLE = ImageRegion("", "whole image", (), COMPUTED, lambda case: _without_ignored(case, None))
BRAIN = ImageRegion("_brain", "brain", (RequiredMap.BRAIN,), COMPUTED, lambda case: _without_ignored(case, case.brain))
NEAR = ImageRegion(
    "_near",
    f"within {NEAR_MM:g} mm of reference lesions",
    (),
    EmptyValues(pred=None, ref=NAN, both=NAN),
    lambda case: _without_ignored(case, case.near_reference(NEAR_MM)),
)


def region_slabs(case: Case, region: ImageRegion) -> Iterator[tuple[Floats, Mask]]:
    """Probabilities in float64 and labels of the voxels of a region, some thousands at a time to spare memory."""
    if case.probability is None:
        raise UsageError("calibration needs a probability map, and this case has none; pass one to Case")
    mask = region.select(case)
    step = max(1, SLAB_VOXELS * case.shape[0] // case.probability.size)
    for start in range(0, case.shape[0], step):
        part = slice(start, start + step)
        p, y = case.probability[part], case.reference[part]
        chosen = np.ones_like(y) if mask is None else mask[part]
        yield p[chosen].astype(np.float64), y[chosen]


def _mean(case: Case, region: ImageRegion, term: Term) -> float:
    total, voxels = 0.0, 0
    for p, y in region_slabs(case, region):
        total += float(term(p, y).sum())
        voxels += p.size
    return total / voxels if voxels else NAN


def reliability(case: Case, region: ImageRegion = WHOLE, *, bins: int = 20) -> Reliability:
    """The reliability diagram of a case, in equal bins of the lesion probability (as MONAI's `calibration_binning`).

    Raises:
        UsageError: for less than one bin, or a case without a probability map.
    """
    if bins < 1:
        raise UsageError(f"bins: expected at least 1, got {bins}")
    edges = np.linspace(0, 1, bins + 1)[1:-1]
    voxels, lesion, total = np.zeros(bins, dtype=np.int64), np.zeros(bins, dtype=np.int64), np.zeros(bins)
    for p, y in region_slabs(case, region):
        place = np.searchsorted(edges, p)
        voxels += np.bincount(place, minlength=bins)
        lesion += np.bincount(place[y], minlength=bins)
        total += np.bincount(place, weights=p, minlength=bins)
    filled = np.where(voxels, voxels, np.nan)
    return Reliability(voxels, total / filled, lesion / filled)


def _squared(p: Floats, y: Mask) -> Floats:
    return np.square(p - y)


def _nats(p: Floats, y: Mask, eps: float) -> Floats:
    return np.asarray(-np.log(np.maximum(np.where(y, p, 1 - p), eps)))


def _lesion_nats(p: Floats, y: Mask, eps: float) -> Floats:
    return np.asarray(-np.log(np.maximum(p[y], eps)))


def _gap(diagram: Reliability) -> Floats:
    return np.abs(diagram.probability - diagram.lesion)


def _short(name: str, region: ImageRegion) -> str:
    """The name of a metric of the whole image; of another region, with its words."""
    return f"{name}, {region.words}" if region.suffix else name


def _register_scores(region: ImageRegion) -> None:
    """Register the proper scores of one region."""
    lower = partial(metric, direction=Better.LOWER, empty=region.empty, needs=(RequiredMap.PROBABILITY, *region.needs))

    @lower(
        f"nll{region.suffix}",
        title=f"Negative log likelihood of both classes, {region.words}",
        short_title=_short("Negative log-likelihood", region),
        unit="nats",
        source="Good 1952",
        limits=NOT_NEGATIVE,
    )
    def nll(case: Case, *, eps: float = EPS) -> float:
        """Mean of -log(p where lesion, 1 - p where background)."""
        return _mean(case, region, lambda p, y: _nats(p, y, eps))

    @lower(
        f"brier{region.suffix}",
        title=f"Brier score of the lesion probability, {region.words}",
        short_title=_short("Brier score", region),
        unit="",
        source="Brier 1950, one class; as Yeung et al. 2023 (DSC++)",
        limits=SHARE,
    )
    def brier(case: Case) -> float:
        """Mean of (p - y)^2, y = 1 in the reference and 0 elsewhere."""
        return _mean(case, region, _squared)


def _register_binned_errors(region: ImageRegion) -> None:
    """Register the binned calibration errors of one region."""
    lower = partial(metric, direction=Better.LOWER, empty=region.empty, needs=(RequiredMap.PROBABILITY, *region.needs))

    @lower(
        f"ece{region.suffix}",
        title=f"Expected calibration error, {region.words}",
        short_title=_short("Expected calibration error", region),
        unit="",
        source="Naeini et al. 2015; as MONAI (expected)",
        limits=SHARE,
    )
    def ece(case: Case, *, bins: int = 20) -> float:
        """Sum over bins of |mean p - share of lesion|, weighted by the share of voxels in the bin."""
        diagram = reliability(case, region, bins=bins)
        voxels = diagram.voxels.sum()
        return float(np.nansum(_gap(diagram) * diagram.voxels) / voxels) if voxels else NAN

    @lower(
        f"ace{region.suffix}",
        title=f"Average calibration error over filled bins, {region.words}",
        short_title=_short("Average calibration error", region),
        unit="",
        source="Neumann et al. 2018; Barfoot et al. 2025; as MONAI (average)",
        limits=SHARE,
    )
    def ace(case: Case, *, bins: int = 20) -> float:
        """Mean over the bins that hold a voxel of |mean p - share of lesion|."""
        diagram = reliability(case, region, bins=bins)
        filled = diagram.voxels > 0
        return float(_gap(diagram)[filled].mean()) if filled.any() else NAN


for _region in (WHOLE, BRAIN, NEAR):
    _register_scores(_region)
    _register_binned_errors(_region)


@metric(
    "brier_two_class",
    title="Brier score summed over lesion and background, whole image",
    unit="",
    direction=Better.LOWER,
    source="Brier 1950",
    empty=COMPUTED,
    needs=(RequiredMap.PROBABILITY,),
    limits=(0.0, 2.0),
)
def brier_two_class(case: Case) -> float:
    """Twice `brier`: the squared errors of lesion and background probability added up."""
    return 2 * _mean(case, WHOLE, _squared)


@metric(
    "nll_lesion_term",
    title="Lesion term of the NLL over all voxels: no proper score, 'lesion everywhere' scores 0",
    short_title="Lesion term of the NLL",
    unit="nats",
    direction=Better.LOWER,
    source="released code of Yeung et al. 2023 (DSC++), called NLL there",
    empty=COMPUTED,
    needs=(RequiredMap.PROBABILITY,),
    limits=NOT_NEGATIVE,
)
def nll_lesion_term(case: Case, *, eps: float = EPS) -> float:
    """Sum of -log(p) over lesion voxels / all voxels; false positives do not change it."""
    return _mean(case, WHOLE, lambda p, y: _lesion_nats(p, y, eps))

"""Probability maps as they were kept: 8-bit levels on the grid of the case, and what can be counted from them.

A voxel is lesion at threshold t where level / 255 >= t, so 256 counts of lesion and of background voxels say all there
is to say about thresholds and calibration of a map, and a map need be read only once.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesionloss.core.errors import DataError
from lesionloss.metrics.lesion_components import fewest_voxels
from lesionloss.metrics.lesion_table import SIZE_EDGES_MM3, SizeClass
from lesionloss.metrics.thresholds import ThresholdCounts
from lesionloss.runs.results import DIFFERENCE_THRESHOLD, Results, RunTrial
from lesionloss.runs.run_files import read_arrays

Levels = NDArray[np.uint8]
Counts = NDArray[np.int64]

LEVELS = 256
MOST_MAPS = 600  # more would take a report of a large run over a minute; then the first seeds stand for all
SMALLEST_LESION_MM3 = 3.0  # as in the lesion-wise metrics
THRESHOLDS = np.round(np.arange(0.05, 0.951, 0.05), 2)
BINS = 20


@dataclass(frozen=True)
class Lesions:
    """Lesions of a reference: `labels` (*space), 1 for the largest; `voxels` of each (n,); `centres` (n, axes)."""

    labels: NDArray[np.uint16]
    voxels: Counts
    centres: NDArray[np.float64]


@dataclass(frozen=True)
class MapFacts:
    """One map beside its reference: voxels at each level, shape (256,), and the highest level in each lesion (n,)."""

    loss: str
    case: str
    seed: int
    lesion: Counts
    background: Counts
    reached: Levels


def level_map(trial: RunTrial, case: str) -> Levels:
    """The kept map in 256 levels, (*space) or (classes, *space). Raises DataError where it is absent."""
    arrays = read_arrays(trial.folder / "predictions" / f"{case}.npz")
    if "probability" not in arrays or arrays["probability"].dtype != np.uint8:
        raise DataError(f"{trial.folder}/predictions/{case}.npz: no 8-bit array named 'probability'")
    return arrays["probability"]


def fitted(levels: Levels, space: tuple[int, ...]) -> Levels:
    """A map (*space), or (classes, *space) with background first, as the level of any lesion (*space)."""
    if levels.shape == space:
        return levels
    if levels.shape[1:] == space and len(levels) > 1:
        return np.asarray(LEVELS - 1 - levels[0], dtype=np.uint8)
    raise DataError(f"a kept map has shape {levels.shape}, its case {space}; bench again to make it anew")


def trials_to_read(results: Results) -> dict[str, tuple[RunTrial, ...]]:
    """For each case the trials tested on it: all of them, or of large runs those of each loss's first seed."""
    tested = {c.name: [t for t in results.trials if c.name in t.record.get("test", [])] for c in results.cohort}
    if sum(map(len, tested.values())) <= MOST_MAPS:
        return {case: tuple(trials) for case, trials in tested.items()}
    return {case: first_seeds(trials) for case, trials in tested.items()}


def first_seeds(trials: Sequence[RunTrial]) -> tuple[RunTrial, ...]:
    """Of each loss the trial with the lowest seed, in the order in which losses come."""
    chosen: dict[str, RunTrial] = {}
    for trial in sorted(trials, key=lambda trial: trial.seed):
        chosen.setdefault(trial.loss, trial)
    return tuple(chosen.values())


def lesions_of(reference: NDArray[np.bool_], spacing_mm: Sequence[float]) -> Lesions:
    """Components of the reference that share faces and exceed 3 mm3, from the largest on."""
    from scipy import ndimage

    labels, count = ndimage.label(reference)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    fewest = fewest_voxels(SMALLEST_LESION_MM3, float(np.prod(spacing_mm)))
    kept = [int(n) for n in np.argsort(-sizes, kind="stable") if sizes[n] >= fewest]
    renamed = np.zeros(count + 1, dtype=np.uint16)
    renamed[[n + 1 for n in kept]] = np.arange(1, len(kept) + 1)
    centres = (
        ndimage.center_of_mass(reference, labels, [n + 1 for n in kept]) if kept else np.zeros((0, reference.ndim))
    )
    return Lesions(renamed[labels], sizes[kept].astype(np.int64), np.asarray(centres, dtype=np.float64))


def facts_of(trial: RunTrial, case: str, levels: Levels, counted: NDArray[Any], lesions: Lesions) -> MapFacts:
    """What a map says; `counted` (*space) holds 1 for lesion, 0 for background and 2 for voxels that are ignored."""
    inside, all_counted = counted == 1, counted != 2
    lesion = np.bincount(levels[inside], minlength=LEVELS)
    lit = levels > 0  # most voxels are 0, and selecting is quicker than counting
    every = np.bincount(levels[lit & all_counted], minlength=LEVELS)
    every[0] = int(all_counted.sum()) - int(every.sum())
    reached = np.zeros(len(lesions.voxels) + 1, dtype=np.uint8)
    np.maximum.at(reached, lesions.labels[inside], levels[inside])
    return MapFacts(trial.loss, case, trial.seed, lesion, every - lesion, reached[1:])


def is_graded(facts: MapFacts) -> bool:
    """Whether the map holds probabilities; the method without a network gives 0 and 1 only."""
    return facts.loss != DIFFERENCE_THRESHOLD


def lowest_level(threshold: float) -> int:
    """The lowest level that is lesion at a threshold, as `Results.probability(...) >= threshold` decides."""
    return int(np.searchsorted(_as_probability(), np.float32(threshold)))


def _as_probability() -> NDArray[np.float32]:
    return (np.arange(LEVELS, dtype=np.uint8) / np.float32(255)).astype(np.float32)


def over_thresholds(facts: MapFacts, thresholds: NDArray[np.float64] = THRESHOLDS) -> ThresholdCounts:
    """Counts of the map at each threshold, equal to `metrics.thresholds.count_thresholds` on the map."""
    from_here = [lowest_level(threshold) for threshold in thresholds]
    tp, fp = (np.append(counts[::-1].cumsum()[::-1], 0)[from_here] for counts in (facts.lesion, facts.background))
    return ThresholdCounts(thresholds, tp, fp, int(facts.lesion.sum()) - tp)


@dataclass(frozen=True)
class Calibration:
    """Voxels of all maps of a loss in equal bins (left, right] of probability: counts, mean probability, lesion share.

    Shapes (bins,); NaN in empty bins.
    """

    voxels: Counts
    probability: NDArray[np.float64]
    lesion: NDArray[np.float64]


def calibration(facts: Sequence[MapFacts], bins: int = BINS) -> Calibration:
    """Reliability over all maps of a loss, voxels pooled; binned as `metrics.calibration.reliability` bins one."""
    p = _as_probability().astype(np.float64)
    place = np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], p)
    lesion = np.sum([each.lesion for each in facts], axis=0)
    every = lesion + np.sum([each.background for each in facts], axis=0)
    voxels = np.bincount(place, weights=every, minlength=bins)
    filled = np.where(voxels > 0, voxels, np.nan)
    return Calibration(
        voxels.astype(np.int64),
        np.bincount(place, weights=every * p, minlength=bins) / filled,
        np.bincount(place, weights=lesion, minlength=bins) / filled,
    )


def detection(pairs: Sequence[tuple[Counts, NDArray[np.bool_]]], voxel_mm3: Sequence[float]) -> list[SizeClass]:
    """Reference lesions by size, and how many of them hold a predicted voxel.

    `pairs`: for each map the voxels of each lesion and whether it was found; `voxel_mm3`: of each map.
    """
    edges = [0.0, *SIZE_EDGES_MM3, float("inf")]
    volumes = np.concatenate([v * mm3 for (v, _), mm3 in zip(pairs, voxel_mm3, strict=True)] or [np.zeros(0)])
    found = np.concatenate([hit for _, hit in pairs] or [np.zeros(0, dtype=bool)])
    classes = []
    for above, up_to in itertools.pairwise(edges):
        inside = (volumes > above) & (volumes <= up_to)
        classes.append(SizeClass(above, up_to, int(inside.sum()), int(found[inside].sum())))
    return classes

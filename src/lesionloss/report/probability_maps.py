"""What is counted from the kept probability maps: voxels over thresholds, calibration, lesions found.

A voxel is lesion where its probability is at least the threshold, on the float map, as in the scores. A map is read
once; of each map only these counts are kept.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesionloss.core.errors import DataError
from lesionloss.metrics.lesion_components import fewest_voxels, find_lesions
from lesionloss.metrics.lesion_table import SIZE_EDGES_MM3, SizeClass
from lesionloss.metrics.thresholds import ThresholdCounts, is_lesion
from lesionloss.runs.kept_predictions import KeptPrediction, read_prediction, read_probability
from lesionloss.runs.metric_scores import MetricScores
from lesionloss.runs.results import Results
from lesionloss.runs.run_records import RunTrial

Probability = NDArray[np.float32]
Counts = NDArray[np.int64]

MOST_MAPS = 600  # more maps take a report over a minute; then only the first seed of each loss is read
SMALLEST_LESION_MM3 = 3.0  # as in the lesion-wise metrics
THRESHOLDS = np.round(np.arange(0.05, 0.951, 0.05), 2)
BINS = 20
_INNER_EDGES = np.linspace(0, 1, BINS + 1)[1:-1]


@dataclass(frozen=True)
class ReferenceLesions:
    """Lesions of a reference: `labels` (*space), 1 for the largest; `voxels` of each (n,); `centres` (n, axes)."""

    labels: NDArray[np.uint16]
    voxels: Counts
    centres: NDArray[np.float64]


@dataclass(frozen=True)
class CalibrationCounts:
    """In equal bins (left, right] of probability, shapes (bins,): voxels, lesion voxels, and sum of probabilities."""

    voxels: Counts
    lesion: Counts
    total: NDArray[np.float64]


@dataclass(frozen=True)
class MapCounts:
    """One map beside its reference.

    `over_thresholds`: voxel counts at `THRESHOLDS`; `highest`: the highest probability in each reference lesion (n,);
    `lesion_voxels`: lesion voxels of the reference.
    """

    loss: str
    case: str
    seed: int
    lesion_voxels: int
    over_thresholds: ThresholdCounts
    calibration: CalibrationCounts
    highest: Probability


def kept_prediction(trial: RunTrial, case: str, space: tuple[int, ...], classes: int) -> KeptPrediction:
    """What a trial kept of a case (*space).

    Raises:
        DataError: It is absent, damaged, not float32, not on the grid of the case, or lacks the labels of the classes.
    """
    found = read_prediction(trial, case)
    path = f"{trial.folder}/predictions/{case}.npz"
    if found.probability.shape != space:
        raise DataError(f"{path}: expected shape {space}, got {found.probability.shape}; bench again")
    if classes > 1 and (found.labels is None or found.labels.shape != space):
        raise DataError(f"{path}: expected 'classes' {space} in a run of {classes} classes; bench again")
    return found


def trials_to_read(results: Results) -> dict[str, tuple[RunTrial, ...]]:
    """For each case the trials tested on it: all of them, or in large runs the first seed of each loss."""
    tested = {case.name: [t for t in results.trials if t.tested(case.name)] for case in results.cohort}
    if sum(map(len, tested.values())) <= MOST_MAPS:
        return {case: tuple(trials) for case, trials in tested.items()}
    return {case: first_seeds(trials) for case, trials in tested.items()}


def first_seeds(trials: Sequence[RunTrial]) -> tuple[RunTrial, ...]:
    """Of each loss the trial with the lowest seed, in the order of the losses' first trials."""
    chosen: dict[str, RunTrial] = {}
    for trial in trials:
        if trial.loss not in chosen or trial.seed < chosen[trial.loss].seed:
            chosen[trial.loss] = trial
    return tuple(chosen.values())


def lesions_of(reference: NDArray[np.bool_], spacing_mm: Sequence[float]) -> ReferenceLesions:
    """Components of the reference (*space) that share faces and exceed 3 mm³, the largest first."""
    from scipy import ndimage

    found = find_lesions(reference, 6, fewest_voxels(SMALLEST_LESION_MM3, float(np.prod(spacing_mm))))
    labels, count = found.runs.filled(found.labels), found.sizes.size
    centres = ndimage.center_of_mass(reference, labels, range(1, count + 1)) if count else np.zeros((0, reference.ndim))
    return ReferenceLesions(labels.astype(np.uint16), found.sizes, np.asarray(centres, dtype=np.float64))


def count_map(
    trial: RunTrial, case: str, probability: Probability, counted: NDArray[np.uint8], lesions: ReferenceLesions
) -> MapCounts:
    """Count one map.

    Args:
        trial: The trial that made the map.
        case: The name of the case.
        probability: The map (*space).
        counted: 1 for lesion, 0 for background, 2 for ignored voxels (*space).
        lesions: The lesions of the reference, on the same grid.
    """
    inside = counted == 1
    lit = is_lesion(probability, float(THRESHOLDS[0])) & (counted != 2)  # most voxels are not
    levels, lesion = threshold_levels(probability[lit], THRESHOLDS), inside[lit]
    tp, fp = (_at_least(levels[chosen]) for chosen in (lesion, ~lesion))
    voxels = int(inside.sum())
    highest = np.zeros(len(lesions.voxels) + 1, dtype=np.float32)
    np.maximum.at(highest, lesions.labels[inside], probability[inside])
    return MapCounts(
        loss=trial.loss,
        case=case,
        seed=trial.seed,
        lesion_voxels=voxels,
        over_thresholds=ThresholdCounts(THRESHOLDS, tp, fp, voxels - tp),
        calibration=_calibration_counts(probability, counted),
        highest=highest[1:],
    )


def threshold_levels(probability: Probability, thresholds: Sequence[float] | NDArray[np.float64]) -> NDArray[np.uint8]:
    """How many of the ascending thresholds each voxel reaches, so that level > n means lesion at thresholds[n]."""
    levels = np.zeros(probability.shape, dtype=np.uint8)
    for threshold in thresholds:
        levels += is_lesion(probability, float(threshold))
    return levels


def _at_least(levels: NDArray[np.uint8]) -> Counts:
    return np.bincount(levels, minlength=len(THRESHOLDS) + 1)[::-1].cumsum()[::-1][1:]


def _calibration_counts(probability: Probability, counted: NDArray[np.uint8]) -> CalibrationCounts:
    """Binned as `metrics.calibration.reliability` does; most voxels are in the first bin and only summed."""
    used, inside = counted != 2, counted == 1
    binned = used & (probability >= np.float32(0.9 / BINS))
    p, lesion = probability[binned].astype(np.float64), inside[binned]
    place = np.searchsorted(_INNER_EDGES, p)
    voxels, in_lesion = (np.bincount(of, minlength=BINS) for of in (place, place[lesion]))
    total = np.bincount(place, weights=p, minlength=BINS).astype(np.float64)
    voxels[0] += int(used.sum()) - len(p)
    in_lesion[0] += int(inside.sum()) - int(lesion.sum())
    total[0] += probability.sum(where=used & ~binned, dtype=np.float64)
    return CalibrationCounts(voxels, in_lesion, total)


@dataclass(frozen=True)
class Calibration:
    """Voxels of all maps of a loss in equal bins of probability: counts, mean probability, share of lesion.

    Shapes (bins,); NaN in empty bins.
    """

    voxels: Counts
    probability: NDArray[np.float64]
    lesion: NDArray[np.float64]


def calibration(maps: Sequence[MapCounts]) -> Calibration:
    """The reliability diagram over all maps of a loss, with their voxels pooled."""
    voxels = np.sum([each.calibration.voxels for each in maps], axis=0)
    filled = np.where(voxels > 0, voxels, np.nan)
    return Calibration(
        voxels,
        np.sum([each.calibration.total for each in maps], axis=0) / filled,
        np.sum([each.calibration.lesion for each in maps], axis=0) / filled,
    )


def detection(pairs: Sequence[tuple[Counts, NDArray[np.bool_]]], voxel_mm3: Sequence[float]) -> list[SizeClass]:
    """Reference lesions by size, and how many of them contain a predicted voxel.

    Args:
        pairs: For each map the voxels of each lesion (n,) and whether it was found (n,).
        voxel_mm3: The volume of a voxel of each map.
    """
    edges = [0.0, *SIZE_EDGES_MM3, float("inf")]
    volumes = np.concatenate([v * mm3 for (v, _), mm3 in zip(pairs, voxel_mm3, strict=True)] or [np.zeros(0)])
    found = np.concatenate([hit for _, hit in pairs] or [np.zeros(0, dtype=bool)])
    classes = []
    for above, up_to in itertools.pairwise(edges):
        inside = (volumes > above) & (volumes <= up_to)
        classes.append(SizeClass(above, up_to, int(inside.sum()), int(found[inside].sum())))
    return classes


def false_positive_mm3(results: Results, scores: MetricScores, loss: str) -> float | None:
    """Mean predicted volume of a loss in cases without lesions, over the maps that were kept; None without any map.

    Raises:
        DataError: A map is damaged.
    """
    voxel_mm3 = {case.name: float(np.prod(case.spacing_mm)) for case in results.cohort}
    trials = {trial.key: trial for trial in results.trials}
    rows: Any = scores.without_lesions[scores.without_lesions["loss"] == loss]
    volumes = [
        float(is_lesion(read_probability(trials[key], case), trials[key].threshold).sum()) * voxel_mm3[case]
        for key, case in zip(rows["key"], rows["case"], strict=True)
        if case in voxel_mm3 and results.has_probability(key, case)
    ]
    return float(np.mean(volumes)) if volumes else None

"""Recall, precision and Dice of a loss over thresholds: means over patients, with 95 % intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lesionloss.report.probability_maps import THRESHOLDS, MapCounts
from lesionloss.report.shown_intervals import within
from lesionloss.statistics import Interval
from lesionloss.statistics.evidence import mean_interval

SCORES = ("recall", "precision", "dice")


@dataclass(frozen=True)
class MeanScore:
    """A mean over the `patients` for which the score is defined, with its 95 % interval; None without a patient."""

    mean: float | None
    interval: Interval | None
    patients: int


@dataclass(frozen=True)
class ThresholdPoint:
    """The scores at one threshold."""

    threshold: float
    recall: MeanScore
    precision: MeanScore
    dice: MeanScore


def threshold_curve(maps: Sequence[MapCounts], patient_of: Mapping[str, str]) -> tuple[ThresholdPoint, ...]:
    """The curve of one loss over its maps of cases with lesions; in the others recall is undefined and Dice is 0.

    The values of a patient are the means over seeds, then over cases; intervals are those of the tables.

    Args:
        maps: All maps of the loss.
        patient_of: The patient of each case.
    """
    counted = [each for each in maps if each.lesion_voxels]
    if not counted:
        return ()
    columns = {name: _of_patients(counted, patient_of, name) for name in SCORES}
    return tuple(
        ThresholdPoint(float(threshold), **{name: _mean_score(values[:, n]) for name, values in columns.items()})
        for n, threshold in enumerate(THRESHOLDS)
    )


def _of_patients(maps: Sequence[MapCounts], patient_of: Mapping[str, str], name: str) -> NDArray[np.float64]:
    """Values (patients, thresholds), NaN where undefined."""
    of_case: dict[str, list[NDArray[np.float64]]] = {}
    for each in maps:
        of_case.setdefault(each.case, []).append(getattr(each.over_thresholds, name))
    of_patient: dict[str, list[NDArray[np.float64]]] = {}
    for case, seeds in of_case.items():
        of_patient.setdefault(patient_of.get(case, case), []).append(_mean_of_defined(seeds))
    return np.stack([_mean_of_defined(cases) for cases in of_patient.values()])


def _mean_of_defined(rows: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    values = np.stack(rows)
    known = ~np.isnan(values)
    total, count = np.where(known, values, 0.0).sum(axis=0), known.sum(axis=0)
    means: NDArray[np.float64] = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    return means


def _mean_score(values: NDArray[np.float64]) -> MeanScore:
    known = values[~np.isnan(values)]
    mean = float(known.mean()) if len(known) else None
    return MeanScore(mean, within(mean_interval(known), (0.0, 1.0)), len(known))

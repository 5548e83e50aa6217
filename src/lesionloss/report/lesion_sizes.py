"""Lesions found by size, as differences from the baseline loss with patients as clusters."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lesionloss.metrics.lesion_table import SIZE_EDGES_MM3
from lesionloss.metrics.thresholds import is_lesion
from lesionloss.report.case_maps import CaseMaps
from lesionloss.report.shown_intervals import within
from lesionloss.statistics import Interval
from lesionloss.statistics.evidence import mean, mean_interval


@dataclass(frozen=True)
class SizeDifference:
    """One loss and one size of lesion: the share of lesions that it finds in a patient, minus that of the baseline.

    `mean` and `interval` (95 %, these networks) are over the `patients` that have such lesions; each patient counts
    once, because the lesions of a patient are alike.
    """

    loss: str
    above_mm3: float
    up_to_mm3: float
    patients: int
    mean: float | None
    interval: Interval | None


def size_differences(
    maps: CaseMaps, thresholds: Mapping[str, float], losses: Sequence[str], baseline: str, patient_of: Mapping[str, str]
) -> tuple[SizeDifference, ...]:
    """The differences of all losses that have maps, one record per loss and size, the smallest size first.

    Args:
        maps: What was counted of all maps.
        thresholds: The threshold of each loss.
        losses: The losses, the baseline among them.
        baseline: The loss that the others are compared with.
        patient_of: The patient of each case.
    """
    if baseline not in losses:
        return ()
    shares = {loss: _shares(maps, loss, thresholds[loss], patient_of) for loss in losses}
    edges = [0.0, *SIZE_EDGES_MM3, float("inf")]
    found = []
    for loss in losses:
        for size in range(len(edges) - 1) if loss != baseline else ():
            mine, theirs = ({p: v for (p, n), v in shares[each].items() if n == size} for each in (loss, baseline))
            values = np.array([mine[patient] - theirs[patient] for patient in mine if patient in theirs])
            bounds = within(mean_interval(values), (-1.0, 1.0))
            found.append(SizeDifference(loss, edges[size], edges[size + 1], len(values), mean(values), bounds))
    return tuple(found)


def _shares(maps: CaseMaps, loss: str, threshold: float, patient_of: Mapping[str, str]) -> dict[tuple[str, int], float]:
    """By patient and size: the share of its lesions that are found, over its cases and the seeds that were read."""
    hits: dict[tuple[str, int], list[bool]] = {}
    for each in maps.of(loss):
        volumes = maps.lesion_voxels[each.case] * maps.voxel_mm3[each.case]
        sizes = np.searchsorted(SIZE_EDGES_MM3, volumes)  # above < volume <= up_to
        for size, hit in zip(sizes.tolist(), is_lesion(each.highest, threshold).tolist(), strict=True):
            hits.setdefault((patient_of.get(each.case, each.case), size), []).append(hit)
    return {key: float(np.mean(of_patient)) for key, of_patient in hits.items()}

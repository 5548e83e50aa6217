"""Scores for `transfer.py`: the threshold that is best for synthetic cases, and what it gives on real ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from lesionloss.core.components import label_components
from lesionloss.data.prepared import PreparedCase
from lesionloss.inference import SlidingWindow, lesion_mask, predict_probability
from lesionloss.inference.only_deep import only_deep
from lesionloss.metrics import Case, score
from lesionloss.networks.bundle import BundleRecord

THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(1, 17))
SMALLEST_MM3 = (0.0, 5.0, 10.0, 15.0, 20.0, 25.0)
SIZES_MM3 = (20.0, 50.0, 150.0)  # limits of the groups of lesions
METRICS = ("dice", "lesion_f1", "recall", "precision")

Probability = NDArray[np.float32]


@dataclass(frozen=True)
class ChosenThreshold:
    """Threshold and smallest lesion that are best for the validation cases, with their mean Dice and lesion-wise F1."""

    threshold: float
    smallest_mm3: float
    dice: float
    lesion_f1: float


def probability(network: torch.nn.Module, case: PreparedCase, record: BundleRecord) -> Probability:
    """Predict the lesion probability of a case (X, Y, Z), as `lesionloss predict` does with this record."""
    mode = SlidingWindow(record.window, overlap=record.overlap)
    found = predict_probability(network, case, mode, precision=record.precision, device="cpu")
    return only_deep(found[None], case, record.depth_mm)[0]


def choose(cases: Sequence[PreparedCase], probabilities: Sequence[Probability]) -> ChosenThreshold:
    """Choose the threshold by mean Dice, then the smallest lesion by the mean of Dice and lesion-wise F1."""
    pairs = list(zip(cases, probabilities, strict=True))

    def means(smallest: float) -> tuple[float, float]:
        each = [scores_of(case, lesions(case, found, threshold, smallest)) for case, found in pairs]
        dice, f1 = (float(np.nanmean([scores[name] for scores in each])) for name in ("dice", "lesion_f1"))
        return dice, f1

    curve = np.mean([dice_curve(case, found) for case, found in pairs], axis=0)
    threshold = THRESHOLDS[int(curve.argmax())]
    both = {smallest: means(smallest) for smallest in SMALLEST_MM3}
    smallest = max(both, key=lambda value: sum(both[value]))
    return ChosenThreshold(threshold, smallest, *both[smallest])


def dice_curve(case: PreparedCase, found: Probability) -> NDArray[np.float64]:
    """Compute Dice at each of the thresholds; 1 where both masks are empty."""
    edges = [-1.0, *THRESHOLDS, 2.0]
    marked, both = (np.histogram(part, edges)[0][::-1].cumsum()[::-1][1:] for part in (found, found[case.lesion]))
    total = marked + int(case.lesion.sum())
    return np.where(total > 0, 2 * both / np.maximum(total, 1), 1.0)


def lesions(case: PreparedCase, found: Probability, threshold: float, smallest: float) -> NDArray[np.bool_]:
    """Make the mask (X, Y, Z) of a probability map, without lesions up to `smallest` mm³."""
    voxel = float(np.prod(case.spacing_mm))
    mask = lesion_mask(found[None], threshold=threshold, voxel_mm3=voxel, min_volume_mm3=smallest)
    return np.asarray(mask > 0)


def scores_of(case: PreparedCase, mask: NDArray[np.bool_]) -> Mapping[str, float]:
    """Score a mask in all metrics."""
    return score(Case(mask, case.lesion, spacing_mm=case.spacing_mm), METRICS)


def found_by_size(case: PreparedCase, mask: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Count the reference's lesions (faces touch) by `SIZES_MM3`: of how many a voxel is marked, and how many are."""
    components, _ = label_components(case.lesion, 6)
    volumes = np.bincount(components.ravel())[1:] * float(np.prod(case.spacing_mm))
    found = np.bincount(components[mask].ravel(), minlength=len(volumes) + 1)[1:] > 0
    bins = np.digitize(volumes, SIZES_MM3)
    return [(int(found[bins == index].sum()), int((bins == index).sum())) for index in range(len(SIZES_MM3) + 1)]

"""Overlap, volume and proper scores against loops over voxels, on 1,000 random sparse masks."""

import math

import numpy as np
import pytest

from lesionloss.core.randomness import numpy_generator
from lesionloss.metrics import Case, score
from metrics_by_hand import random_pair, voxels_of

PAIRS = 1000


def by_hand(pred, ref, spacing):
    p, r, everything = voxels_of(pred), voxels_of(ref), pred.size
    voxel = math.prod(spacing)
    return {
        "dice": 2 * len(p & r) / (len(p) + len(r)),
        "jaccard": len(p & r) / len(p | r),
        "precision": len(p & r) / len(p),
        "recall": len(p & r) / len(r),
        "specificity": (everything - len(p | r)) / (everything - len(r)),
        "volume_mm3": len(p) * voxel,
        "reference_volume_mm3": len(r) * voxel,
        "volume_difference_mm3": (len(p) - len(r)) * voxel,
        "absolute_volume_difference_mm3": abs(len(p) - len(r)) * voxel,
        "relative_volume_difference": (len(p) - len(r)) / len(r),
    }


@pytest.mark.parametrize("part", range(2))
def test_equal_to_sets_of_voxels(part):
    for number in range(part * PAIRS // 2, (part + 1) * PAIRS // 2):
        pred, ref, spacing = random_pair(number)
        wanted = by_hand(pred, ref, spacing)
        got = score(Case(pred, ref, spacing_mm=spacing), list(wanted))
        assert got == pytest.approx(wanted, rel=0, abs=1e-9), f"pair {number}"


def test_proper_scores_voxel_by_voxel():
    for number in range(100):
        _, ref, spacing = random_pair(number)
        probability = numpy_generator("proper", number).random(ref.shape)
        pairs = list(zip(probability.ravel().tolist(), ref.ravel().tolist(), strict=True))
        wanted = {
            "nll": -sum(math.log(p if y else 1 - p) for p, y in pairs) / len(pairs),
            "nll_lesion_term": -sum(math.log(p) for p, y in pairs if y) / len(pairs),
            "brier": sum((p - y) ** 2 for p, y in pairs) / len(pairs),
            "brier_two_class": sum((p - y) ** 2 + ((1 - p) - (1 - y)) ** 2 for p, y in pairs) / len(pairs),
        }
        got = score(Case(probability, ref, spacing_mm=spacing), list(wanted))
        assert got == pytest.approx(wanted, rel=0, abs=1e-9), f"pair {number}"
        assert not np.isnan(list(got.values())).any()

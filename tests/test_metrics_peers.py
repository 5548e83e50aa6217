"""Every definition of the other libraries is reachable by a name, and equal."""

import math

import numpy as np
import pytest
import torch
from medpy.metric import binary as medpy
from monai.metrics import (
    CalibrationErrorMetric,
    compute_average_surface_distance,
    compute_dice,
    compute_hausdorff_distance,
    compute_iou,
    compute_surface_dice,
)
from surface_distance import metrics as deepmind

from lesionloss.metrics import Case, score
from lesionloss.randomness import numpy_generator
from metrics_by_hand import random_pair

PAIRS = range(60)

# surface-distance 0.1 calls SciPy by names of before 2021.
pytestmark = pytest.mark.filterwarnings("ignore:Please import:DeprecationWarning")


def compared(wanted, pred, ref, spacing, tolerance):
    got = score(Case(pred, ref, spacing_mm=spacing), list(wanted))
    assert got == pytest.approx({name: float(value) for name, value in wanted.items()}, rel=tolerance, abs=tolerance)


@pytest.mark.parametrize("number", PAIRS)
def test_medpy(number):
    pred, ref, spacing = random_pair(number)
    wanted = {
        "dice": medpy.dc(pred, ref),
        "jaccard": medpy.jc(pred, ref),
        "precision": medpy.precision(pred, ref),
        "recall": medpy.recall(pred, ref),
        "specificity": medpy.specificity(pred, ref),
        "hd": medpy.hd(pred, ref, spacing),
        "hd95_pooled": medpy.hd95(pred, ref, spacing),
        "asd_pred_to_ref": medpy.asd(pred, ref, spacing),
        "asd_ref_to_pred": medpy.asd(ref, pred, spacing),
        "assd": medpy.assd(pred, ref, spacing),
        "relative_volume_difference": medpy.ravd(pred, ref),
    }
    compared(wanted, pred, ref, spacing, 1e-9)


@pytest.mark.parametrize("number", PAIRS)
def test_deepmind(number):
    pred, ref, spacing = random_pair(number)
    distances = deepmind.compute_surface_distances(ref, pred, spacing)
    ref_to_pred, pred_to_ref = deepmind.compute_average_surface_distance(distances)
    wanted = {
        "hd_surfel": deepmind.compute_robust_hausdorff(distances, 100),
        "hd95_surfel": deepmind.compute_robust_hausdorff(distances, 95),
        "hd_surfel(percent=73)": deepmind.compute_robust_hausdorff(distances, 73),
        "asd_ref_to_pred_surfel": ref_to_pred,
        "asd_pred_to_ref_surfel": pred_to_ref,
        "nsd_surfel(tolerance_mm=1.3)": deepmind.compute_surface_dice_at_tolerance(distances, 1.3),
    }
    compared(wanted, pred, ref, spacing, 1e-6)


def batch(mask):
    return torch.from_numpy(np.asarray(mask))[None, None]


@pytest.mark.parametrize("number", PAIRS)
def test_monai(number):
    pred, ref, spacing = random_pair(number)
    p, r = batch(pred), batch(ref)
    wanted = {
        "dice": compute_dice(p, r),
        "jaccard": compute_iou(p, r),
        "hd": compute_hausdorff_distance(p, r, include_background=True, spacing=spacing),
        "asd_pred_to_ref": compute_average_surface_distance(p, r, include_background=True, spacing=spacing),
        "assd": compute_average_surface_distance(p, r, include_background=True, spacing=spacing, symmetric=True),
        "nsd(tolerance_mm=1.3)": compute_surface_dice(p, r, [1.3], include_background=True, spacing=spacing),
    }
    compared(wanted, pred, ref, spacing, 1e-6)


@pytest.mark.parametrize("number", PAIRS)
def test_monai_percentile(number):
    """MONAI places the percentile in float32: off by some 1e-5 of the gap between two neighbouring distances."""
    pred, ref, spacing = random_pair(number)
    wanted = compute_hausdorff_distance(
        batch(pred), batch(ref), include_background=True, spacing=spacing, percentile=95
    )
    compared({"hd95": wanted}, pred, ref, spacing, 2e-5)


@pytest.mark.parametrize(("name", "reduction"), [("ece", "expected"), ("ace", "average")])
@pytest.mark.parametrize("bins", [10, 20])
def test_monai_calibration(name, reduction, bins):
    generator = numpy_generator("calibration", bins)
    reference = generator.random((9, 10, 11)) < 0.1
    probability = np.clip(generator.beta(0.5, 3, reference.shape) + 0.2 * reference, 0, 1).astype(np.float32)
    peer = CalibrationErrorMetric(num_bins=bins, calibration_reduction=reduction, include_background=True)
    wanted = float(peer(batch(probability), batch(reference.astype(np.float32))))
    text = f"{name}(bins={bins})"
    case = Case(probability, reference, spacing_mm=(1, 1, 1))
    assert score(case, [text])[text] == pytest.approx(wanted, rel=1e-5)


def test_where_the_peers_differ_on_a_missed_lesion():
    """M3: the pooled percentile doesn't see the miss, the larger direction hardly, the area-weighted does."""
    pred = np.zeros((40, 40, 40), dtype=bool)
    pred[5:11, 5:11, 5:11] = True
    ref = pred.copy()
    ref[24:26, 24:26, 24:26] = True
    names = ["hd95_pooled", "hd95", "hd95_surfel", "asd_ref_to_pred_surfel", "asd_pred_to_ref_surfel"]
    got = score(Case(pred, ref, spacing_mm=(1, 1, 1)), names)
    wanted = [0.0, 0.05 * 14 * math.sqrt(3), 23.728, 1.871, 0.0]
    assert list(got.values()) == pytest.approx(wanted, abs=5e-4)

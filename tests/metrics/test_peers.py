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
from monai.metrics.utils import get_edge_surface_distance
from surface_distance import metrics as deepmind

from lesionloss.core.randomness import numpy_generator
from lesionloss.metrics import Case, choose, score
from lesionloss.metrics.averages import summarise, value_of
from metrics_by_hand import m1, random_pair

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
def test_monai_surface_dice_of_subvoxels(number):
    """MONAI holds the areas in float32."""
    pred, ref, spacing = random_pair(number)
    wanted = compute_surface_dice(batch(pred), batch(ref), [1.3], True, spacing=spacing, use_subvoxels=True)
    compared({"nsd_surfel(tolerance_mm=1.3)": wanted}, pred, ref, spacing, 1e-6)


@pytest.mark.parametrize("number", PAIRS)
@pytest.mark.parametrize(("name", "percent"), [("hd95", 95), ("hd(percent=50)", 50), ("hd(percent=80)", 80)])
def test_monai_percentile(number, name, percent):
    """MONAI's rule to 1e-6 on its own distances; its call places the percentile in float32, off by some 1e-5."""
    pred, ref, spacing = random_pair(number)
    p, r = batch(pred), batch(ref)
    edges, distances, _ = get_edge_surface_distance(p[0, 0], r[0, 0], spacing=spacing, symmetric=True)
    assert len(edges) == len(distances) == 2
    exact = max(float(torch.quantile(each.double(), percent / 100)) for each in distances)
    compared({name: exact}, pred, ref, spacing, 1e-6)
    called = compute_hausdorff_distance(p, r, include_background=True, spacing=spacing, percentile=percent)
    compared({name: called}, pred, ref, spacing, 2e-5)


@pytest.mark.parametrize(("name", "reduction"), [("ece", "expected"), ("ace", "average")])
@pytest.mark.parametrize("bins", [10, 20])
def test_monai_calibration(name, reduction, bins):
    generator = numpy_generator("calibration", bins)
    reference = generator.random((9, 10, 11)) < 0.1
    probability = np.clip(generator.beta(0.5, 3, reference.shape) + 0.2 * reference, 0, 1)
    peer = CalibrationErrorMetric(num_bins=bins, calibration_reduction=reduction, include_background=True)
    wanted = float(torch.as_tensor(peer(batch(probability), batch(reference.astype(np.float64)))))
    text = f"{name}(bins={bins})"
    case = Case(probability, reference, spacing_mm=(1, 1, 1))
    assert score(case, [text])[text] == pytest.approx(wanted, rel=1e-6)


def test_monai_means_with_and_without_empty_cases():
    """Perfect, pure false positive, both empty: MONAI says 1.0 or 0.667; M6b and M6c one by one."""
    lesion = np.zeros((8, 8, 8), dtype=bool)
    lesion[2:5, 2:5, 2:5] = True
    pairs = [(lesion, lesion), (lesion, ~lesion & lesion), (~lesion & lesion,) * 2]
    p, r = (torch.cat([batch(pair[side]) for pair in pairs]) for side in (0, 1))
    assert float(compute_dice(p, r).nanmean()) == 1.0
    alone = {
        name: summarise([value_of(choose(name), Case(*pair, spacing_mm=(1, 1, 1))) for pair in pairs])
        for name in ("dice", "dice(both_empty=1)")
    }
    assert (alone["dice"].mean, alone["dice"].n_defined) == (1.0, 1)
    counted = float(compute_dice(p, r, ignore_empty=False).mean())
    assert counted == pytest.approx(2 / 3)
    assert alone["dice(both_empty=1)"].penalised_mean == pytest.approx(counted)
    assert alone["dice(both_empty=1)"].n_penalised == 3


def test_where_the_peers_differ_on_false_positives():
    """M1 as the libraries themselves compute it."""
    pred, ref = m1()
    p, r = batch(pred), batch(ref)
    distances = deepmind.compute_surface_distances(ref, pred, (1, 1, 1))
    theirs = {
        "hd95_pooled": medpy.hd95(pred, ref),
        "asd_pred_to_ref": medpy.asd(pred, ref),
        "assd": medpy.assd(pred, ref),
        "hd95": float(compute_hausdorff_distance(p, r, include_background=True, percentile=95)),
        "hd95_surfel": deepmind.compute_robust_hausdorff(distances, 95),
        "asd_pred_to_ref_surfel": deepmind.compute_average_surface_distance(distances)[1],
    }
    wanted = [0.0, 2.817, 1.464, 34.766, 38.601, 4.770]
    assert list(theirs.values()) == pytest.approx(wanted, rel=0, abs=5e-4)
    compared(theirs, pred, ref, (1, 1, 1), 2e-6)


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

"""MCC, NPV, average precision, FROC and panoptic quality against other implementations, and by hand."""

import math

import numpy as np
import pytest
from monai.metrics import PanopticQualityMetric
from monai.metrics.froc import compute_froc_curve_data
from sklearn.metrics import average_precision_score, confusion_matrix, matthews_corrcoef

from lesionloss import UsageError
from lesionloss.core.randomness import numpy_generator
from lesionloss.metrics import Case, froc_curve, score
from lesionloss.metrics.froc import RATES
from metrics_by_hand import components, random_pair


def mapped(number: int, levels: int = 0) -> Case:
    """A random case with a map that knows something of the reference; with `levels`, of that many values."""
    pred, ref, spacing = random_pair(number)
    noise = numpy_generator("ranked", number).random(pred.shape)
    probability = np.clip(0.5 * noise + 0.25 * pred + 0.2 * ref, 0, 1)
    if levels:
        probability = np.round(probability * levels) / levels
    return Case(probability, ref, spacing_mm=spacing)


@pytest.mark.parametrize("levels", [0, 5])
def test_average_precision_is_that_of_scikit_learn(levels: int) -> None:
    for number in range(40):
        case = mapped(number, levels)
        expected = average_precision_score(case.reference.ravel(), case.probability.ravel())
        assert score(case, ["auprc"])["auprc"] == pytest.approx(expected, rel=1e-12)


def test_average_precision_by_hand_and_without_ignored_voxels() -> None:
    probability, reference = np.array([[0.9, 0.8, 0.7, 0.6]]), np.array([[1, 0, 1, 0]])
    case = Case(probability, reference, spacing_mm=(1, 1))
    assert score(case, ["auprc"])["auprc"] == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    ignored = Case(probability, reference, spacing_mm=(1, 1), ignore=np.array([[0, 1, 0, 0]]))
    assert score(ignored, ["auprc"])["auprc"] == 1
    constant = Case(np.full((2, 5), 0.3), np.array([[1, 0, 0, 0, 0], [1, 0, 0, 0, 0]]), spacing_mm=(1, 1))
    assert score(constant, ["auprc"])["auprc"] == pytest.approx(0.2)


def test_correlation_and_negative_predictive_value_are_those_of_scikit_learn() -> None:
    for number in range(60):
        pred, ref, spacing = random_pair(number)
        found = score(Case(pred, ref, spacing_mm=spacing), ["mcc", "npv", "specificity"])
        tn, fp, fn, _ = confusion_matrix(ref.ravel(), pred.ravel(), labels=[False, True]).ravel()
        assert found["mcc"] == pytest.approx(matthews_corrcoef(ref.ravel(), pred.ravel()), abs=1e-12)
        assert found["npv"] == pytest.approx(tn / (tn + fn))
        assert found["specificity"] == pytest.approx(tn / (tn + fp))


def test_a_mask_that_fills_the_image_has_no_correlation() -> None:
    everywhere, some = np.ones((4, 5), bool), np.eye(4, 5, dtype=bool)
    found = score(Case(everywhere, some, spacing_mm=(1, 1)), ["mcc", "npv"])
    assert found["mcc"] == matthews_corrcoef(some.ravel(), everywhere.ravel()) == 0
    assert math.isnan(found["npv"])
    assert score(Case(~some, some, spacing_mm=(1, 1)), ["mcc"])["mcc"] == -1


def lesions_of(mask: np.ndarray, fewest: int) -> list[set[tuple[int, ...]]]:
    return [set(lesion) for lesion in components(mask, 6, fewest)]


def test_panoptic_quality_pair_by_pair() -> None:
    for number in range(60):
        pred, ref, spacing = random_pair(number)
        predicted, known = lesions_of(pred, 3), lesions_of(ref, 3)
        overlaps = [len(a & b) / len(a | b) for a in predicted for b in known]
        matched = [overlap for overlap in overlaps if overlap > 0.5]
        halves = (len(predicted) + len(known) - 2 * len(matched)) / 2
        expected = sum(matched) / (len(matched) + halves) if predicted or known else math.nan
        text = "panoptic_quality(min_voxels=3)"
        assert score(Case(pred, ref, spacing_mm=spacing), [text])[text] == pytest.approx(expected, nan_ok=True)


def test_panoptic_quality_is_that_of_monai() -> None:
    import torch

    for number in (3, 6, 9, 12):  # 2-D
        pred, ref, spacing = random_pair(number)
        maps = []
        for mask in (pred, ref):
            instances = np.zeros(mask.shape, int)
            for place, lesion in enumerate(lesions_of(mask, 1), start=1):
                instances[tuple(np.array(sorted(lesion)).T)] = place
            maps.append(np.stack([instances, mask.astype(int)]))
        metric = PanopticQualityMetric(num_classes=1, metric_name="pq", match_iou_threshold=0.5)
        metric(torch.as_tensor(maps[0])[None], torch.as_tensor(maps[1])[None])
        text = "panoptic_quality(min_voxels=1)"
        found = score(Case(pred, ref, spacing_mm=spacing), [text])[text]
        assert found == pytest.approx(float(metric.aggregate()[0]), rel=1e-5)


def candidates(case: Case, least: float, iou: float) -> tuple[list[float], list[float]]:
    """The best confidence on each lesion (0: none), and those of false positives, set by set."""
    known = lesions_of(case.reference, 1)
    found, false = [0.0] * len(known), []
    for candidate in lesions_of(case.probability >= least, 1):
        sure = max(float(case.probability[voxel]) for voxel in candidate)
        hit = [i for i, lesion in enumerate(known) if len(lesion & candidate) >= iou * len(lesion | candidate) > 0]
        hit = [i for i in hit if known[i] & candidate]
        for i in hit:
            found[i] = max(found[i], sure)
        false += [] if hit else [sure]
    return found, false


def test_the_froc_curve_set_by_set_and_by_monai() -> None:
    cases = [mapped(number, 50) for number in range(12)]
    curve = froc_curve(cases, least=0.6, min_voxels=1)
    found, false = [], []
    for case in cases:
        hits, misses = candidates(case, 0.6, 0.1)
        found += hits
        false += misses
    levels = sorted({*found, *false} - {0.0})
    for rate, value in zip(RATES, curve, strict=True):
        allowed = [level for level in levels if sum(f >= level for f in false) <= rate * len(cases)]
        expected = sum(f >= min(allowed) for f in found) / len(found) if allowed else 0.0
        assert value == pytest.approx(expected), rate
    assert list(curve) == sorted(curve)
    assert 0 < curve[0] <= curve[-1] < 1
    per_image, sensitivity = compute_froc_curve_data(np.array(false), np.array(found), len(found), len(cases))
    for rate, value in zip(RATES, curve, strict=True):
        assert value >= max((s for f, s in zip(per_image, sensitivity, strict=True) if f <= rate), default=0.0) - 1e-12
    assert score(cases[1], ["froc(least=0.6, min_voxels=1)"])["froc(least=0.6, min_voxels=1)"] == pytest.approx(
        froc_curve([cases[1]], least=0.6, min_voxels=1).mean()
    )


def row(*values: float) -> np.ndarray:
    return np.array([values])


def test_froc_by_hand() -> None:
    reference = row(1, 1, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0)
    #             sure lesion     unsure lesion   one surer false positive, one less sure
    probability = row(0.9, 0.8, 0, 0, 0.4, 0.3, 0, 0.6, 0, 0.2, 0, 0)
    case = Case(probability, reference, spacing_mm=(1, 1))
    curve = froc_curve([case], (0, 0.5, 1, 2), min_voxels=1)
    assert curve.tolist() == [0.5, 0.5, 1.0, 1.0]
    text = "froc(min_voxels=1)"
    assert score(case, [text])[text] == pytest.approx((3 * 0.5 + 4 * 1) / 7)
    unsure = Case(probability * 0.1, reference, spacing_mm=(1, 1))  # below the candidates' threshold
    assert froc_curve([unsure], (8,), min_voxels=1).tolist() == [0.0]
    assert froc_curve([unsure], (8,), min_voxels=1, least=0.01).tolist() == [1.0]
    assert froc_curve([case, unsure], (0.5,), min_voxels=1).tolist() == [0.5]  # of four lesions; one false positive
    blob = Case(np.full((1, 40), 0.5), row(1, 1, *[0] * 38), spacing_mm=(1, 1))
    assert froc_curve([blob], (8,), min_voxels=1).tolist() == [0.0]
    none = Case(probability, 0 * reference, spacing_mm=(1, 1))
    assert math.isnan(froc_curve([none], (1,))[0])
    ignoring = Case(probability, reference, spacing_mm=(1, 1), ignore=row(*[0] * 7, 1, *[0] * 4))
    assert froc_curve([ignoring], (0,), min_voxels=1).tolist() == [1.0]


def test_froc_curve_refuses_what_it_can_not_use() -> None:
    case = mapped(1)
    for arguments, words in ((([],), "got 0 cases"), (([case], (-1,)), r"rates \[-1\]")):
        with pytest.raises(UsageError, match=words):
            froc_curve(*arguments)
    with pytest.raises(UsageError, match="froc needs a probability map"):
        froc_curve([Case(case.prediction, case.reference, spacing_mm=case.spacing_mm)])

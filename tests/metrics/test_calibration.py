"""Calibration against scikit-learn and against loops over voxels."""

import math

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss, log_loss

from lesionloss.core.errors import UsageError
from lesionloss.core.randomness import numpy_generator
from lesionloss.metrics import Case, score
from lesionloss.metrics.calibration import reliability
from metrics_by_hand import distance_mm, random_pair, voxels_of

SHAPE, SPACING = (9, 8, 7), (3.0, 2.0, 2.5)


def case_of(kind=np.float64, **beside):
    generator = numpy_generator("calibration case")
    reference = np.zeros(SHAPE, dtype=bool)
    reference[:2, :2, :2] = True
    probability = np.clip(generator.beta(0.3, 2, SHAPE) + 0.3 * reference, 0, 1).astype(kind)
    return Case(probability, reference, spacing_mm=SPACING, **beside)


def near(case):
    lesion = voxels_of(case.reference)
    return np.array(
        [min(distance_mm(voxel, other, SPACING) for other in lesion) <= 10 for voxel in np.ndindex(*SHAPE)]
    ).reshape(SHAPE)


@pytest.mark.parametrize("suffix", ["", "_brain", "_near"])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_proper_scores_equal_scikit_learn(suffix, kind):
    brain = numpy_generator("brain").random(SHAPE) < 0.5
    case = case_of(kind, brain=brain)
    region = {"": np.ones(SHAPE, dtype=bool), "_brain": brain, "_near": near(case)}[suffix]
    assert 20 < region.sum() <= region.size
    p, y = case.probability[region].astype(np.float64), case.reference[region]
    wanted = {f"nll{suffix}": log_loss(y, p), f"brier{suffix}": brier_score_loss(y, p)}
    assert score(case, list(wanted)) == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("block", [1, 300, 1 << 19])
def test_the_neighbourhood_in_blocks_is_exact(block, monkeypatch):
    monkeypatch.setattr("lesionloss.metrics.lesion_neighbourhood.BLOCK_VOXELS", block)
    for number in range(40):
        _, reference, spacing = random_pair(number)
        shape = tuple(3 * size for size in reference.shape)
        wide = np.pad(reference, [(size, size) for size in reference.shape])
        lesion = np.argwhere(wide) * spacing
        places = np.argwhere(np.ones(shape, dtype=bool)) * spacing
        for radius in (0.0, 1.0, 2.4):
            apart = np.array([np.sqrt(((place - lesion) ** 2).sum(axis=1).min()) for place in places[::7]])
            got = Case(wide, wide, spacing_mm=spacing).near_reference(radius).ravel()[::7]
            assert np.array_equal(got, apart <= radius + 1e-9), f"pair {number}, {radius} mm"


def test_binned_errors_by_hand():
    case = case_of()
    bins: dict[int, list[tuple[float, bool]]] = {}
    for p, y in zip(case.probability.ravel(), case.reference.ravel(), strict=True):
        bins.setdefault(max(math.ceil(p * 10) - 1, 0), []).append((p, y))
    gaps = {k: abs(np.mean([p for p, _ in pairs]) - np.mean([y for _, y in pairs])) for k, pairs in bins.items()}
    wanted = {
        "ece(bins=10)": sum(gaps[k] * len(bins[k]) for k in bins) / case.reference.size,
        "ace(bins=10)": np.mean(list(gaps.values())),
    }
    assert score(case, list(wanted)) == pytest.approx(wanted, rel=1e-12)


def test_reliability_diagram():
    reference = np.array([[False, True, True, False]])
    diagram = reliability(Case(np.array([[0.0, 0.5, 1.0, 0.6]]), reference, spacing_mm=(1, 1)), bins=4)
    assert diagram.voxels.tolist() == [1, 1, 1, 1]
    assert diagram.probability.tolist() == [0.0, 0.5, 0.6, 1.0]
    assert diagram.lesion.tolist() == [0.0, 1.0, 0.0, 1.0]
    assert np.isnan(reliability(case_of(), bins=2000).probability).any()


def test_lesion_everywhere_fools_the_one_sided_nll_only():
    reference = np.zeros((10, 10), dtype=bool)
    reference[4, 4] = True
    got = score(Case(np.ones((10, 10)), reference, spacing_mm=(1, 1)), ["nll_lesion_term", "nll", "brier"])
    assert got["nll_lesion_term"] == 0
    assert got["nll"] == pytest.approx(-0.99 * math.log(1e-7))
    assert got["brier"] == pytest.approx(0.99)


def test_certain_and_wrong_is_finite_and_clipped():
    reference = np.ones((2, 2), dtype=bool)
    case = Case(np.zeros((2, 2)), reference, spacing_mm=(1, 1))
    assert score(case, ["nll", "nll(eps=0.001)"]) == pytest.approx({"nll": 16.118, "nll(eps=0.001)": 6.908}, abs=1e-3)


def test_a_map_beside_a_mask():
    case = case_of()
    beside = Case(case.prediction, case.reference, spacing_mm=SPACING, probability=case.probability)
    assert score(beside, ["nll", "ece_near", "dice"]) == score(case, ["nll", "ece_near", "dice"])


def test_many_slabs_are_one_sum(monkeypatch):
    wanted = score(case_of(), ["nll", "ece", "brier_near", "nll_lesion_term"])
    monkeypatch.setattr("lesionloss.metrics.calibration.SLAB_VOXELS", 100)
    assert score(case_of(), list(wanted)) == pytest.approx(wanted, rel=1e-12)


def test_mistakes():
    with pytest.raises(UsageError, match="bins: expected at least 1, got 0"):
        reliability(case_of(), bins=0)
    with pytest.raises(UsageError, match="needs a probability map"):
        reliability(Case(np.ones((2, 2), bool), np.ones((2, 2), bool), spacing_mm=(1, 1)))


def test_a_brain_without_a_voxel_has_no_score():
    case = case_of(brain=np.zeros(SHAPE, dtype=bool))
    assert all(math.isnan(value) for value in score(case, ["nll_brain", "ece_brain", "ace_brain"]).values())


def test_near_is_ten_millimetres():
    reference = np.zeros((1, 13), dtype=bool)
    reference[0, 0] = True
    probability = np.where(reference, 1.0, 0.0)
    probability[0, 10], probability[0, 11] = 0.5, 1.0  # 10 and 11 mm away
    case = Case(probability, reference, spacing_mm=(1, 1))
    assert score(case, ["brier_near", "brier"]) == pytest.approx({"brier_near": 0.25 / 11, "brier": 1.25 / 13})

"""Whether intervals cover, tests hold their level and power is what it is said to be, in worlds with a known truth."""

import numpy as np
import pytest
from scipy import stats

from lesionloss.core.randomness import numpy_generator
from lesionloss.statistics.complete_blocks import Block
from lesionloss.statistics.evidence import ALPHA, holm, sign_flip_bounds, sign_flip_p, sign_flip_ps
from lesionloss.statistics.loss_blocks import World
from lesionloss.statistics.new_training_runs import interval_over_trainings
from lesionloss.statistics.power import Design, Spread, power_new_trainings, power_these_trainings, spread_of
from lesionloss.statistics.variance_components import components_of
from simulated_worlds import DIFFERENCES, SCORES, Truth, differences, patient_means

RUNS = {8: 10_000, 20: 5_000}


def in_parts(function, samples):
    """A vectorised function over 500 runs at a time, so that memory stays small."""
    parts = [function(samples[start : start + 500]) for start in range(0, len(samples), 500)]
    return np.concatenate(parts, axis=-1)


@pytest.mark.parametrize("patients", [8, 20])
@pytest.mark.parametrize("world", DIFFERENCES)
def test_equal_losses_are_called_different_in_4_to_6_percent(world, patients):
    samples = DIFFERENCES[world](numpy_generator("level", world), (RUNS[patients], patients))
    assert 0.04 <= (in_parts(sign_flip_ps, samples) < ALPHA).mean() <= 0.06


@pytest.mark.parametrize("patients", [8, 20])
@pytest.mark.parametrize("world", DIFFERENCES)
def test_the_interval_of_a_difference_covers_the_truth_in_93_to_97_percent(world, patients):
    samples = DIFFERENCES[world](numpy_generator("cover", world), (RUNS[patients], patients))
    low, high = in_parts(lambda part: np.stack(sign_flip_bounds(part)), samples)
    assert 0.93 <= ((low <= 0) & (high >= 0)).mean() <= 0.97


@pytest.mark.parametrize("patients", [8, 20])
@pytest.mark.parametrize("world", SCORES)
def test_the_interval_of_a_mean_covers_the_truth_in_93_to_97_percent(world, patients):
    draw, truth = SCORES[world]
    samples = draw(numpy_generator("mean", world), (RUNS[patients], patients))
    low, high = in_parts(lambda part: np.stack(sign_flip_bounds(part)), samples)
    assert 0.93 <= ((low <= truth) & (high >= truth)).mean() <= 0.97


def test_the_signed_rank_test_of_eight_patients_cannot_reach_4_percent():
    """Its levels are 3.9 % and 5.5 %: the reason why it is not the default."""
    samples = DIFFERENCES["normal"](numpy_generator("level", "ranks"), (RUNS[8], 8))
    ps = stats.wilcoxon(samples, axis=1, method="exact").pvalue
    assert np.unique(ps)[np.unique(ps) < ALPHA].max() == pytest.approx(10 / 256)
    assert 0.033 <= (ps < ALPHA).mean() <= 0.045


def test_holm_keeps_the_level_of_a_family_that_shares_its_baseline():
    draw = numpy_generator("family", "baseline")
    scores = draw.normal(size=(1500, 5, 12))
    families = scores[:, 1:] - scores[:, :1]
    ps = in_parts(sign_flip_ps, families.reshape(-1, 12)).reshape(-1, 4)
    corrected = [min(holm({str(n): float(p) for n, p in enumerate(family)}).values()) for family in ps]
    assert (ps.min(axis=1) < ALPHA).mean() > 0.09
    assert 0.02 <= (np.array(corrected) < ALPHA).mean() <= 0.06


LUCKY = Truth(patients=20, folds=2, seeds=3, training=0.7, rest=1.0)


@pytest.mark.parametrize(
    "truth",
    [
        Truth(patients=8, seeds=3, training=0.3, rest=1.0),
        Truth(patients=8, folds=2, seeds=2, training=0.6, rest=1.0),
        Truth(patients=20, folds=4, seeds=3, training=1.0, rest=0.5),
        Truth(patients=20, folds=5, seeds=5, training=0.3, rest=1.0),
        Truth(patients=11, folds=3, seeds=3, training=0.5, rest=1.0),
        LUCKY,
    ],
)
def test_the_interval_over_trainings_covers_the_truth_in_93_to_97_percent(truth):
    tables = differences(truth, 2000, "trainings")
    found = [interval_over_trainings([table[run] for table in tables], 0.0) for run in range(2000)]
    centres = patient_means(tables).mean(axis=1)
    covered = [abs(centre) <= bounds.high for bounds, centre in zip(found, centres, strict=True)]
    assert 0.93 <= np.mean(covered) <= 0.97


def test_patients_alone_cannot_see_the_luck_of_the_trainings():
    """What every table without a second seed risks: equal losses, called different far too often."""
    wrong = (in_parts(sign_flip_ps, patient_means(differences(LUCKY, 2000, "luck"))) < ALPHA).mean()
    assert wrong > 0.12


@pytest.mark.parametrize("patients", [8, 20])
@pytest.mark.parametrize("effect", [0.5, 0.8])
def test_planted_effects_are_found_with_the_power_that_is_predicted(patients, effect):
    truth = Truth(patients=patients, seeds=2, mean=effect, rest=0.6)
    means = patient_means(differences(truth, 4000, "power", patients))
    found = ((in_parts(sign_flip_ps, means) < ALPHA) & (means.mean(axis=1) > 0)).mean()
    spread = Spread(truth.patient, truth.training, truth.rest)
    assert found == pytest.approx(power_these_trainings(effect, spread, Design(patients, 1, 2), ALPHA), abs=0.03)


@pytest.mark.parametrize(
    "truth",
    [
        Truth(patients=20, folds=2, seeds=3, mean=0.9, training=0.5, rest=1.0),
        Truth(patients=20, folds=5, seeds=2, mean=0.7, training=0.5, rest=0.5),
        Truth(patients=8, folds=2, seeds=5, mean=1.0, training=0.5, rest=1.0),
    ],
)
def test_power_over_new_trainings_is_what_is_predicted(truth):
    tables = differences(truth, 1500, "new trainings")
    centres = patient_means(tables).mean(axis=1)
    found = [
        interval_over_trainings([table[run] for table in tables], float(centres[run])).low > 0 for run in range(1500)
    ]
    spread = Spread(truth.patient, truth.training, truth.rest)
    predicted = power_new_trainings(truth.mean, spread, Design(truth.patients, truth.folds, truth.seeds), ALPHA)
    assert 0.3 < predicted < 0.95
    assert np.mean(found) == pytest.approx(predicted, abs=0.05)


def test_the_spread_that_power_is_based_on_is_the_planted_one():
    truth = Truth(patients=40, folds=4, seeds=4, patient=1.5, training=1.0, rest=0.7)
    tables = differences(truth, 200, "spread")
    found = [spread_of([table[run] for table in tables]) for run in range(200)]
    for name in ("patient", "training", "rest"):
        squares = np.mean([getattr(spread, name) ** 2 for spread in found])
        assert squares == pytest.approx(getattr(truth, name) ** 2, rel=0.08)


def planted_world(run):
    """Four losses, folds of 3, 4 and 5 patients, 3 seeds, every component planted; fold 2 lost a seed."""
    draw = numpy_generator("components", run)
    losses = draw.normal(0, PLANTED["loss"], 4)
    blocks = []
    for fold, (patients, seeds) in enumerate([(3, 3), (4, 3), (5, 2)]):
        values = (
            losses[:, None, None]
            + PLANTED["fold"] * draw.normal()
            + PLANTED["patient"] * draw.normal(size=(1, patients, 1))
            + PLANTED["seed"] * draw.normal(size=(1, 1, seeds))
            + PLANTED["loss x fold"] * draw.normal(size=(4, 1, 1))
            + PLANTED["loss x patient"] * draw.normal(size=(4, patients, 1))
            + PLANTED["loss x seed"] * draw.normal(size=(4, 1, seeds))
            + PLANTED["rest"] * draw.normal(size=(4, patients, seeds))
        )
        blocks.append(Block(fold, tuple(map(str, range(patients))), tuple(range(seeds)), values))
    return World(("a", "b", "c", "d"), tuple(blocks))


PLANTED = {
    "loss": 0.6,
    "fold": 1.0,
    "patient": 2.0,
    "seed": 1.2,
    "loss x fold": 0.5,
    "loss x patient": 0.8,
    "loss x seed": 0.7,
    "rest": 0.5,
}


def test_variance_components_are_those_planted():
    found = [{c.source: c.variance for c in components_of(planted_world(run))} for run in range(1500)]
    for source, sd in PLANTED.items():
        estimates = np.array([components[source] for components in found])
        error = estimates.std() / np.sqrt(len(estimates))
        assert estimates.mean() == pytest.approx(sd**2, abs=4 * error + 0.02), source


def test_a_single_drawn_world_is_as_reproducible_as_its_name():
    first, again = (sign_flip_p(numpy_generator("same").normal(size=20)) for _ in range(2))
    assert first == again

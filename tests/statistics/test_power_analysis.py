"""Detectable differences and sample sizes of whole run folders."""

import shutil

import pytest

import lesionloss as ll
from known import known
from lesionloss.core.errors import UsageError
from lesionloss.report.power_wording import power_sentences
from lesionloss.statistics import analyse_power
from make_run import seal_run


def test_a_detectable_difference_is_detected_with_the_given_power(run):
    scores = ll.load(run).metric_scores("dice")
    (first, *_) = analyse_power(scores, 0.02, power=0.9)
    (again, *_) = analyse_power(scores, known(first.detectable_same_training_runs), power=0.9)
    assert again.power_same_training_runs == pytest.approx(0.9, abs=1e-6)
    (more, *_) = analyse_power(scores, known(first.detectable_new_training_runs), power=0.9)
    assert more.power_new_training_runs == pytest.approx(0.9, abs=1e-6)
    needed = [size.new_training_runs for size in first.sample_sizes if size.new_training_runs is not None]
    assert needed == sorted(needed, reverse=True)


def test_with_one_seed_new_training_runs_are_unknown(single):
    found = analyse_power(ll.load(single).metric_scores("dice"), 0.05)
    assert all(each.detectable_new_training_runs is None for each in found)
    assert all([size.seeds for size in each.sample_sizes] == [1] for each in found)
    assert "add a second seed" in power_sentences(found[0])[1]


def test_a_metric_that_describes_has_no_power(single, tmp_path):
    folder = shutil.copytree(single, tmp_path / "run")
    for path in (folder / "trials").glob("*/scores.csv"):
        path.write_text(path.read_text().replace("false_positive_lesion_volume_mm3", "volume_mm3"))
    seal_run(folder)
    with pytest.raises(UsageError, match="no value of it is better"):
        analyse_power(ll.load(folder).metric_scores("volume_mm3"), 1.0)

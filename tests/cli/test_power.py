"""`lesionloss power`."""

import json

import pytest

import lesionloss as ll
from lesionloss.report.power_wording import power_sentences
from lesionloss.statistics import analyse_power
from make_run import TINY_CASES, Made, make_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    made = Made(patients=8, losses=("dice_ce", "dice"), seeds=(1, 2, 3), metrics=("dice",), **TINY_CASES)
    return make_run(tmp_path_factory.mktemp("power") / "run", made)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--difference", "0"], "must be above 0"),
        (["--difference", "nan"], "must be above 0"),
        (["--difference", "0.1", "--power", "1"], "must lie between"),
        (["--difference", "0.1", "--metric", "dise"], "did you mean 'dice'?"),
        (["--difference", "0.1", "--baseline", "dice_c"], "did you mean 'dice_ce'?"),
    ],
)
def test_power_explains_mistakes_in_one_line(run, cli, words, message):
    code, out, err = cli("power", run, *words)
    assert (code, out) == (2, "")
    assert message in err
    assert len(err.strip().splitlines()) == 1


def test_power_says_the_same_on_the_screen_and_as_json(run, cli):
    code, out, _ = cli("power", run, "--difference", "0.02")
    assert code == 0
    expected = analyse_power(ll.load(run).metric_scores("dice"), 0.02)
    text = " ".join(out.split())
    assert all(" ".join(sentence.split()) in text for entry in expected for sentence in power_sentences(entry))
    code, out, _ = cli("power", run, "--difference", "0.02", "--json")
    assert code == 0
    printed = [entry["detectable_same_training_runs"] for entry in json.loads(out)]
    assert printed == [entry.detectable_same_training_runs for entry in expected]

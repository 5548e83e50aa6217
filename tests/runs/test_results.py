"""Loading a run folder, and the messages for damaged and old ones."""

import numpy as np
import pytest

import lesionloss as ll
from lesionloss.core.errors import DataError, UsageError
from make_run import DIFFERENCE_THRESHOLD, FULL, Made, make_run, seal_run

SMALL = Made(
    patients=4,
    losses=("dice_ce", "dice"),
    shape=(16, 18, 6),
    radius=(0.3, 0.5),
    failed=(("dice", 1, 2),),
    missing=(("dice", 0, 1),),
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("results") / "run", SMALL)


@pytest.fixture
def own_run(tmp_path):
    return make_run(tmp_path / "run", SMALL)


def scores_of_first_trial(folder):
    return sorted((folder / "trials").glob("*/scores.csv"))[0]


def test_a_run_is_what_its_folder_holds(run):
    results = ll.load(run)
    assert results.losses == ("dice_ce", "dice", DIFFERENCE_THRESHOLD)
    assert len(results.trials) == 4 + 2 + 2
    assert [(t.loss, t.fold, t.seed, t.reason) for t in results.failed] == [
        ("dice", 1, 2, "RuntimeError: the loss became NaN at step 12")
    ]
    assert [(t.loss, t.fold, t.seed) for t in results.missing] == [("dice", 0, 1)]
    assert [entry.case for entry in results.left_out] == ["patient99"]
    assert results.metrics[:4] == ("dice", "hd95", "lesion_f1", "brier")
    assert set(results.scores["status"]) <= {"ok", "pred_empty", "ref_empty", "both_empty"}


def test_folds_that_are_numbered_from_one_are_not_missing(own_run):
    for file in (own_run / "trials").glob("*/trial.toml"):
        text = file.read_text()
        file.write_text(text.replace("fold = 1", "fold = 2").replace("fold = 0", "fold = 1"))
    seal_run(own_run)
    assert [(t.loss, t.fold, t.seed) for t in ll.load(own_run).missing] == [("dice", 1, 1)]


def test_a_trial_that_was_mended_is_no_longer_failed(own_run):
    (failed,) = (own_run / "trials").glob("*.failed")
    whole = next(path for path in (own_run / "trials").iterdir() if path.suffix == "")
    failed.rename(whole.with_suffix(".failed"))
    assert ll.load(own_run).failed == ()


def test_unfinished_trials_are_missing(own_run):
    whole = next(path for path in sorted((own_run / "trials").iterdir()) if path.suffix == "")
    whole.rename(whole.with_suffix(".partial"))
    assert len(ll.load(own_run).missing) == 2


def test_arrays_are_read_when_asked_for(run):
    results = ll.load(run)
    arrays = results.case("patient01")
    assert arrays["image"].shape == (3, 16, 18, 6)
    trial = next(t for t in results.trials if "patient01" in t.record["test"])
    probability = results.probability(trial.key, "patient01")
    assert probability.dtype == np.float32
    assert 0 <= probability.min() < probability.max() <= 1


def test_scores_of_a_metric_are_prepared_once(run):
    results = ll.load(run)
    scores = results.metric_scores("dice")
    assert results.metric_scores("dice") is scores
    assert scores.losses == results.losses
    assert scores.untrained == {DIFFERENCE_THRESHOLD}
    assert len(scores.rows) == 2 * len(results.trials)


def test_a_run_of_version_0_1_is_refused_in_one_line(own_run):
    file = next((own_run / "trials").glob("*/trial.toml"))
    file.write_text(file.read_text().replace('method = "network"', 'method = "difference"'))
    with pytest.raises(DataError, match=r"trial\.toml: method 'difference' is from version 0\.1") as caught:
        ll.load(own_run)
    assert "\n" not in str(caught.value)


def test_a_map_of_version_0_1_is_refused_in_one_line(own_run):
    results = ll.load(own_run)
    trial = results.trials[0]
    case = trial.record["test"][0]
    levels = np.round(results.probability(trial.key, case) * 255).astype(np.uint8)
    np.savez_compressed(trial.folder / "predictions" / f"{case}.npz", probability=levels)
    results = ll.load(seal_run(own_run))
    with pytest.raises(DataError, match=r"expected 'probability' as float32, got uint8, as version 0\.1 wrote it"):
        results.probability(trial.key, case)


def test_loading_reads_no_table(own_run):
    scores_of_first_trial(own_run).write_text("rubbish")
    seal_run(own_run)
    results = ll.load(own_run)
    with pytest.raises(DataError, match=r"scores\.csv: no column"):
        _ = results.scores


def test_folders_that_hold_no_run(tmp_path):
    with pytest.raises(UsageError, match=r"no folder .*nowhere"):
        ll.load(tmp_path / "nowhere")
    with pytest.raises(UsageError, match=r"not a run folder: it has no plan\.toml"):
        ll.load(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (",dice,", ",dice,much", r"line 2: expected a number, inf or nothing, got 'much"),
        (",ok\n", ",fine\n", r"expected a status among ok, pred_empty, ref_empty, both_empty, got 'fine'"),
        (",hd95,", ",dice,", r"expected each case and metric once, got 'patient\d\d dice'"),
        ("loss,dataset", "lass,dataset", r"no column loss; expected loss,dataset,fold"),
    ],
)
def test_damaged_scores_name_file_and_line(own_run, old, new, message):
    file = scores_of_first_trial(own_run)
    file.write_text(file.read_text().replace(old, new, 1))
    seal_run(own_run)
    with pytest.raises(DataError, match=message) as caught:
        _ = ll.load(own_run).scores
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00\x01", b'a,b\n"open'])
def test_rubbish_in_scores_is_one_clear_line(own_run, content):
    scores_of_first_trial(own_run).write_bytes(content)
    with pytest.raises(DataError, match=r"scores\.csv") as caught:
        _ = ll.load(own_run).scores
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("plan.toml", "name = ", r"plan\.toml can't be read"),
        ("cohort/index.json", "{", r"index\.json is not valid JSON"),
        (
            "cohort/index.json",
            '{"cases": [{"name": "a", "patient": "a"}]}',
            r"index\.json: an entry has no usable 'shape'",
        ),
    ],
)
def test_damaged_small_files_are_named(own_run, name, content, message):
    (own_run / name).write_text(content)
    with pytest.raises(DataError, match=message):
        ll.load(own_run)


def test_damaged_and_absent_arrays_are_named(own_run):
    results = ll.load(own_run)
    (own_run / "cohort" / "patient01.npz").write_bytes(b"PK\x03\x04 not a zip")
    with pytest.raises(DataError, match=r"patient01\.npz: not a whole prepared case"):
        results.case("patient01")
    with pytest.raises(DataError, match=r"elsewhere\.npz is absent"):
        results.probability(results.trials[0].key, "elsewhere")
    with pytest.raises(UsageError, match=r"no case is named .\.\./plan."):
        results.case("../plan")
    with pytest.raises(UsageError, match="no trial 'x'"):
        results.probability("x", "patient01")


def test_a_run_without_any_trial_is_a_run(tmp_path):
    made = Made(patients=2, losses=("dice",), difference=False, seeds=(1,), failed=(("dice", 0, 1), ("dice", 1, 1)))
    results = ll.load(make_run(tmp_path / "run", made))
    assert results.trials == ()
    assert len(results.scores) == 0
    assert results.metrics == ()


def test_the_full_run_has_what_its_description_says():
    assert FULL.failed
    assert FULL.missing
    assert FULL.without_lesions
    assert FULL.empty

"""`lesionloss.collect`: a run folder of predictions of others, read as any other, in which nothing is invented."""

import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

import lesionloss as ll
from lesionloss.collecting.case_arrays import ReadPrediction, read_prediction
from lesionloss.collecting.found_predictions import ClassLabels, Mismatch
from lesionloss.data.prepared import PreparedCase
from lesionloss.runs.results import Results
from lesionloss.runs.verify import verify_run
from lesionloss.statistics import analyse_power
from others_predictions import AFFINE, PATTERN, SHAPE, Others, probability, reference, write, write_others

METRICS = ("dice", "hd95")
READ = "lesionloss.collecting.score_prediction.read_prediction"


def collected(folder: Path, out: Path, *, strict: bool = False, **options: str) -> tuple[Results, list[str]]:
    listed: list[str] = []

    def notify(mismatch: Mismatch) -> None:
        listed.append(str(mismatch))

    results = ll.collect(
        out,
        predictions=f"{folder}/results/{options.get('pattern', PATTERN)}",
        references=folder / "labels",
        probabilities=f"{folder}/maps/{PATTERN}" if options.get("maps") else "",
        images=folder / "images" if options.get("images") else "",
        metrics=METRICS,
        strict=strict,
        notify=notify,
    )
    return results, listed


@pytest.fixture(scope="module")
def run(others: Path, tmp_path_factory: pytest.TempPathFactory) -> Results:
    return collected(others, tmp_path_factory.mktemp("runs") / "mine", maps="yes", images="yes")[0]


def test_scores_are_those_of_the_masks(run: Results) -> None:
    made = Others()
    rows = run.scores[run.scores["metric"] == "dice"].set_index(["loss", "fold", "seed", "case"])["value"]
    assert len(rows) == 2 * 2 * made.cases
    for loss, skill, fold, seed in made.trials():
        for case in made.tested(fold):
            mask = probability(case, loss, skill, seed, made) >= np.float32(0.5)
            expected = ll.score(ll.Case(mask, reference(case, made), spacing_mm=(2, 2, 3)), ["dice"])["dice"]
            assert rows[loss, fold, seed, case] == pytest.approx(expected, abs=1e-12)


def test_the_folder_is_read_as_any_other(run: Results) -> None:
    comparison = ll.compare(run, "dice")
    (difference,) = comparison.differences
    assert (difference.loss, difference.baseline, difference.patients) == ("focal", "dice", 6)
    assert difference.verdict in ("better", "undecided")
    assert analyse_power(run.metric_scores("dice"), 0.1)
    assert [each.findings for each in verify_run(run.folder)] == [()]
    assert [case.reference_mm3 for case in run.cohort] == [
        pytest.approx(float(reference(case, Others()).sum()) * 12) for case in Others().names
    ]


def test_a_file_that_was_edited_is_refused(run: Results, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(run.folder, copy)
    record = copy / "collected.toml"
    record.write_text(record.read_text().replace('baseline_loss = "dice"', 'baseline_loss = "focal"'))
    with pytest.raises(ll.DataError, match=r"collected\.toml is not what trial .* was made with"):
        ll.load(copy)
    assert {finding.file for finding in verify_run(copy)[0].findings} == {"collected.toml"}


def test_nothing_is_invented(run: Results) -> None:
    record = tomllib.loads((run.folder / "collected.toml").read_text())
    assert record["collected"]["unknown"] == [
        "network",
        "training settings",
        "steps",
        "machine",
        "training cases",
        "initial weights and batches",
    ]
    trial = run.trials[0]
    assert set(trial.record) == {
        *("key", "method", "loss", "dataset", "fold", "seed", "test", "maps", "threshold", "problems"),
    }
    assert trial.machine == {}
    comparison = ll.compare(run, "dice")
    assert comparison.differences[0].pairing == "patient"
    assert comparison.warnings == (
        "it is not known whether the losses started from the weights of dice and saw its batches: they are paired by "
        "patient, not proven by training",
    )


def test_maps_and_masks_are_kept(run: Results, others: Path) -> None:
    trial = next(each for each in run.trials if each.loss == "focal")
    case = trial.record["test"][0]
    name = PATTERN.format(loss="focal", fold=trial.fold, seed=trial.seed, case=case)
    given = np.asarray(nibabel.load(others / "maps" / name).dataobj, dtype=np.float32)
    kept = run.probability(trial.key, case)
    assert np.array_equal(kept, np.where(given >= 0.001, given, 0))
    assert trial.has_probabilities
    assert run.case(case)["image"].std() > 0


def test_a_second_call_scores_only_what_is_new(others: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "run"
    shutil.copytree(others, data := tmp_path / "data")
    shutil.move(data / "results" / "focal", tmp_path / "focal")
    first, _ = collected(data, out)
    shutil.move(tmp_path / "focal", data / "results" / "focal")
    scored: list[str] = []

    def noting(each: ll.Prediction, case: PreparedCase, labels: ClassLabels, threshold: float | None) -> ReadPrediction:
        scored.append(each.loss)
        return read_prediction(each, case, labels, threshold)

    monkeypatch.setattr(READ, noting)
    both, _ = collected(data, out)
    assert set(scored) == {"focal"}
    assert len(scored) == 12
    assert (first.losses, both.losses) == (("dice",), ("dice", "focal"))
    assert {trial.key for trial in first.trials} < {trial.key for trial in both.trials}
    changed = data / "results" / PATTERN.format(loss="dice", fold=0, seed=1, case="case00")
    write(changed, np.zeros(SHAPE, dtype=np.uint8))
    scored.clear()
    collected(data, out)
    assert scored == ["dice", "dice"]  # both cases of that fold and seed
    assert len(list((out / "trials").iterdir())) == 12


def test_an_interrupted_call_goes_on(others: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, seen = tmp_path / "run", list[str]()

    def interrupted(
        each: ll.Prediction, case: PreparedCase, labels: ClassLabels, threshold: float | None
    ) -> ReadPrediction:
        seen.append(each.case)
        if len(seen) == 8:
            raise KeyboardInterrupt
        return read_prediction(each, case, labels, threshold)

    monkeypatch.setattr(READ, interrupted)
    with pytest.raises(KeyboardInterrupt):
        collected(others, out)
    with pytest.raises(ll.UsageError, match="not a run folder"):
        ll.load(out)
    collected(others, out)
    assert len(seen) == 8 + 24 - 7
    assert not list(out.glob("trials/*.partial"))
    assert not list(out.glob("trials/*/rows"))


def test_what_does_not_fit_is_listed_and_left_out(tmp_path: Path) -> None:
    data = write_others(tmp_path / "data", Others())
    (data / "results" / "focal" / "fold_1" / "seed2" / "case01.nii.gz").unlink()
    shutil.rmtree(data / "results" / "focal" / "fold_2" / "seed1")
    write(data / "labels" / "alone.nii.gz", np.zeros(SHAPE, dtype=np.uint8))
    write(data / "results" / "dice" / "fold_0" / "seed1" / "case00.nii.gz", np.zeros((4, 4, 4), dtype=np.uint8))
    results, listed = collected(data, tmp_path / "run")
    assert [line.partition(": ")[0] for line in listed] == [
        "reference without prediction",
        "case that one loss lacks",
        "missing combination",
        "prediction that can't be scored",
    ]
    assert "case01" in listed[1]
    assert "focal, fold 2, seed 1" in listed[2]
    assert "not on one grid" in listed[3]
    assert list(results.collected["mismatches"]) == listed
    assert [(each.case, each.reason) for each in results.left_out] == [("alone", "no prediction of it was found")]
    assert ll.compare(results, "dice").differences[0].pairs == 24 - 12 - 1 - 2 - 1
    _, listed_again = collected(data, tmp_path / "run")
    assert listed_again == listed
    with pytest.raises(ll.DataError, match=r"3 mismatches, and they must all fit \(strict\); nothing was written"):
        collected(data, tmp_path / "strict", strict=True)
    assert not (tmp_path / "strict").exists()


def test_strict_stops_at_another_grid(tmp_path: Path) -> None:
    data = write_others(tmp_path / "data", Others(folds=1, seeds=(1,), cases=2))
    write(data / "results" / "dice" / "fold_0" / "seed1" / "case00.nii.gz", np.zeros((4, 4, 4), dtype=np.uint8))
    with pytest.raises(ll.DataError, match="1 files can't be used"):
        collected(data, tmp_path / "run", strict=True)
    with pytest.raises(ll.UsageError, match="not a run folder"):
        ll.load(tmp_path / "run")


def test_a_folder_of_something_else_is_left_alone(others: Path, tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_text("")
    with pytest.raises(ll.UsageError, match="holds no collection"):
        collected(others, tmp_path)


def test_maps_of_other_masks_are_refused(tmp_path: Path) -> None:
    data = write_others(tmp_path / "data", Others(folds=1, seeds=(1,), cases=2), maps=True)
    for loss in ("dice", "focal"):
        for case in ("case00", "case01"):
            name = PATTERN.format(loss=loss, fold=0, seed=1, case=case)
            write(data / "maps" / name, np.full(SHAPE, 0.2, dtype=np.float32))
    with pytest.raises(ll.DataError, match=r"no prediction can be scored.*is not the mask that .* gives.*--threshold"):
        collected(data, tmp_path / "run", maps="yes")


def test_maps_as_masks_are_refused_with_the_option_that_helps(others: Path, tmp_path: Path) -> None:
    pattern, labels = f"{others}/maps/{PATTERN}", others / "labels"
    with pytest.raises(ll.DataError, match=r"these look like probabilities; add --threshold 0.5"):
        ll.collect(tmp_path / "run", predictions=pattern, references=labels, metrics=["dice"])
    results = ll.collect(tmp_path / "run", predictions=pattern, references=labels, metrics=["dice"], threshold=0.5)
    assert results.trials[0].has_probabilities


def arrays(*, seed: int | None, losses: tuple[str, ...] = ("dice", "focal")) -> list[ll.Prediction]:
    made = Others()
    return [
        ll.Prediction(
            loss=loss,
            case=case,
            prediction=probability(case, loss, skill, seed or 1, made) > 0.5,
            reference=reference(case, made),
            seed=seed,
            spacing_mm=(2, 2, 3),
        )
        for loss, skill in made.skill
        if loss in losses
        for case in made.names
    ]


def test_arrays_without_seeds_compare_these_networks_only(tmp_path: Path) -> None:
    results = ll.collect(tmp_path / "run", predictions=arrays(seed=None), metrics=METRICS)
    (difference,) = ll.compare(results, "dice").differences
    assert difference.verdict == "seeds unknown"
    assert (difference.patients, difference.interval is not None) == (6, True)
    assert difference.interval_new_training_runs is None
    assert "seeds" in results.collected["unknown"]
    assert results.trials[0].has_probabilities is False


def test_one_loss_one_fold_one_seed(tmp_path: Path) -> None:
    results = ll.collect(tmp_path / "run", predictions=arrays(seed=1, losses=("focal",)), metrics=METRICS)
    comparison = ll.compare(results, "dice")
    assert comparison.differences == ()
    assert comparison.summaries[0].patients == 6


def test_one_seed_and_one_fold_give_no_verdict(tmp_path: Path) -> None:
    results = ll.collect(tmp_path / "run", predictions=arrays(seed=1), metrics=METRICS)
    assert ll.compare(results, "dice").differences[0].verdict == "one seed"


def test_a_fold_that_one_loss_lacks_gives_no_verdict(others: Path, tmp_path: Path) -> None:
    shutil.copytree(others, data := tmp_path / "data")
    shutil.rmtree(data / "results" / "focal" / "fold_2")
    results, _ = collected(data, tmp_path / "run")
    assert ll.compare(results, "dice").differences[0].verdict == "missing folds"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda each: each[:1] * 2, "case case00 is given twice"),
        (lambda each: [], "none were given"),
        (lambda each: [ll.Prediction("a", "x/y", each[0].prediction, each[0].reference)], "that of a file"),
        (lambda each: [ll.Prediction("a", "x", each[0].prediction, each[0].reference)], "spacing_mm: expected 3"),
        (
            lambda each: [ll.Prediction("a", "x", np.zeros((2, 2, 2)), each[0].reference, spacing_mm=(1, 1, 1))],
            r"shape \(2, 2, 2\), its reference has",
        ),
    ],
)
def test_wrong_arrays_are_refused(
    change: Callable[[list[ll.Prediction]], list[ll.Prediction]], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ll.LesionLossError, match=message):
        ll.collect(tmp_path / "run", predictions=change(arrays(seed=1)), metrics=METRICS)


def test_pictures_of_two_axes(tmp_path: Path) -> None:
    mask = np.zeros((8, 6), dtype=np.uint8)
    mask[2:4, 2:5] = 1
    records = [ll.Prediction(loss, "a", mask, mask, spacing_mm=(1, 1)) for loss in ("x", "y")]
    results = ll.collect(tmp_path / "run", predictions=records, metrics=["dice"])
    assert list(results.scores["value"]) == [1.0, 1.0]


def test_several_classes_are_scored_one_by_one(tmp_path: Path) -> None:
    labels = np.zeros(SHAPE, dtype=np.uint8)
    labels[2:6, 2:6, 1:4], labels[9:12, 2:6, 1:4] = 1, 2
    wrong = labels.copy()
    wrong[9:12, 4:6] = 0
    write(tmp_path / "labels" / "a.nii.gz", labels)
    write(tmp_path / "results" / "x" / "a.nii.gz", wrong)
    results = ll.collect(
        tmp_path / "run",
        predictions=f"{tmp_path}/results/{{method}}/{{case}}.nii.gz",
        references=tmp_path / "labels",
        metrics=["dice"],
        classes=(1, 2),
    )
    values = results.scores.set_index("lesion")["value"]
    assert values["label 1"] == 1
    assert values["label 2"] == pytest.approx(2 / 3)
    assert values[""] == pytest.approx(5 / 6)
    assert results.collected["compares"] == "method"
    assert AFFINE[0, 0] == results.cohort[0].spacing_mm[0]

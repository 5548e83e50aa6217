"""Losses and seeds that are added to a run: what is new is trained as if it had been there from the start."""

import shutil
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lesionloss import UsageError
from lesionloss.bench.bookkeeping.trial_list import read_trial_list
from lesionloss.bench.forecast import forecast
from lesionloss.bench.plan import Plan
from lesionloss.bench.plan.extend_run import keep_earlier_plan
from lesionloss.bench.plan.run_folders import runs_of, store_plan
from lesionloss.bench.run import run
from lesionloss.core.errors import DataError
from lesionloss.core.user_files import load_user_file
from lesionloss.losses import registry
from lesionloss.report import write_report
from lesionloss.runs.load_run import load
from lesionloss.runs.verify import verify_run
from lesionloss.statistics import compare
from lesionloss.training.trial import Trial
from tiny_runs import tiny_plan, trial_folders

ADDED = "the loss focal and seed 2 were added when 6 trials had finished"


def plan_with(data: Path, losses: tuple[str, ...], seeds: list[int], **changes: object) -> Plan:
    return tiny_plan(data, losses=losses, seeds=seeds, metrics=["dice"], **changes)


def small(data: Path) -> Plan:
    return plan_with(data, ("dice", "hytver"), [1])


def large(data: Path, *, seeds: tuple[int, ...] = (1, 2)) -> Plan:
    return plan_with(data, ("dice", "hytver", "focal"), list(seeds))


@pytest.fixture(scope="module")
def extended(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "extended"
    run(small(data), out)
    run(large(data), out, extend=True)
    return out


@pytest.fixture
def copy(extended: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(extended, tmp_path / "copy"))


def test_what_was_added_has_the_bits_of_a_run_that_had_it_from_the_start(
    extended: Path, data: Path, tmp_path: Path
) -> None:
    run(large(data), tmp_path / "at_once")
    folders = trial_folders(tmp_path / "at_once")
    assert [folder.name for folder in trial_folders(extended)] == [folder.name for folder in folders]
    for folder in folders:
        for name in ("scores.csv", "model.safetensors"):
            if (folder / name).exists():
                assert (folder / name).read_bytes() == (extended / "trials" / folder.name / name).read_bytes()
    keys = [trial.key for trial in read_trial_list(tmp_path / "at_once").trials]
    assert [trial.key for trial in read_trial_list(extended).trials] == keys


def test_the_run_goes_on_without_the_option_and_is_as_written(extended: Path, data: Path) -> None:
    assert len(run(large(data), extended).trials) == 2 + 3 * 2 * 2
    assert not verify_run(extended)[0].findings
    assert not load(extended).missing


@pytest.mark.usefixtures("figures_only_as_svg")
def test_comparison_and_report_say_what_was_added(copy: Path) -> None:
    warnings = compare(load(copy), "dice").warnings
    assert any(ADDED in warning for warning in warnings)
    page = write_report(load(copy)).read_text(encoding="utf-8")
    assert "Added after results." in page
    assert "The plan, with what was added to it" in page
    assert "The plan, as declared before the run" not in page
    assert page.count("had finished") > 1  # among the warnings, and in the methods


def test_a_run_that_was_not_extended_says_nothing(data: Path, tmp_path: Path) -> None:
    results = run(small(data), tmp_path / "run")
    assert results.additions == ""
    assert not any("added" in warning for warning in compare(results, "dice").warnings)


def test_only_losses_and_seeds_can_be_added(copy: Path, data: Path) -> None:
    before = (copy / "plan.toml").read_bytes()
    more = plan_with(data, ("dice", "hytver", "focal", "tversky"), [1, 2])
    with pytest.raises(UsageError, match=r"differs in losses\); add --extend to add its losses and seeds to that run"):
        store_plan(more, copy)
    for plan, words in (
        (plan_with(data, ("dice", "hytver"), [1, 2]), "this plan lacks focal of the run"),
        (large(data, seeds=(2, 3)), "this plan lacks 1 of the run"),
        (
            plan_with(data, ("dice", "hytver", "focal"), [1, 2, 3], folds=3),
            "this plan differs in folds, too",
        ),
    ):
        with pytest.raises(UsageError, match=words):
            store_plan(plan, copy, extend=True)
        with pytest.raises(UsageError, match=r"\); choose another --out"):
            store_plan(plan, copy)
    assert (copy / "plan.toml").read_bytes() == before
    assert len(list((copy / "earlier-plans").iterdir())) == 1


def test_a_dry_run_counts_what_would_be_trained(copy: Path, data: Path) -> None:
    more = large(data, seeds=(1, 2, 3))
    with pytest.raises(UsageError, match="add --extend"):
        forecast(more, copy, "cpu", 1, 1)
    found = forecast(more, copy, "cpu", 1, 1, extend=True)
    assert [trial.seed for trial in found.trials if trial.state == "open"] == [3] * 6
    assert len(found.trials) == 18


def test_an_extension_that_was_stopped_goes_on(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run(small(data), out)
    keep_earlier_plan(out)  # and the machine stops before the new plan is written
    assert load(out).additions == ""
    store_plan(large(data), out, extend=True)  # and the machine stops before the trial list is written
    assert [path.name for path in (out / "earlier-plans").iterdir()] == ["1.toml"]
    assert len(load(out).missing) == 8
    run(large(data), out)
    assert ADDED in load(out).additions
    assert not load(out).missing


def test_each_extension_is_told(copy: Path, data: Path) -> None:
    more = large(data, seeds=(1, 2, 3, 4))
    store_plan(more, copy, extend=True)
    assert f"{ADDED}; seeds 3 and 4 were added when 14 trials had finished" in load(copy).additions


def test_an_addition_is_told_though_the_one_before_trained_nothing(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run(small(data), out)
    store_plan(plan_with(data, ("dice", "hytver", "focal"), [1]), out, extend=True)
    store_plan(large(data), out, extend=True)
    assert "the loss focal was added when 6 trials had finished" in load(out).additions
    assert "seed 2 was added when 6 trials had finished" in load(out).additions


def test_another_order_is_the_same_run(copy: Path, data: Path) -> None:
    turned = plan_with(data, ("focal", "dice", "hytver"), [2, 1], baseline_loss="dice")
    before = (copy / "plan.toml").read_bytes()
    assert not run(turned, copy).missing
    assert not run(turned, copy, extend=True).missing
    assert (copy / "plan.toml").read_bytes() == before
    more = plan_with(data, ("tversky", "focal", "dice", "hytver"), [2, 1], baseline_loss="dice")
    store_plan(more, copy, extend=True)
    assert load(copy).losses[:4] == ("dice", "hytver", "focal", "tversky")


def test_what_is_refused_leaves_the_run_as_it_was(copy: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    more = large(data, seeds=(1, 2, 3))
    with pytest.raises(UsageError, match=r"was started with 1 thread\(s\)"):
        run(more, copy, extend=True, threads=2)
    other = plan_with(data, ("dice", "hytver", "focal"), [1, 2, 3], folds=3)
    with pytest.raises(UsageError, match="differs in folds"):
        run(other, copy, extend=True)
    monkeypatch.setattr("lesionloss.bench.run.trials_of", lambda *_: trials_with_other_cases(copy))
    with pytest.raises(UsageError, match=r"holds other trials \(they differ in train\)"):
        run(more, copy, extend=True)
    assert {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()} == before


def trials_with_other_cases(out: Path) -> tuple[Trial, ...]:
    trials = [trial for trial in read_trial_list(out).trials if trial.method == "network"]
    return tuple(replace(trial, train=trial.train[1:]) for trial in trials)


def test_damaged_earlier_plans_stop_the_run_before_it_trains(copy: Path, data: Path) -> None:
    first = copy / "earlier-plans" / "1.toml"
    whole = first.read_text()
    for text, words in (
        ("no toml", "1.toml is damaged; trials are bound to it: restore it from a copy"),
        (whole.replace("losses = [", "losses = 3\nothers = ["), "1.toml has more than losses and seeds that differ"),
    ):
        first.write_text(text)
        with pytest.raises(DataError, match=words):
            load(copy)
        with pytest.raises(DataError, match=words):
            store_plan(large(data, seeds=(1, 2, 3)), copy, extend=True)
        assert "earlier-plans" in [finding.file for finding in verify_run(copy)[0].findings]
    first.rename(first.with_name("2.toml"))
    with pytest.raises(DataError, match=r"earlier-plans/1.toml is absent"):
        load(copy)


def test_there_must_be_a_run_to_extend(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no run that --extend could add to"):
        runs_of(small(data), tmp_path / "typo", extend=True)
    assert not (tmp_path / "typo").exists()


def test_a_plan_that_is_no_earlier_one_is_found(copy: Path) -> None:
    earlier = copy / "earlier-plans" / "1.toml"
    earlier.write_text(earlier.read_text().replace("steps = 3", "steps = 4"))
    with pytest.raises(DataError, match=r"1.toml has more than losses and seeds that differ"):
        load(copy)
    assert "earlier-plans" in [finding.file for finding in verify_run(copy)[0].findings]
    earlier.write_text((copy / "plan.toml").read_text())
    with pytest.raises(DataError, match="is not what trial"):
        load(copy)


@pytest.fixture
def own_loss(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "code" / "mine.py"
    path.parent.mkdir()
    path.write_text(
        "from lesionloss import loss\n\n\n"
        '@loss("added_loss", source="none")\n'
        "def added_loss(v):\n"
        '    """My loss: the share of wrong voxels."""\n'
        "    c = v.counts()\n"
        "    return (c.fp + c.fn + v.eps) / (c.tp + c.fp + c.fn + v.eps)\n"
    )
    yield path
    if "added_loss" in registry.LOSSES.names():
        registry.LOSSES.remove("added_loss")


def test_a_loss_of_the_user_is_added_with_its_file(copy: Path, data: Path, own_loss: Path) -> None:
    plan = copy.parent / "plan.toml"
    record = large(data).model_copy(update={"losses_files": ()})
    text = record.to_toml().replace('    "focal",\n', '    "focal",\n    "added_loss",\n')
    plan.write_text(
        f"losses_files = [{str(own_loss)!r}]\n"
        + "\n".join(line for line in text.splitlines() if not line.startswith("losses_files"))
    )
    results = run(Plan.load(plan), copy, extend=True)
    assert "added_loss" in results.losses
    assert not results.missing
    assert not results.failed
    assert tomllib.loads((copy / "plan.toml").read_text())["losses_files"] == ["losses/mine.py"]
    assert (copy / "losses" / "mine.py").read_bytes() == own_loss.read_bytes()


def test_a_file_of_losses_that_has_changed_is_named(copy: Path, data: Path, own_loss: Path) -> None:
    load_user_file(own_loss)
    with_own = plan_with(data, ("dice", "hytver", "focal", "added_loss"), [1, 2])
    store_plan(with_own, copy, extend=True)
    registry.LOSSES.remove("added_loss")
    own_loss.write_text(own_loss.read_text() + "\n# and another loss\n")
    load_user_file(own_loss)
    for extend in (True, False):
        with pytest.raises(UsageError, match=r"mine.py is no longer the file .*put new losses in a file of their own"):
            store_plan(with_own, copy, extend=extend)

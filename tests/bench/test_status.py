"""The status of a run, read from its folder while others work on it; the forecast of a plan before it is run."""

import json
import os
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from lesionloss import DataError, UsageError
from lesionloss.bench.bookkeeping.failures import Failure, cause_of, failure_of_exit_code, write_failure
from lesionloss.bench.bookkeeping.status import Status, StatusReader, last_step, read_status, status_json
from lesionloss.bench.bookkeeping.trial_list import FILE, read_trial_list
from lesionloss.bench.forecast import forecast
from lesionloss.bench.run import run
from lesionloss.cli.bench_tables import duration, print_forecast, print_status, size
from lesionloss.core.locks import new_holder
from lesionloss.runs.load_run import load
from lesionloss.training.checkpoint import CheckpointError
from lesionloss.training.loop import TrainingFailed
from lock_files import a_dead_process, write
from make_cohort import write_cohort
from tiny_runs import tiny_plan


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "tiny"
    run(tiny_plan(data), out)
    return out


@pytest.fixture
def half(whole: Path, tmp_path: Path) -> Path:
    """Two losses, two folds: one trial is done, one runs, one has failed, one is open."""
    out = Path(shutil.copytree(whole, tmp_path / "half"))
    _, going, failed, waiting = [trial.key for trial in read_trial_list(out).trials if trial.method == "network"]
    for key in (going, failed, waiting):
        shutil.rmtree(out / "trials" / key)
    place = out / "trials" / f"{going}.partial"
    place.mkdir()
    rows = ["step,loss,learning_rate,seconds,x,y", "1,0.5,0.001,4.0,0,0", "2,0.4,0.001,8.0,0,0", "3,0.3"]
    (place / "history.csv").write_text("\n".join(rows))
    write(out / "locks" / going, replace(new_holder(), host="node7"))
    write_failure(
        out / "trials", failed, "", Failure("not finite", "Traceback\n  ...\nTrainingFailed: nan at step 2", "a call")
    )
    return out


def printed(status: Status) -> str:
    console = Console(width=140, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    print_status(status, console)
    return console.export_text()


def test_a_status_counts_trials_and_names_their_processes(half: Path) -> None:
    status = read_status(half)
    assert status.counts == {"done": 3, "running": 1, "failed": 1, "open": 1}
    assert status.pairs == (0, 2)
    (running,) = status.of("running")
    assert (running.step, running.steps, running.host, running.pid) == (2, 3, "node7", os.getpid())
    assert running.seconds is not None
    assert 4 <= running.seconds <= 4 + 60  # a step of four seconds and the scoring
    (failed,) = status.of("failed")
    assert (failed.cause, failed.reason) == ("not finite", "TrainingFailed: nan at step 2")
    assert status.seconds_left is not None
    assert status.seconds_left >= running.seconds
    said = printed(status)
    for words in ("3 done, 1 running, 1 failed, 1 open; 0 of 2 pairs complete", "2 of 3", "node7:", "expected end"):
        assert words in said


def test_a_look_at_the_status_makes_no_digest_again(half: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trials = read_trial_list(half)
    reader = StatusReader(half, trials)
    first = reader.read()
    monkeypatch.setattr("lesionloss.training.trial._digest", lambda record: pytest.fail("a digest is made again"))
    assert [each.key for each in reader.read().trials] == [each.key for each in first.trials]


def test_a_status_is_json_for_programs(half: Path, whole: Path) -> None:
    record = json.loads(status_json(read_status(half)))
    assert record["counts"] == {"done": 3, "running": 1, "failed": 1, "open": 1}
    assert {trial["state"] for trial in record["trials"]} == {"done", "running", "failed", "open"}
    assert json.loads(status_json(read_status(whole)))["pairs_complete"] == 2


def test_trials_side_by_side_in_one_process_take_turns(half: Path) -> None:
    status = read_status(half)
    (running,) = status.of("running")
    trials = [replace(trial, state="done", seconds=10.0) for trial in status.trials if trial.state == "done"]
    beside = [replace(running, key=key, seconds=6.0) for key in ("a", "b")]
    both = replace(status, trials=(*trials, *beside))
    assert [both.seconds_left_of(trial) for trial in beside] == [12.0, 12.0]
    assert both.seconds_left == 12.0
    elsewhere = (*trials, beside[0], replace(beside[1], pid=running.pid + 1))
    assert replace(status, trials=elsewhere).seconds_left == 6.0


def test_a_trial_whose_process_is_gone_is_open_again(half: Path) -> None:
    (running,) = read_status(half).of("running")
    write(half / "locks" / running.key, replace(new_holder(), pid=a_dead_process()))
    status = read_status(half)
    assert status.counts["running"] == 0
    assert status.counts["open"] == 2
    assert status.seconds_left is None
    assert "no process is running" in printed(status)


def test_only_whole_lines_of_a_history_are_read(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    assert last_step(path) == (0, 0.0)
    path.write_text("step,loss,learning_rate,seconds\n")
    assert last_step(path) == (0, 0.0)
    path.write_text(
        "step,loss,learning_rate,seconds\n" + "".join(f"{n},1,1,{n / 2}\n" for n in range(1, 500)) + "500,1"
    )
    assert last_step(path) == (499, 249.5)


def test_a_damaged_or_foreign_trial_list_is_refused(half: Path) -> None:
    text = (half / FILE).read_text()
    (half / FILE).write_text(text.replace('"seed": 1', '"seed": 2', 1))
    with pytest.raises(DataError, match="a trial does not agree with its key"):
        read_status(half)
    (half / FILE).write_text(text.replace('"format": 1', '"format": 99'))
    with pytest.raises(UsageError, match="of format 99; install a newer lesionloss"):
        read_status(half)
    (half / FILE).unlink()
    with pytest.raises(UsageError, match="its patients are not prepared yet"):
        read_status(half)


def test_a_run_of_a_former_version_is_named_as_such(whole: Path, data: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(whole, tmp_path / "run"))
    (out / FILE).rename(out / "agenda.json")
    message = "was made by lesionloss 0.1, and this version can't read it; run the plan again in a new --out"
    for use in (read_status, load, lambda folder: run(tiny_plan(data), folder)):
        with pytest.raises(UsageError, match=message):
            use(out)


def test_data_that_changed_are_refused(whole: Path, data: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(whole, tmp_path / "run"))
    other = write_cohort(tmp_path / "other", (1, 1, 3, 0))
    plan = tiny_plan(other)
    (out / "plan.toml").write_text(plan.to_toml())
    with pytest.raises(UsageError, match=r"holds other trials \(they differ in dataset\)"):
        run(plan, out)


def test_the_cause_of_a_failure_is_named() -> None:
    assert cause_of(TrainingFailed("nan")) == "not finite"
    assert cause_of(MemoryError()) == "out of memory"
    assert cause_of(RuntimeError("DefaultCPUAllocator: can't allocate memory")) == "out of memory"
    error = CheckpointError("can't be written")
    error.__cause__ = OSError(28, "No space left on device")
    assert cause_of(error) == "disk full"
    assert cause_of(ValueError("else")) == "error"
    assert (
        failure_of_exit_code(-9, "").reason == "killed by signal 9 (SIGKILL): probably out of memory; try fewer --jobs"
    )
    assert failure_of_exit_code(-11, "").reason == "killed by signal 11 (SIGSEGV)"


def test_a_forecast_comes_from_finished_trials_or_from_a_few_steps(half: Path, data: Path) -> None:
    plan = tiny_plan(data)
    fresh = forecast(plan, None, "cpu", jobs=2, threads=1)
    assert len(fresh.trials) == fresh.left == 4
    assert "timed now" in fresh.source
    assert fresh.left_out == ("the making of batches and the scoring of whole images (nothing is prepared yet)",)
    assert fresh.seconds is not None
    assert fresh.seconds_each is not None
    assert fresh.seconds == pytest.approx(2 * fresh.seconds_each)
    assert fresh.need_bytes > 0
    known = forecast(plan, half, "cpu", jobs=None, threads=None)
    assert [trial.state for trial in known.trials] == ["done", "running", "failed", "open"]
    assert known.left == 3
    assert known.source == "the mean of 1 finished trial"
    assert known.there_bytes > 10_000
    console = Console(width=200, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    print_forecast(known, console)
    said = console.export_text()
    assert (known.together, forecast(plan, half, "cpu", jobs=1, threads=1, together=1).together) == (2, 1)
    for words in ("4 trials, 3 to do", "time: ", "2 losses side by side in each", "disk: ", "memory: about"):
        assert words in said


def test_times_and_sizes_are_printed_in_words() -> None:
    assert [duration(seconds) for seconds in (40, 900, 12_000)] == ["40 s", "15 min", "3 h 20 min"]
    assert [size(count) for count in (340_000, 1_200_000, 52_000_000_000)] == ["340 kB", "1.2 MB", "52 GB"]


def test_nothing_is_written_by_a_forecast(data: Path, tmp_path: Path) -> None:
    before = time.time()
    forecast(tiny_plan(data), tmp_path / "absent", "cpu", jobs=1, threads=1)
    assert not (tmp_path / "absent").exists()
    assert all(path.stat().st_mtime < before for path in data.rglob("*") if path.is_file())

"""Commands that are ended at any moment say so in one line, and what a kill leaves behind the next call removes."""

import builtins
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lesionloss.__main__ import main
from lesionloss.core.files import FOREIGN_SECONDS, UNFINISHED, temporary_name, write_text
from lesionloss.core.randomness import torch_generator
from lesionloss.networks import build_network
from lesionloss.networks.bundle import BundleRecord, save_bundle
from make_run import TINY_CASES, Made, make_run

RUN = Made(patients=2, losses=("dice",), difference=False, seeds=(1,), metrics=("dice",), **TINY_CASES)
linux = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="reads the processes of Linux")


@pytest.fixture
def started() -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Start commands in processes of their own, which are dead at the end."""
    processes: list[subprocess.Popen[str]] = []

    def start(*words: object) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "lesionloss", *map(str, words)]
        processes.append(subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.wait()
        process.stderr.close()


def wait_until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def unfinished(folder: Path) -> list[Path]:
    return list(folder.rglob(f"{UNFINISHED}*"))


@linux
@pytest.mark.parametrize("wait", [0.0, pytest.param(0.5, marks=pytest.mark.slow)])
def test_sigterm_of_report_is_one_line(started, tmp_path: Path, wait: float) -> None:
    """Also from its workers, which import NumPy at first."""
    process = started("report", make_run(tmp_path / "run", RUN), "--jobs", 2)
    wait_until(lambda: Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().count(" ") > 1)
    time.sleep(wait)
    process.terminate()
    assert process.communicate()[1] == "lesionloss: interrupted; an earlier report is kept\n"
    assert unfinished(tmp_path) == []


@pytest.mark.slow
def test_a_report_after_a_kill_removes_what_it_left(cli, started, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", RUN)
    process = started("report", run, "--jobs", 1)
    wait_until(lambda: unfinished(run))
    process.kill()
    process.wait()
    assert unfinished(run)
    assert cli("report", run, "--jobs", 1)[0] == 0
    assert unfinished(run) == []


def test_predict_after_a_kill_removes_what_it_left(cli, started, data: Path, tmp_path: Path, monkeypatch) -> None:
    text = "unet3d(filters=2, levels=2, group=2, inputs=3)"
    record = BundleRecord(network=text, channels=("baseline", "followup", "difference"), window=(8, 8, 8))
    save_bundle(tmp_path / "model", build_network(text, torch_generator("killed")), record)
    command = ("predict", tmp_path / "model", "--cohort", f"msseg2:{data}", "--out", tmp_path / "out")
    process = started(*command)
    wait_until(lambda: list((tmp_path / "out").glob(f"*/{UNFINISHED}*")))
    process.kill()
    process.wait()
    assert unfinished(tmp_path / "out")
    monkeypatch.setattr("lesionloss.inference.predict.picture_sheet.save_sheet", lambda path, _: path.write_bytes(b"x"))
    assert cli(*command)[0] == 0
    assert unfinished(tmp_path / "out") == []


def test_only_what_ended_processes_left_is_removed(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    ours = temporary_name(tmp_path / "a.csv").name
    scope, _, rest = ours.removeprefix(UNFINISHED).partition(".")
    ended = rest.replace(f"{os.getpid()}.", f"{process.pid}.", 1)
    kept = [ours, f"{UNFINISHED}00000000.{rest}", f"{UNFINISHED}of-another-program", "a.csv"]
    removed = [f"{UNFINISHED}{scope}.{ended}", f"{UNFINISHED}11111111.{rest}", f"{UNFINISHED}{scope}.{ended}-folder"]
    for name in (*kept, *removed[:2]):
        (tmp_path / name).touch()
    (tmp_path / removed[2] / "inside").mkdir(parents=True)
    long_ago = time.time() - 2 * FOREIGN_SECONDS
    os.utime(tmp_path / removed[1], (long_ago, long_ago))
    write_text(tmp_path / "b.csv", "")
    assert {path.name for path in tmp_path.iterdir()} == {*kept, "b.csv"}


def test_ctrl_c_while_the_command_line_is_imported_is_one_line(monkeypatch, capsys) -> None:
    real = builtins.__import__

    def interrupted(name: str, *args: object, **kwargs: object) -> object:
        if name == "lesionloss.cli":
            signal.raise_signal(signal.SIGINT)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", interrupted)
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 130
    assert capsys.readouterr().err == "lesionloss: interrupted; nothing was done\n"

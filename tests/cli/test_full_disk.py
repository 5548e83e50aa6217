"""A full disk, at any write, is one line that says what is kept; nothing half-written is left."""

import contextlib
import errno
import resource
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lesionloss.core.files import atomic_file, atomic_files, atomic_folder, write_text
from lesionloss.data.nifti import write_volume
from make_run import TINY_CASES, Made, make_run

EXAMPLES = settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
ONE_LOSS = Made(patients=2, losses=("dice",), difference=False, seeds=(1,), metrics=("dice",), **TINY_CASES)


@contextlib.contextmanager
def files_up_to(size: int) -> Iterator[None]:
    """No file can grow beyond `size` bytes; the system then answers "File too large"."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class Call:
    """The n-th call of these functions of the system fails, or ends the process."""

    NAMES = ("os.fsync", "os.replace", "os.open", "os.rename", "tempfile.mkstemp", "pathlib.Path.write_text")

    def __init__(self, number: int, error: BaseException) -> None:
        self.number, self.error = number, error

    def wrap(self, function):
        def called(*args, **kwargs):
            self.number -= 1
            if self.number == 0:
                raise self.error
            return function(*args, **kwargs)

        return called


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), SystemExit(1)], ids=str)
@settings(max_examples=40, deadline=None)
@given(number=st.integers(1, 30))
def test_files_are_whole_whatever_write_fails(error: BaseException, number: int) -> None:
    import os
    import pathlib

    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        folder, call = Path(name), Call(number, error)
        write_text(folder / "single", "old")
        for place in Call.NAMES:
            module, _, function = place.rpartition(".")
            owner = {"os": os, "tempfile": tempfile, "pathlib.Path": pathlib.Path}[module]
            patch.setattr(owner, function, call.wrap(getattr(owner, function)))
        with contextlib.suppress(OSError, SystemExit):
            with atomic_file(folder / "single") as temporary:
                temporary.write_text("new")
            with atomic_folder(folder / "patient") as temporary:
                (temporary / "a").write_text("a")
                (temporary / "b").write_text("b")
            with atomic_files(folder, last="page") as temporary:
                write_text(temporary / "page", "page")
                write_text(temporary / "figures" / "f", "f")
        patch.undo()
        found = {name: text.decode() for name, text in contents(folder).items()}
        assert found["single"] in ("old", "new")
        assert ("patient/a" in found) == ("patient/b" in found)
        assert "page" not in found or "figures/f" in found
        assert not any("writing" in name or "partial" in name for name in found)


@EXAMPLES
@given(size=st.integers(0, 3000))
def test_evaluate(cli, tmp_path: Path, size: int) -> None:
    mask = np.zeros((8, 8, 8), np.uint8)
    mask[2:4, 2:4, 2:4] = 1
    for number in range(12):
        write_volume(tmp_path / "refs" / f"{number}.nii.gz", mask, np.eye(4))
    command = ["evaluate", tmp_path / "refs", tmp_path / "refs", "--out", tmp_path / "out" / "s.csv", "--jobs", 1]
    shutil.rmtree(tmp_path / "out", ignore_errors=True)
    with files_up_to(size):
        code, _, said = cli(*command)
    assert code == 1
    assert said.count("\n") == 1
    assert "File too large; free space there, or choose another place; " in said
    assert contents(tmp_path / "out") == {}
    assert cli(*command)[0] == 0


@EXAMPLES
@given(size=st.integers(300, 2000))
def test_prepare(cli, data: Path, tmp_path: Path, size: int) -> None:
    with files_up_to(size):
        code, _, said = cli("prepare", data, tmp_path / "out")
    assert code == 1
    assert said.count("\n") == 1
    assert "prepared cases are kept; give the same command again to continue" in said
    assert contents(tmp_path / "out") == {}


def test_synth(cli, tmp_path: Path) -> None:
    with files_up_to(20_000):
        code, _, said = cli("synth", tmp_path / "out", "-n", 1, "--spacing", 3)
    assert code == 1
    assert "finished patients are kept; give the same command again to continue" in said
    assert set(contents(tmp_path / "out")) == {"cohort.json"}


@settings(EXAMPLES, max_examples=2)
@given(size=st.integers(20_000, 100_000))
def test_report(cli, tmp_path: Path, size: int) -> None:
    run = tmp_path / "run"
    if not run.exists():
        make_run(run, ONE_LOSS)
    before = contents(run)
    with files_up_to(size):
        code, _, said = cli("report", run, "--jobs", 1)
    assert code == 1
    assert said.count("\n") == 1
    assert "an earlier report is kept" in said
    assert contents(run) == before


def test_a_report_of_a_run_that_is_read_only_goes_elsewhere(cli, tmp_path: Path, monkeypatch) -> None:
    run = make_run(tmp_path / "run", ONE_LOSS)
    before = contents(run)
    real = tempfile.TemporaryFile

    def temporary_file(*args, dir: Path, **kwargs):
        if dir == run:
            raise OSError(errno.EROFS, "Read-only file system")
        return real(*args, dir=dir, **kwargs)

    monkeypatch.setattr(tempfile, "TemporaryFile", temporary_file)
    code, _, said = cli("report", run, "--jobs", 1)
    assert code == 2
    assert f"{run} can't be written to (Read-only file system); name a page elsewhere, --out FILE.html" in said
    code, said, _ = cli("report", run, "--jobs", 1, "--out", tmp_path / "here" / "page.html")
    assert code == 0
    assert str(tmp_path / "here" / "page_files" / "tables") in said.replace("\n", "")
    assert contents(run) == before
    assert {"page.html", "page_files/report.json", "page_files/tables/summary.csv"} <= set(contents(tmp_path / "here"))

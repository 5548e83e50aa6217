"""A full disk, at any write, is one line that says what is kept; nothing half-written is left."""

import contextlib
import errno
import os
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
from lesionloss.core.randomness import torch_generator
from lesionloss.data.nifti import write_volume
from lesionloss.networks import build_network
from lesionloss.networks.bundle import BundleRecord, save_bundle
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

    def install(self, patch: pytest.MonkeyPatch) -> None:
        for place in self.NAMES:
            module, _, function = place.rpartition(".")
            owner = {"os": os, "tempfile": tempfile, "pathlib.Path": Path}[module]
            patch.setattr(owner, function, self.wrap(getattr(owner, function)))

    def wrap(self, function):
        def called(*args, **kwargs):
            if function.__name__ == "open" and not args[1] & (os.O_WRONLY | os.O_RDWR):
                return function(*args, **kwargs)  # reading needs no space
            self.number -= 1
            if self.number == 0:
                raise self.error
            return function(*args, **kwargs)

        return called


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), SystemExit(1)], ids=str)
@settings(max_examples=40, deadline=None)
@given(number=st.integers(1, 30))
def test_files_are_whole_whatever_write_fails(error: BaseException, number: int) -> None:
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        folder, call = Path(name), Call(number, error)
        for name in ("single", "page", "figures/f"):
            write_text(folder / name, "old")
        call.install(patch)
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
        assert (found["page"], found["figures/f"]) in (("old", "old"), ("page", "f"))
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


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained network for the visits of `data`."""
    folder = tmp_path_factory.mktemp("model")
    text = "unet3d(filters=2, levels=2, group=2, inputs=3)"
    record = BundleRecord(network=text, channels=("baseline", "followup", "difference"), window=(8, 8, 8))
    save_bundle(folder, build_network(text, torch_generator("full disk")), record)
    return folder


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "lesionloss.inference.predict.picture_sheet.save_sheet", lambda path, _: path.write_bytes(b"sheet" * 1000)
    )


RESULTS = {"new_lesions.nii.gz", "probability.nii.gz", "lesions.csv", "pictures.png", "prediction.json"}


def check_predicted(out: Path, said: str) -> None:
    """One line; each case is there whole or not at all."""
    assert said.count("\n") == 1
    assert "finished cases are kept; give the same command again to continue" in said
    for folder in (path for path in out.glob("*") if path.is_dir()):
        assert {path.name for path in folder.iterdir()} in (set(), RESULTS)


@EXAMPLES
@pytest.mark.usefixtures("no_pictures")
@given(size=st.integers(0, 4000))
def test_predict(cli, data: Path, model: Path, tmp_path: Path, size: int) -> None:
    command = ["predict", model, "--cohort", f"msseg2:{data}", "--out", tmp_path / "out"]
    shutil.rmtree(tmp_path / "out", ignore_errors=True)
    with files_up_to(size):
        code, _, said = cli(*command)
    assert code == 1
    assert "File too large; free space there, or choose another place; " in said
    check_predicted(tmp_path / "out", said)


def test_a_file_in_place_of_a_folder_is_not_to_be_tried_again(cli, data: Path, model: Path, tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    code, _, said = cli("predict", model, "--cohort", f"msseg2:{data}", "--out", tmp_path / "out")
    assert code == 1
    assert said.count("\n") == 1
    assert "check the name and its permissions, or choose another place" in said
    assert "again" not in said


@settings(EXAMPLES, max_examples=5)
@pytest.mark.usefixtures("no_pictures")
@given(number=st.integers(1, 90), bids=st.booleans())
def test_predict_whatever_write_fails(cli, data: Path, model: Path, tmp_path: Path, number: int, bids: bool) -> None:
    out = tmp_path / "out"
    command = ["predict", model, "--cohort", f"msseg2:{data}", "--out", out, *(["--bids"] if bids else [])]
    shutil.rmtree(out, ignore_errors=True)
    call = Call(number, OSError(errno.ENOSPC, "No space left on device"))
    with pytest.MonkeyPatch.context() as patch:
        call.install(patch)
        code, _, said = cli(*command)
    assert (code, call.number > 0) in ((0, True), (1, False))
    if code and not bids:
        check_predicted(out, said)
        assert "No space left on device; free space there" in said
    assert cli(*command)[0] == 0
    assert len(list(out.rglob("*mask.nii.gz" if bids else "new_lesions.nii.gz"))) == 4
    assert not list(out.rglob(".writing-*"))


def test_synth(cli, tmp_path: Path) -> None:
    with files_up_to(20_000):
        code, _, said = cli("synth", tmp_path / "out", "-n", 1, "--spacing", 3)
    assert code == 1
    assert "finished patients are kept; give the same command again to continue" in said
    assert set(contents(tmp_path / "out")) == {"cohort.json"}


@pytest.mark.usefixtures("figures_only_as_svg")
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


@pytest.mark.usefixtures("figures_only_as_svg")
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

"""The cohort on disk: MSSEG-2 layout, same bytes, continued when interrupted, other files left alone."""

import gzip
import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
from typer.testing import CliRunner

from data_cohorts import array, load
from lesionloss.cli import app
from lesionloss.core.errors import DataError, UsageError
from lesionloss.synth import SynthSettings, synthesise, write_cohort
from lesionloss.synth.patient_files import nifti_bytes
from lesionloss.synth.patient_plan import KINDS
from lesionloss.synth.profiles import profile_settings
from lesionloss.synth.write_cohort import expected_bytes

COARSE = SynthSettings(spacing_mm=3.0)
NAMES = {
    "flair_time01_on_middle_space.nii.gz",
    "flair_time02_on_middle_space.nii.gz",
    "ground_truth.nii.gz",
    "brain_mask.nii.gz",
    "lesions_time01.nii.gz",
    "lesions_time02.nii.gz",
    "positive_change.nii.gz",
    "change.nii.gz",
    *(f"lesions_{kind}.nii.gz" for kind in KINDS),
    "record.json",
}


def silent(name: str, done: int, total: int) -> None:
    """A progress bar for nobody."""


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("synth") / "cohort"
    finished: list[tuple[str, int, int]] = []
    records = write_cohort(folder, 3, 4, COARSE, lambda *step: finished.append(step))
    assert finished == [("001", 1, 3), ("002", 2, 3), ("003", 3, 3)]
    assert [record["index"] for record in records] == [0, 1, 2]
    return folder


def test_layout_is_that_of_msseg2(cohort: Path) -> None:
    assert sorted(path.name for path in cohort.iterdir()) == ["cohort.json", "training"]
    assert sorted(path.name for path in (cohort / "training").iterdir()) == ["001", "002", "003"]
    for patient in (cohort / "training").iterdir():
        assert {file.name for file in patient.iterdir()} == NAMES


def test_files_hold_what_was_synthesised(cohort: Path) -> None:
    patient = synthesise(4, 1, COARSE)
    arrays: dict[str, np.ndarray] = {
        "flair_time01_on_middle_space": patient.visits[0],
        "flair_time02_on_middle_space": patient.visits[1],
        "ground_truth": patient.reference,
        "brain_mask": patient.brain,
        "lesions_time01": patient.lesions[0],
        "lesions_time02": patient.lesions[1],
        "positive_change": patient.change > 0,
        "change": patient.change != 0,
        **{f"lesions_{kind}": labels for kind, labels in patient.kinds.items()},
    }
    assert {f"{name}.nii.gz" for name in arrays} | {"record.json"} == NAMES
    for name, expected in arrays.items():
        image = load(cohort / "training" / "002" / f"{name}.nii.gz")
        np.testing.assert_array_equal(np.asarray(image.dataobj), expected)
        np.testing.assert_allclose(image.affine, patient.affine)
        np.testing.assert_allclose(image.header.get_zooms(), 3.0)
        assert image.header.get_xyzt_units()[0] == "mm"
        assert nibabel.aff2axcodes(image.affine) == ("R", "A", "S")


def test_record_is_json_and_agrees_with_the_mask(cohort: Path) -> None:
    for patient in (cohort / "training").iterdir():
        record = json.loads((patient / "record.json").read_text())
        assert record["seed"] == 4
        assert record["settings"]["spacing_mm"] == 3.0
        reference = array(patient / "ground_truth.nii.gz")
        new = [lesion["volume_mm3"] for lesion in record["lesions"] if lesion["kind"] == "new"]
        assert sum(new) == pytest.approx(reference.sum() * 27)
        assert {"kind", "place", "centre_mm", "volume_mm3"} <= set(record["lesions"][0])


def test_same_seed_same_bytes_whatever_the_number(cohort: Path, tmp_path: Path) -> None:
    write_cohort(tmp_path / "again", 2, 4, COARSE, silent)
    here, there = contents(cohort / "training"), contents(tmp_path / "again" / "training")
    assert len(there) == 2 * len(NAMES)
    for name, data in there.items():
        assert data == here[name], name


def test_compressed_bytes_have_no_clock() -> None:
    data = nifti_bytes(np.zeros((4, 5, 6), np.int16), np.eye(4))
    assert data[4:8] == b"\0\0\0\0"
    assert len(gzip.decompress(data)) == 352 + 4 * 5 * 6 * 2


def test_interrupted_cohort_is_continued(cohort: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cohort"

    def stop_after_one(name: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_cohort(folder, 3, 4, COARSE, stop_after_one)
    (folder / "training" / "002.partial").mkdir()  # as a kill in the middle of a patient leaves it
    (folder / "training" / "002.partial" / "brain_mask.nii.gz").write_bytes(b"half")
    before = (folder / "training" / "001" / "record.json").stat().st_mtime_ns
    write_cohort(folder, 3, 4, COARSE, silent)
    assert (folder / "training" / "001" / "record.json").stat().st_mtime_ns == before
    assert contents(folder) == contents(cohort)


def test_other_cohort_is_refused_then_replaced(tmp_path: Path) -> None:
    write_cohort(tmp_path, 1, 4, COARSE, silent)
    before = contents(tmp_path)
    with pytest.raises(UsageError, match=r"another cohort \(1 patients, seed 4, spacing 3.0 mm\).*--force"):
        write_cohort(tmp_path, 1, 5, COARSE, silent)
    assert contents(tmp_path) == before
    (tmp_path / "notes.txt").write_text("mine")
    write_cohort(tmp_path, 1, 5, COARSE, silent, force=True)
    after = contents(tmp_path)
    assert after["notes.txt"] == b"mine"
    assert after["training/001/ground_truth.nii.gz"] != before["training/001/ground_truth.nii.gz"] or (
        after["training/001/flair_time01_on_middle_space.nii.gz"]
        != before["training/001/flair_time01_on_middle_space.nii.gz"]
    )


def test_smaller_cohort_is_not_made_by_silent_removal(tmp_path: Path) -> None:
    write_cohort(tmp_path, 2, 4, COARSE, silent)
    with pytest.raises(UsageError, match=r"2 patients.*not 1 patients"):
        write_cohort(tmp_path, 1, 4, COARSE, silent)
    write_cohort(tmp_path, 1, 4, COARSE, silent, force=True)
    assert [path.name for path in (tmp_path / "training").iterdir()] == ["001"]


def test_real_data_are_never_replaced(tmp_path: Path) -> None:
    real = tmp_path / "training" / "013" / "ground_truth.nii.gz"
    real.parent.mkdir(parents=True)
    real.write_bytes(b"precious")
    with pytest.raises(UsageError, match="holds other files"):
        write_cohort(tmp_path, 1, 0, COARSE, silent)
    with pytest.raises(UsageError, match="never replaced"):
        write_cohort(tmp_path, 1, 0, COARSE, silent, force=True)
    assert contents(tmp_path) == {"training/013/ground_truth.nii.gz": b"precious"}


def test_damaged_patient_is_named(tmp_path: Path) -> None:
    write_cohort(tmp_path, 1, 4, COARSE, silent)
    (tmp_path / "training" / "001" / "record.json").unlink()
    with pytest.raises(DataError, match=r"record\.json is missing or damaged; remove the folder"):
        write_cohort(tmp_path, 1, 4, COARSE, silent)


@pytest.mark.parametrize(
    ("patients", "seed", "message"),
    [(-3, 0, "--patients is -3"), (0, 0, "--patients is 0"), (2, -1, "--seed is -1")],
)
def test_bad_numbers_are_explained(tmp_path: Path, patients: int, seed: int, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        write_cohort(tmp_path / "new", patients, seed, COARSE, silent)
    assert not (tmp_path / "new").exists()


def test_file_in_the_way_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="is a file"):
        write_cohort(tmp_path / "file", 1, 0, COARSE, silent)


def test_command_writes_table_and_picture(tmp_path: Path) -> None:
    out, picture = tmp_path / "cohort", tmp_path / "sheet.png"
    arguments = ["synth", str(out), "--patients", "1", "--seed", "4", "--spacing", "3", "--preview", str(picture)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "1 patients" in result.output
    assert "1 patients" in result.output
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert (out / "training" / "001" / "ground_truth.nii.gz").exists()
    told, _ = json.JSONDecoder().raw_decode(CliRunner().invoke(app, [*arguments, "--force", "--json"]).stdout)
    assert told["folder"] == str(out)
    assert [(each["patient"], each["new_mm3"] > 0) for each in told["patients"]] == [
        ("001", told["patients"][0]["new"] > 0)
    ]
    again = CliRunner().invoke(app, arguments)
    assert isinstance(again.exception, UsageError)
    assert "exists" in str(again.exception)


def test_command_refuses_odd_preview(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["synth", str(tmp_path / "c"), "--preview", str(tmp_path / "sheet.txt")])
    assert isinstance(result.exception, UsageError)
    assert "must end in .png" in str(result.exception)
    assert not (tmp_path / "c").exists()


@pytest.mark.slow
def test_workers_do_not_change_a_byte(cohort: Path, tmp_path: Path) -> None:
    write_cohort(tmp_path / "many", 3, 4, COARSE, silent, jobs=2)
    assert contents(tmp_path / "many") == contents(cohort)


def test_no_workers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--jobs is 0"):
        write_cohort(tmp_path / "new", 1, 0, COARSE, silent, jobs=0)


def test_a_cohort_that_no_disk_holds_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--patients is 1000000000000: they need about .* GB, and .* GB free"):
        write_cohort(tmp_path / "new", 10**12, 0, COARSE, silent)
    assert not (tmp_path / "new").exists()


def test_a_folder_that_cannot_be_made_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for folder in (tmp_path / "file" / "cohort", Path("/proc/nowhere")):
        with pytest.raises(UsageError, match=r"can't be written to \(.*\); give a folder that can"):
            write_cohort(folder, 1, 0, COARSE, silent)


@pytest.mark.parametrize("spacing_mm", [4.0, "scanner"])
def test_the_space_that_a_cohort_needs_is_that_of_its_files(tmp_path: Path, spacing_mm: float | str) -> None:
    coarse = {"in_plane_mm": (1.9, 2.0), "slice_mm": (4.0, 6.0), "isotropic_share": 0.0}
    settings = profile_settings("demo", {"spacing_mm": spacing_mm, "scanner": coarse})
    write_cohort(tmp_path, 2, 1, settings, lambda *_: None)
    written = sum(file.stat().st_size for file in tmp_path.rglob("*") if file.is_file())
    assert 0.7 < 2 * expected_bytes(2, 1, settings) / written < 1.3

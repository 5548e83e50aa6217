"""DICOM folders as input of commands; what they write tells nothing of the patient."""

import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

from dicom_files import PRIVATE, write_dicom_series
from lesionloss.data.dicom import read_series, read_series_grid
from lesionloss.inference.predict import PredictSettings, predict_cases, source_of_files
from predict_cases import bundle_of, load


def two_visits(root: Path) -> tuple[Path, Path]:
    """A brain with a new lesion, in folders that are named after the patient."""
    grid = np.indices((24, 22, 12)).transpose(1, 2, 3, 0)
    brain = (((grid - (12, 11, 6)) / (10, 9, 5)) ** 2).sum(-1) < 1
    for day in ("20251102", "20260211"):
        values = np.where(brain, 1000 + 10 * np.random.default_rng(int(day)).normal(size=brain.shape), 0)
        values[10:12, 9:11, 5:7] += 400 * (day == "20260211")
        write_dicom_series(root / "MUSTER_ANNALENA" / day, values.astype(np.int16), date=day, spacing=(1.0, 1.0, 2.0))
    first, second = sorted((root / "MUSTER_ANNALENA").iterdir())
    return first, second


def assert_nothing_private(folder: Path) -> None:
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) >= 3
    for path in files:
        content = path.read_bytes()
        if path.name.endswith(".nii.gz"):
            content += nibabel.load(path).header.binaryblock
        elif path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                content += repr({name: arrays[name] for name in arrays.files}).encode()
        for word in PRIVATE:
            assert word.lower() not in str(path.relative_to(folder)).lower()
            assert word.lower().encode() not in content.lower(), (path, word)


def test_predict_finds_a_new_lesion_and_tells_nothing_of_the_patient(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(
        "lesionloss.inference.predict.picture_sheet.save_sheet", lambda path, _content: path.write_bytes(b"sheet")
    )
    first, second = two_visits(tmp_path)
    image, brain = read_series(second), tmp_path / "brain.nii.gz"
    nibabel.save(
        nibabel.as_closest_canonical(nibabel.Nifti1Image((image.array > 0).astype(np.uint8), image.affine)), brain
    )
    source, out = source_of_files([first], [second], brain), tmp_path / "out"
    (done,), failures = predict_cases(bundle_of(), [source], out, PredictSettings(), folder_each=False)
    assert not failures
    mask = load(done.files.mask)
    assert np.allclose(mask.affine, read_series_grid(second).affine, atol=1e-5)
    found = np.asarray(mask.dataobj)
    assert found[10:12, 9:11, 5:7].all()
    assert found.sum() == 8
    record = json.loads(done.files.record.read_text())
    assert [name for name, _ in record["files"]] == ["DICOM series", "DICOM series", "brain.nii.gz"]
    assert_nothing_private(out)
    (again,), _ = predict_cases(bundle_of(), [source], out, PredictSettings(), folder_each=False)
    assert again.notes == ("there already, from the same files and settings",)


def test_data_and_prepare_tell_nothing_of_the_patient(cli: Any, tmp_path: Path) -> None:
    two_visits(tmp_path / "raw")[0].parent.rename(tmp_path / "raw" / "A7")
    code, out, _ = cli("data", tmp_path / "raw", "--json")
    assert code == 0
    (case,) = json.loads(out)["cases"]
    assert (case["name"], case["visits"], case["shape"]) == ("A7", 2, [24, 22, 12])
    assert all(word not in out for word in PRIVATE if not word.startswith("20"))
    code, out, err = cli("prepare", f"{tmp_path / 'raw'}#FLAIR", tmp_path / "prepared")
    assert (code, err) == (0, "")
    assert "1 cases prepared" in out
    assert_nothing_private(tmp_path / "prepared")
    table = tmp_path / "table.csv"
    table.write_text("patient,visit1,visit2,reference\nA7,raw/A7/20251102,raw/A7/20260211#3,r.nii.gz\n")
    reference = np.zeros((24, 22, 12), np.uint8)
    reference[10:12, 9:11, 5:7] = 1
    affine = read_series(tmp_path / "raw" / "A7" / "20251102").affine
    nibabel.save(nibabel.Nifti1Image(reference, affine), tmp_path / "r.nii.gz")
    code, _, err = cli("prepare", table, tmp_path / "from-table", "--register", "followup")
    assert code == 0, err
    assert_nothing_private(tmp_path / "from-table")

"""DICOM series: values and place as in the files, what is no volume refused, and nothing told of a patient."""

import locale
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK

from dicom_files import PATIENT, SAGITTAL, write_dicom_series
from lesionloss.core.errors import DataError
from lesionloss.data.cohort import load_subject, open_cohort
from lesionloss.data.dicom import read_series, read_series_grid, series_digest
from lesionloss.data.dicom_headers import kept_locale
from lesionloss.data.nifti import read_volume
from lesionloss.data.volume import orientation
from miniature import dicom

SHAPE = (8, 9, 6)


def values_of(seed: int, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 1000, shape, dtype=np.int16)


def simpleitk_affine(folder: Path) -> np.ndarray:
    """Where SimpleITK's own reader places the voxels, towards right, front and top."""
    with kept_locale():
        image = SimpleITK.ReadImage(SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder)))
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) @ np.diag(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    return np.diag([-1, -1, 1, 1]) @ affine


@pytest.mark.parametrize("directions", [(1.0, 0, 0, 0, 1.0, 0), SAGITTAL, (0.8, 0.6, 0, -0.6, 0.8, 0)])
def test_values_and_place_are_those_of_the_files(tmp_path: Path, directions: tuple[float, ...]) -> None:
    values = values_of(0)
    write_dicom_series(tmp_path, values, directions=directions)
    before = locale.setlocale(locale.LC_ALL)
    found = read_volume(tmp_path)
    assert locale.setlocale(locale.LC_ALL) == before  # else Python would open texts as ASCII from now on
    assert found.array.dtype == np.float32
    assert np.array_equal(found.array, values)
    assert found.spacing_mm == pytest.approx((0.7, 0.9, 3.0))
    assert np.allclose(found.affine, simpleitk_affine(tmp_path), atol=1e-5)
    assert orientation(found.affine) == ("PIR" if directions == SAGITTAL else "LPS")
    grid = read_series_grid(tmp_path)
    assert grid.array.shape == SHAPE
    assert np.array_equal(grid.affine, found.affine)


def test_slices_with_different_scales_get_the_values_of_the_scanner(tmp_path: Path) -> None:
    files = write_dicom_series(tmp_path, values_of(0), tags={"0008|0016": "1.2.840.10008.5.1.4.1.1.2"})
    stored = values_of(0).astype(np.float64)
    for place, file in enumerate(files):
        with kept_locale():
            image = SimpleITK.ReadImage(str(file))
        for key in image.GetMetaDataKeys():
            image.SetMetaData(key, image.GetMetaData(key))
        image.SetMetaData("0028|1053", f"{place + 1}")
        image.SetMetaData("0028|1052", "-7")
        writer = SimpleITK.ImageFileWriter()
        writer.KeepOriginalImageUIDOn()
        writer.SetFileName(str(file) + ".dcm")
        with kept_locale():
            writer.Execute(image)
        file.unlink()
        raw = np.frombuffer(Path(f"{file}.dcm").read_bytes()[-2 * 8 * 9 :], "<i2").reshape(9, 8)
        stored[..., place] = raw.T * (place + 1) - 7
    assert np.abs(stored - values_of(0)).max() >= 1  # the stored numbers are whole, so the scale shows
    assert np.allclose(read_series(tmp_path).array, stored, atol=1e-3)


def test_one_series_of_several_is_chosen_by_number_or_description(tmp_path: Path) -> None:
    write_dicom_series(tmp_path / "a", values_of(1), number=3, description="FLAIR sag 3D")
    write_dicom_series(tmp_path / "b", values_of(2), number=5, description="T1 MPRAGE")
    with pytest.raises(DataError) as caught:
        read_volume(tmp_path)
    said = str(caught.value)
    assert "2 series (3 'FLAIR sag 3D', 6 images; 5 'T1 MPRAGE', 6 images); choose one" in said
    assert f"{tmp_path}#SERIES" in said
    for name in ("#3", "#flair", "#FLAIR sag 3D"):
        assert np.array_equal(read_volume(Path(f"{tmp_path}{name}")).array, values_of(1))
    assert np.array_equal(read_volume(Path(f"{tmp_path}#T1")).array, values_of(2))
    with pytest.raises(DataError, match="no series 'T2'"):
        read_volume(Path(f"{tmp_path}#T2"))
    with pytest.raises(DataError, match="2 series"):
        read_volume(Path(f"{tmp_path}#a"))
    assert series_digest(Path(f"{tmp_path}#3")) == series_digest(tmp_path / "a") != series_digest(tmp_path / "b")


def other_place(folder: Path, **changed: Any) -> None:
    write_dicom_series(folder / "more", values_of(3), **changed)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-30])


def remove(*files: Path) -> None:
    for file in files:
        file.unlink()


WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "a slice is missing": (lambda folder: remove(folder / "IM0005"), "lie 6 mm apart, most others 3 mm: a slice"),
    "places twice": (lambda folder: other_place(folder), "show the same place"),
    "two orientations": (lambda folder: other_place(folder, directions=SAGITTAL), "another orientation than"),
    "two sizes": (lambda folder: other_place(folder, spacing=(0.7, 0.8, 3.0)), "another size or pixel spacing than"),
    "cut off": (lambda folder: cut(folder / "IM0002"), "IM0002: damaged"),
    "no image": (lambda folder: (folder / "SR1").write_bytes(bytes(128) + b"DICM" + bytes(9)), "SR1: damaged"),
    "one image": (lambda folder: remove(*folder.glob("IM*[1-9]")), "one image only"),
    "empty": (lambda folder: remove(*folder.glob("IM*")), "no DICOM image in it"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_no_volume_is_refused_in_one_line(wrong: str, tmp_path: Path, capfd: Any) -> None:
    write_dicom_series(tmp_path, values_of(0))
    (tmp_path / "readme.txt").write_text("an export of the archive")
    (tmp_path / "DICOMDIR").write_bytes(bytes(128) + b"DICM" + bytes(9))
    change, says = WRONG[wrong]
    read_volume(tmp_path)
    change(tmp_path)
    with pytest.raises(DataError, match=says) as caught:
        read_volume(tmp_path)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_a_tilted_gantry_is_refused(tmp_path: Path) -> None:
    for place, file in enumerate(write_dicom_series(tmp_path, values_of(0))):
        tilted = (-3.0, -4.0 + 0.5 * place, -10 + 3.0 * place)
        write_dicom_series(tmp_path / "x", values_of(0, (8, 9, 1)), origin=tilted)
        (tmp_path / "x" / "IM0000").rename(file)
    with pytest.raises(DataError, match="the affine is sheared"):
        read_volume(tmp_path)


def test_masks_of_converted_series_are_turned_as_the_series(tmp_path: Path) -> None:
    """Programs that convert DICOM store rows from the front to the back or the other way round."""
    root = dicom(tmp_path)
    reference = root / "A001" / "reference.nii.gz"
    before = load_subject(open_cohort(root), open_cohort(root).cases[0])
    image = nibabel.load(reference)
    nibabel.save(nibabel.as_closest_canonical(image), reference)
    assert orientation(nibabel.load(reference).affine) != orientation(image.affine)
    after = load_subject(open_cohort(root), open_cohort(root).cases[0])
    assert np.array_equal(before.reference, after.reference)


def test_visits_stand_in_the_order_of_names_and_dates(tmp_path: Path) -> None:
    files = open_cohort(dicom(tmp_path)).cases[0]
    assert [visit.name for (visit,) in files.visits] == ["visit2", "visit10"]
    assert files.ordered_by == "the names of their folders and the dates in their headers"
    (tmp_path / "A001" / "visit2").rename(tmp_path / "A001" / "visit11")
    with pytest.raises(DataError, match="visit10 stands before visit11 by its name, but was taken later by its header"):
        open_cohort(tmp_path)


def test_a_patient_without_a_reference_or_with_one_visit_is_a_case(tmp_path: Path) -> None:
    shutil.rmtree(dicom(tmp_path) / "A001" / "visit10")
    (tmp_path / "A001" / "reference.nii.gz").unlink()
    first, second = open_cohort(tmp_path).cases
    assert (len(first.visits), first.reference) == (1, None)
    assert len(second.visits) == 2
    assert load_subject(open_cohort(tmp_path), first).reference is None


def test_a_folder_named_after_the_patient_is_refused(tmp_path: Path) -> None:
    write_dicom_series(tmp_path / "x" / "A7", values_of(7))
    for name in ("Muster_A", "x-PID-47110815", "19770401"):
        folder = next((tmp_path / "x").iterdir()).rename(tmp_path / "x" / name)
        with pytest.raises(DataError, match="rename it to a pseudonym"):
            open_cohort(tmp_path / "x")
    write_dicom_series(folder, values_of(7), tags={**PATIENT, "0012|0062": "YES"})
    assert [files.name for files in open_cohort(tmp_path / "x").cases] == ["19770401"]

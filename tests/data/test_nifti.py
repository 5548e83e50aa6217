"""What NIfTI files mean: masks, labels, probabilities, grids; and what is written."""

import tempfile
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from data_cohorts import load
from lesionloss.core.errors import DataError
from lesionloss.data.nifti import read_labels, read_mask, read_volume, write_volume
from lesionloss.data.resampling.simpleitk import itk_image
from lesionloss.data.subject import Subject
from lesionloss.data.volume import same_grid
from nifti_files import AFFINE, SHAPE, block, noise, save


def scaled(path: Path, array: np.ndarray) -> Path:
    """A float mask saved as uint8: nibabel stores a slope, and 1 reads back as 1.00000006."""
    image = nibabel.Nifti1Image(array.astype(np.float32), AFFINE)
    image.set_data_dtype(np.uint8)
    nibabel.save(image, path)
    return path


def test_a_scaled_mask_is_rounded(tmp_path: Path) -> None:
    path = scaled(tmp_path / "mask.nii.gz", block())
    assert not np.array_equal(load(path).get_fdata(), block())
    np.testing.assert_array_equal(read_mask(path).array, block() == 1)


@pytest.mark.parametrize(
    ("array", "remedy"),
    [
        (block() * 255, "27 voxels are 255: divide the mask by 255"),
        (block() * 14, "27 voxels are 14: divide the mask by 14"),
        (block() * np.float32(0.7), "probabilities; choose a threshold"),
        (noise() % 1, "probabilities; choose a threshold"),
        (block() + np.roll(block(), 2, axis=0), "choose which values are lesion and save those as 1"),
        (-block().astype(np.int16), "choose which values are lesion"),
        (block() * np.float32(1.01), "27 voxels are 1.01"),
    ],
    ids=["255", "14", "one probability", "probabilities", "two labels", "negative", "beyond the tolerance"],
)
def test_other_values_than_0_and_1_are_refused(tmp_path: Path, array: np.ndarray, remedy: str) -> None:
    path = save(tmp_path / "mask.nii.gz", array)
    with pytest.raises(DataError, match=str(path)) as caught:
        read_mask(path)
    assert remedy in str(caught.value)


def test_an_empty_mask_is_a_mask(tmp_path: Path) -> None:
    assert not read_mask(save(tmp_path / "mask.nii.gz", np.zeros(SHAPE, np.uint8))).array.any()


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
def test_whole_files_are_believed(tmp_path: Path, ending: str, kind: type) -> None:
    path = tmp_path / f"image{ending}"
    nibabel.save(kind(noise()[..., None, None], AFFINE), path)
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.array, noise())
    assert volume.array.dtype == np.float32
    assert volume.spacing_mm == pytest.approx((0.7, 0.7, 3.0))
    assert volume.path == path


def test_big_endian_and_scaled_integers(tmp_path: Path) -> None:
    array = np.round(noise()).astype(">i2")
    header = nibabel.Nifti1Header(endianness=">")
    nibabel.save(nibabel.Nifti1Image(array, AFFINE, header), tmp_path / "image.nii")
    np.testing.assert_array_equal(read_volume(tmp_path / "image.nii").array, array)


@pytest.mark.parametrize("array", [noise(), block() == 1, block().astype(np.int16)], ids=["float32", "bool", "int16"])
def test_what_is_written_reads_back(tmp_path: Path, array: np.ndarray) -> None:
    path = tmp_path / "sub" / "image.nii.gz"
    write_volume(path, array, AFFINE)
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.array, array)
    np.testing.assert_allclose(volume.affine, AFFINE, atol=1e-6)
    assert [file.name for file in path.parent.iterdir()] == ["image.nii.gz"]


def test_writing_is_reproducible_and_refuses_other_formats(tmp_path: Path) -> None:
    write_volume(tmp_path / "a.nii.gz", noise(), AFFINE)
    write_volume(tmp_path / "b.nii.gz", noise(), AFFINE)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()
    with pytest.raises(DataError, match=r"image\.png: an image is written as \.nii"):
        write_volume(tmp_path / "image.png", noise(), AFFINE)


def test_one_grid_within_a_micrometre(tmp_path: Path) -> None:
    near, far = AFFINE.copy(), AFFINE.copy()
    near[0, 0] += 5e-7
    far[0, 3] += 2e-3
    a = read_volume(save(tmp_path / "a.nii.gz", noise()))
    same_grid(a, read_volume(save(tmp_path / "near.nii.gz", noise(1), near)))
    b = read_volume(save(tmp_path / "far.nii.gz", noise(1), far))
    with pytest.raises(DataError, match=r"0\.002 mm apart \(allowed: 0\.001\)"):
        same_grid(a, b)
    same_grid(a, b, tolerance_mm=0.01)


def test_other_shapes_and_orientations_are_refused_with_both_files(tmp_path: Path) -> None:
    flipped = np.diag([-0.7, 0.7, 3.0, 1.0])
    a = read_volume(save(tmp_path / "a.nii.gz", noise()))
    b = read_volume(save(tmp_path / "b.nii.gz", noise(1), flipped))
    c = read_mask(save(tmp_path / "c.nii.gz", block()[:, :, :-1]))
    with pytest.raises(DataError) as caught:
        same_grid(a, b)
    assert all(text in str(caught.value) for text in (str(a.path), str(b.path), "RAS", "LAS", "11.2 mm", "resample"))
    with pytest.raises(DataError, match=r"shapes \(9, 8, 7\) and \(9, 8, 6\)"):
        same_grid(a, c)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32, np.uint64, np.int64])
def test_labels_of_every_integer_type_are_kept(tmp_path: Path, dtype: type[np.integer]) -> None:
    limits = np.iinfo(dtype)
    values = [0, 1, 5, limits.max // 2, min(int(limits.max), 2**63 - 1), max(int(limits.min), -(2**63))]
    values += [value for value in (2**24, 2**24 + 1, 614454277, 2**53 + 1) if value <= limits.max]
    array = np.zeros(SHAPE, dtype)
    array.flat[: len(values)] = np.array(values, dtype)
    image = nibabel.Nifti1Image(array, AFFINE, dtype=dtype)
    nibabel.save(image, tmp_path / "labels.nii.gz")
    np.testing.assert_array_equal(read_labels(tmp_path / "labels.nii.gz").array, array)


@settings(max_examples=60, deadline=None)
@given(
    dtype=st.sampled_from([np.uint8, np.int16, np.uint32, np.int64, np.uint64, np.float32, np.float64]),
    values=st.lists(st.integers(-(2**63), 2**64 - 1), min_size=1, max_size=6),
)
def test_labels_are_read_as_they_are_or_refused(dtype: type[Any], values: list[int]) -> None:
    limits = np.iinfo(dtype) if np.issubdtype(dtype, np.integer) else None
    kept = [value for value in values if limits is None or limits.min <= value <= limits.max] or [1]
    array = np.zeros(SHAPE, dtype)
    array.flat[: len(kept)] = np.array(kept, dtype)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "labels.nii"
        nibabel.save(nibabel.Nifti1Image(array, AFFINE, dtype=dtype), path)
        if int(array.max()) >= 2**63:
            with pytest.raises(DataError, match="64 bits"):
                read_labels(path)
        else:
            assert [int(value) for value in read_labels(path).array.flat] == [int(value) for value in array.flat]


def test_large_values_of_int8_are_no_mask(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="choose which values"):
        read_mask(save(tmp_path / "mask.nii", (block().astype(np.int16) * -128).astype(np.int8)))


def with_forms(path: Path, array: np.ndarray, s: tuple[np.ndarray, int], q: tuple[np.ndarray, int]) -> Path:
    image = nibabel.Nifti1Image(array, s[0])
    image.set_sform(s[0], code=s[1])
    image.set_qform(q[0], code=q[1])
    nibabel.save(image, path)
    return path


def test_a_clash_of_grids_names_its_cause_in_the_header(tmp_path: Path) -> None:
    moved = AFFINE.copy()
    moved[0, 3] += 2
    a = read_volume(save(tmp_path / "a.nii.gz", noise()))
    two = read_volume(with_forms(tmp_path / "two.nii.gz", noise(1), (moved, 1), (AFFINE, 1)))
    lost = read_volume(with_forms(tmp_path / "lost.nii.gz", noise(1), (moved, 0), (moved, 0)))
    for other, says in ((two, "by its qform it would be"), (lost, "has no orientation in its header")):
        with pytest.raises(DataError) as caught:
            same_grid(a, other)
        assert says in str(caught.value)
        assert f"{other.path}" in str(caught.value)
        assert "resample" not in str(caught.value)


@settings(max_examples=80, deadline=None)
@given(
    angles=st.tuples(*[st.floats(-180, 180)] * 3),
    spacing=st.tuples(*[st.floats(0.3, 5)] * 3),
    flips=st.tuples(*[st.booleans()] * 3),
    shear=st.sampled_from([0.0, 0.02, 0.2, 1.0, 25.0, 60.0]),
)
def test_every_path_measures_an_affine_right_or_refuses_it(
    angles: tuple[float, ...], spacing: tuple[float, ...], flips: tuple[bool, ...], shear: float
) -> None:
    """Random oblique, flipped and sheared affines: files, subjects and SimpleITK agree on which are refused."""
    affine = np.eye(4)
    plain = np.diag([edge * (-1 if flip else 1) for edge, flip in zip(spacing, flips, strict=True)])
    tilt = np.eye(3)
    tilt[1, 2] = np.tan(np.deg2rad(shear))
    affine[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() @ tilt @ plain
    image = noise()
    with tempfile.TemporaryDirectory() as folder:
        path = save(Path(folder) / "image.nii", image, affine)
        refusals = []
        for use in (
            lambda: read_volume(path),
            lambda: read_mask(save(Path(folder) / "mask.nii", block(), affine)),
            lambda: Subject("a", "a", (image[None],), None, None, affine),
            lambda: itk_image(image, affine, "a"),
        ):
            try:
                use()
                refusals.append(False)
            except DataError as error:
                refusals.append("sheared" in str(error))
        assert refusals == [shear > 0.1] * 4
        if shear <= 0.1:
            read = read_volume(path)
            np.testing.assert_allclose(read.spacing_mm, spacing, rtol=1e-5)
            assert np.prod(read.spacing_mm) == pytest.approx(abs(np.linalg.det(affine[:3, :3])), rel=1e-4)

"""The limits from which on a grid, an affine or a value is another one."""

import gzip
from pathlib import Path

import nibabel
import numpy as np
import pytest

from lesionloss.core.errors import DataError
from lesionloss.data.nifti import header_orientation, read_labels, read_mask, read_probability, read_volume, repairs_of
from lesionloss.data.nifti_bytes import checked_affine
from lesionloss.data.volume import Volume, check_right_angles, corner_distance_mm, orientation, same_grid, spacing_of
from nifti_files import AFFINE, SHAPE, noise, save


def volume(shape: tuple[int, ...] = (3, 4, 5), affine: np.ndarray = AFFINE) -> Volume[np.bool_]:
    return Volume(np.zeros(shape, bool), affine, Path("one.nii"))


def sheared(degrees: float) -> np.ndarray:
    affine = np.diag([2.0, 3.0, 4.0, 1.0])
    affine[:3, 1] = 3 * np.array([np.sin(np.radians(degrees)), np.cos(np.radians(degrees)), 0])
    return affine


def test_edges_are_the_lengths_of_the_columns() -> None:
    turned = np.array([[0, -3.0, 0, 7], [4.0, 0, 0, 8], [0, 0, 5.0, 9], [0, 0, 0, 1]])
    assert spacing_of(turned) == (4, 3, 5)
    assert spacing_of(sheared(30)) == pytest.approx((2, 3, 4))
    assert volume().spacing_mm == (0.7, 0.7, 3.0)
    assert orientation(turned) == "ALS"


def test_a_tenth_of_a_degree_is_still_a_right_angle() -> None:
    check_right_angles(sheared(0.0999), "it")
    check_right_angles(sheared(-0.0999), "it")
    for degrees in (0.1001, -0.1001, 60):
        with pytest.raises(DataError, match=rf"it: the affine is sheared: its axes are {abs(degrees):.3g} degrees"):
            check_right_angles(sheared(degrees), "it")


def test_parallel_axes_are_90_degrees_off_whatever_the_rounding() -> None:
    cosines = []
    for number in range(1, 40):
        affine = np.eye(4)
        affine[:3, 1] = affine[:3, 0] = [1, number, number / 7]
        unit = affine[:3, 0] / np.linalg.norm(affine[:3, 0])
        cosines.append(unit @ unit)
        with pytest.raises(DataError, match="90 degrees off right angles"):
            check_right_angles(affine, "it")
    assert max(cosines) > 1


def test_the_distance_of_grids_is_that_of_their_farthest_corners() -> None:
    longer = AFFINE.copy()
    longer[2, 2] += 0.25  # the last slice, of 5, moves by 4 steps of it
    assert corner_distance_mm(volume(), volume(affine=longer)) == pytest.approx(1.0)
    moved = AFFINE.copy()
    moved[:3, 3] = [3, 4, 12]
    assert corner_distance_mm(volume(), volume(affine=moved)) == pytest.approx(13)
    same_grid(volume(), volume(affine=longer), tolerance_mm=1.0 + 1e-9)
    with pytest.raises(DataError, match=r"corners up to 1 mm apart \(allowed: 0\.999\)"):
        same_grid(volume(), volume(affine=longer), tolerance_mm=0.999)


@pytest.mark.parametrize(
    ("turn", "words"),
    [
        ([[-1, 0, 0, 2], [0, 1, 0, 0], [0, 0, 1, 0]], "stored flipped along axis 0 (orientations RAS and LAS"),
        ([[1, 0, 0, 0], [0, -1, 0, 2], [0, 0, -1, 2]], "stored flipped along axis 1, 2 (orientations RAS and RPI"),
        ([[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0]], "stored with its axes permuted to [1, 0, 2] (orientations"),
        ([[0, 0, 1, 0], [-1, 0, 0, 2], [0, 1, 0, 0]], "with its axes permuted to [1, 2, 0] and flipped along axis 0 ("),
    ],
)
def test_the_same_place_in_another_order_is_named(turn: list[list[int]], words: str) -> None:
    one = volume((3, 3, 3), np.eye(4))
    other = Volume(one.array, np.array([*turn, [0, 0, 0, 1]], float), Path("other.nii"))
    with pytest.raises(DataError) as caught:
        same_grid(one, other)
    assert words in str(caught.value)


def test_another_place_or_size_is_not_called_a_turn() -> None:
    beside = np.diag([-1.0, 1, 1, 1])  # flipped, but about another voxel
    for other in (volume((3, 3, 3), beside), volume((3, 3, 3), np.diag([2.0, 1, 1, 1])), volume((3, 3, 4), np.eye(4))):
        with pytest.raises(DataError) as caught:
            same_grid(volume((3, 3, 3), np.eye(4)), other)
        assert "stored" not in str(caught.value)


def values(path: Path, *first: float, kind: type = np.float32) -> Path:
    array: np.ndarray = np.zeros(SHAPE, kind)
    array.flat[: len(first)] = first
    return save(path, array)


def test_masks_and_labels_may_be_a_thousandth_off(tmp_path: Path) -> None:
    good = values(tmp_path / "good.nii", 1.0009, 0.9991, 0.0009, -0.0009)
    assert np.flatnonzero(read_mask(good).array).tolist() == [0, 1]
    assert read_labels(good).array.flat[:4].tolist() == [1, 1, 0, 0]
    for value in (1.0011, 0.9989, 0.0011, -0.0011):
        with pytest.raises(DataError, match="a mask holds 0 and 1 only; here 1 voxels"):
            read_mask(values(tmp_path / "bad.nii", value, 1))
        with pytest.raises(DataError, match=r"a label map holds whole numbers; here 1 voxels don't, e\.g\."):
            read_labels(values(tmp_path / "bad.nii", value, 1))
    assert read_labels(values(tmp_path / "more.nii", 2.9995, 7)).array.flat[:2].tolist() == [3, 7]


def test_a_mask_of_0_and_1_needs_no_repair_and_a_scaled_one_is_named(tmp_path: Path) -> None:
    assert repairs_of(values(tmp_path / "good.nii", 1, 0, 1), is_mask=True) == ()
    off = values(tmp_path / "off.nii", 1.0005, 0, 1)
    assert repairs_of(off, is_mask=False) == ()
    (line,) = repairs_of(off, is_mask=True)
    assert "values up to 0.0005 from a whole number" in line


def test_compressed_bytes_without_a_header_are_no_image(tmp_path: Path) -> None:
    path = tmp_path / "image.nii.gz"
    for byte in (b"\0", b"\xff"):
        path.write_bytes(gzip.compress(byte * (3 * 2**20)))
        with pytest.raises(DataError, match="not a single-file NIfTI image"):
            read_volume(path)


def test_probabilities_may_be_a_thousandth_outside(tmp_path: Path) -> None:
    read = read_probability(values(tmp_path / "good.nii", 1.0009, -0.0009, 0.25)).array
    assert read.flat[:3].tolist() == [1.0, 0.0, 0.25]
    for value in (1.0011, -0.0011):
        with pytest.raises(DataError, match="a probability map holds 0 to 1"):
            read_probability(values(tmp_path / "bad.nii", value, 0.5))


def test_whole_numbers_are_stored_as_small_as_they_can_be(tmp_path: Path) -> None:
    for value, kind in ((2**31 - 1, np.int32), (2**31, np.int64), (-(2**31), np.int32), (-(2**31) - 1, np.int64)):
        array = np.zeros(SHAPE, np.int64)
        array[0, 0, 0] = value
        nibabel.save(nibabel.Nifti1Image(array, AFFINE, dtype=np.int64), tmp_path / "labels.nii")
        read = read_labels(tmp_path / "labels.nii").array
        assert (read.dtype, read[0, 0, 0]) == (kind, value)


def test_voxels_have_a_plausible_size() -> None:
    for edge, good in ((0.01, True), (0.0099, False), (100.0, True), (100.1, False)):
        image = nibabel.Nifti1Image(np.zeros((2, 2, 2), np.uint8), np.diag([1.0, edge, 1, 1]))
        if good:
            assert checked_affine(Path("it.nii"), image)[1, 1] == edge
        else:
            with pytest.raises(DataError, match=rf"it\.nii: voxels of 1 x {edge:g} x 1 mm, expected 0\.01 to 100 mm"):
                checked_affine(Path("it.nii"), image)


def test_trailing_axes_of_length_one_are_dropped_and_told(tmp_path: Path) -> None:
    plain, longer = save(tmp_path / "plain.nii", noise()), save(tmp_path / "longer.nii", noise()[..., None, None])
    assert read_volume(longer).array.shape == SHAPE
    assert repairs_of(plain, is_mask=False) == ()
    (line,) = repairs_of(longer, is_mask=False)
    assert "the trailing axes of length one are dropped" in line
    with pytest.raises(DataError, match=r"expected 3 axes, found 4, shape \(9, 8, 7, 2\)"):
        read_volume(save(tmp_path / "two.nii", np.stack([noise(), noise()], -1)))
    flat = save(tmp_path / "flat.nii", (noise()[:, :, 0] > 100).astype(np.uint8))
    assert read_mask(flat).array.shape == (9, 8, 1)
    with pytest.raises(DataError, match="expected 3 axes, found 2"):
        read_volume(flat)


def forms(path: Path, apart_mm: float, codes: tuple[int, int] = (1, 1)) -> Path:
    """A file whose sform lies this far from its qform along the first axis."""
    moved = AFFINE.copy()
    moved[0, 3] = apart_mm
    image = nibabel.Nifti1Image(noise(), AFFINE)
    image.set_qform(AFFINE, code=codes[0])
    image.set_sform(moved, code=codes[1])
    nibabel.save(image, path)
    return path


def test_forms_of_a_header_are_one_up_to_a_tenth_of_a_millimetre(tmp_path: Path) -> None:
    path = tmp_path / "image.nii"
    assert repairs_of(forms(path, 0.09), is_mask=False) == ()
    assert "lie up to 0.11 mm apart" in repairs_of(forms(path, 0.11), is_mask=False)[0]
    assert read_volume(path).qform is not None
    assert repairs_of(forms(path, 5, codes=(0, 1)), is_mask=False) == ()
    assert read_volume(path).qform is None
    assert repairs_of(forms(path, 5, codes=(1, 0)), is_mask=False) == ()
    assert header_orientation(path) == "RAS"
    assert read_volume(forms(path, 0.0, codes=(0, 0))).placed is False
    assert header_orientation(path) == ""
    assert read_volume(forms(path, 0.0, codes=(1, 0))).placed is True
    assert read_volume(forms(path, 0.0, codes=(0, 1))).placed is True
    assert read_volume(forms(path, 0.0)).qform is None

"""Files that must be believed, repaired or refused, and what the refusal says."""

import gzip
import tempfile
import tracemalloc
from collections.abc import Callable
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

SHAPE = (9, 8, 7)
AFFINE = np.diag([0.7, 0.7, 3.0, 1.0])


def noise(seed: int = 0, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return np.random.default_rng(seed).normal(100, 20, shape).astype(np.float32)


def block() -> np.ndarray:
    mask = np.zeros(SHAPE, dtype=np.uint8)
    mask[3:6, 3:6, 3:6] = 1
    return mask


def save(path: Path, array: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    nibabel.save(nibabel.Nifti1Image(array, affine), path)
    return path


def save_raw_header(path: Path, change: Callable[[nibabel.Nifti1Header], None]) -> Path:
    """An uncompressed image whose header was changed after the fact."""
    save(path, noise())
    content = bytearray(path.read_bytes())
    header = nibabel.Nifti1Header(bytes(content[:348]), check=False)
    change(header)
    content[:348] = header.binaryblock
    path.write_bytes(content)
    return path


def set_fields(**fields: object) -> Callable[[nibabel.Nifti1Header], None]:
    def change(header: nibabel.Nifti1Header) -> None:
        for name, value in fields.items():
            header[name] = value

    return change


def sform(affine: np.ndarray) -> Callable[[nibabel.Nifti1Header], None]:
    return set_fields(
        sform_code=1,
        qform_code=0,
        srow_x=affine[0],
        srow_y=affine[1],
        srow_z=affine[2],
        pixdim=[1, 1, 1, 1, 0, 0, 0, 0],
    )


def spoiled(value: float) -> np.ndarray:
    array = noise()
    array[1, 2, 3] = value
    return array


def cut(path: Path, keep: int) -> Path:
    path.write_bytes(path.read_bytes()[:keep])
    return path


def rewrite(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def complex_image(path: Path) -> Path:
    return save(path, noise().astype(np.complex64))


def colour_image(path: Path) -> Path:
    return save(path, np.zeros(SHAPE, dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")]))


def flat_affine() -> np.ndarray:
    affine = AFFINE.copy()
    affine[:3, 2] = affine[:3, 0] + affine[:3, 1]
    return affine


def infinite_affine() -> np.ndarray:
    affine = AFFINE.copy()
    affine[0, 3] = np.inf
    return affine


def sheared() -> np.ndarray:
    """A gantry tilt of 25 degrees."""
    affine = np.diag([1.0, 1.0, 3.0, 1.0])
    affine[1, 2] = 3 * np.tan(np.deg2rad(25))
    return affine


HUGE = bytes(3 * 2**20)

# name, ending, how it is made, what went wrong, what to do about it
ZOO = [
    ("missing", ".nii.gz", lambda p: p, "no such file", "fetch the file again"),
    ("a folder", ".nii.gz", lambda p: (p.mkdir(), p)[1], "no such file", "check the name"),
    ("empty", ".nii.gz", lambda p: rewrite(p, b""), "is empty", "fetch it again"),
    ("empty, uncompressed", ".nii", lambda p: rewrite(p, b""), "is empty", "fetch it again"),
    ("another format", ".mha", lambda p: rewrite(p, b"ObjectType = Image"), "not a NIfTI file by its name", "convert"),
    ("text", ".nii", lambda p: rewrite(p, b"this is no image\n" * 40), "not a single-file NIfTI", "export it again"),
    ("short text", ".nii", lambda p: rewrite(p, b"no"), "not a single-file NIfTI", "export it again"),
    ("gzipped text", ".nii.gz", lambda p: rewrite(p, gzip.compress(b"x" * 999)), "not a single-file NIfTI", "convert"),
    ("not compressed", ".nii.gz", lambda p: rewrite(p, b"x" * 999), "not gzip-compressed", "rename it to .nii"),
    ("compressed", ".nii", lambda p: rewrite(p, gzip.compress(b"x" * 999)), "compressed", "rename it to .nii.gz"),
    ("a pointer of Git LFS", ".nii.gz", lambda p: rewrite(p, b"version https://git-lfs.github.com/spec/v1\noid x"),
     "a pointer of Git LFS", "git lfs pull"),
    ("a pointer of git-annex", ".nii.gz", lambda p: rewrite(p, b"/annex/objects/SHA256E-s9--x.nii.gz"),
     "a pointer of git-annex", "git annex get"),
    ("a link that leads nowhere", ".nii.gz", lambda p: (p.symlink_to(".git/annex/objects/x"), p)[1],
     "a link to a file that is not there", "git annex get"),
    ("a web page", ".nii.gz", lambda p: rewrite(p, b"\n<!DOCTYPE html><html>404"), "a web page", "download it again"),
    ("a web page, uncompressed", ".nii", lambda p: rewrite(p, b"<html>404"), "a web page", "download it again"),
    ("voxels in the header", ".nii", lambda p: save_raw_header(p, set_fields(vox_offset=0)),
     "the voxels begin inside the header", "export the image again"),
    ("a second, huge member", ".nii.gz", lambda p: rewrite(save(p, noise()), p.read_bytes() + gzip.compress(HUGE)),
     "goes on after the end of the image", "write the image alone"),
    ("a huge member", ".nii.gz", lambda p: rewrite(p, gzip.compress(gzip.decompress(save(p, noise()).read_bytes())
     + HUGE)), "goes on after the end of the image", "write the image alone"),
    ("sheared", ".nii.gz", lambda p: save(p, noise(), sheared()), "its axes are 25 degrees off", "resample_to_output"),
    ("cut in the middle", ".nii.gz", lambda p: cut(save(p, noise()), 900), "cut off", "fetch it again"),
    ("cut in the gzip header", ".nii.gz", lambda p: cut(save(p, noise()), 5), "cut off", "fetch it again"),
    ("checksum cut", ".nii.gz", lambda p: cut(save(p, noise()), -6), "cut off", "fetch it again"),
    ("rubbish at the end", ".nii.gz", lambda p: rewrite(save(p, noise()), p.read_bytes() + b"xy"), "damaged", "fetch"),
    ("voxels cut", ".nii", lambda p: cut(save(p, noise()), 1000), "cut off: 1368 bytes", "fetch it again"),
    ("header cut", ".nii", lambda p: cut(save(p, noise()), 300), "not a single-file NIfTI", "export it again"),
    ("huge shape", ".nii", lambda p: save_raw_header(p, set_fields(dim=[3, 30000, 30000, 30000, 1, 1, 1, 1])),
     "cut off", "fetch it again"),
    ("no voxels", ".nii", lambda p: save_raw_header(p, set_fields(dim=[3, 9, 0, 7, 1, 1, 1, 1])),
     "no voxels", "export"),
    ("negative size", ".nii", lambda p: save_raw_header(p, set_fields(dim=[3, 9, -8, 7, 1, 1, 1, 1])),
     "no voxels", "export"),
    ("unknown type", ".nii", lambda p: save_raw_header(p, set_fields(datatype=77)),
     "not a single-file NIfTI", "export"),
    ("NaN", ".nii.gz", lambda p: save(p, spoiled(np.nan)), "1 voxels are NaN or infinite, the first at (1, 2, 3)", "0"),
    ("infinite", ".nii.gz", lambda p: save(p, spoiled(-np.inf)), "NaN or infinite", "replace them"),
    ("beyond float32", ".nii.gz", lambda p: save(p, spoiled(1).astype(np.float64) * 1e300), "infinite", "replace"),
    ("four axes", ".nii.gz", lambda p: save(p, noise(shape=(9, 8, 7, 2))), "expected 3 axes, found 4", "one volume"),
    ("two axes", ".nii.gz", lambda p: save(p, noise(shape=(9, 8))), "expected 3 axes, found 2", "one volume per file"),
    ("constant", ".nii.gz", lambda p: save(p, np.full(SHAPE, 5, np.int16)), "every voxel is 5", "export the image"),
    ("complex", ".nii.gz", complex_image, "not plain numbers", "single-channel"),
    ("colour", ".nii.gz", colour_image, "not plain numbers", "single-channel"),
    ("zero affine", ".nii", lambda p: save_raw_header(p, sform(np.zeros((4, 4)))), "can't be inverted", "correct"),
    ("flat affine", ".nii", lambda p: save_raw_header(p, sform(flat_affine())), "can't be inverted", "the header"),
    ("infinite affine", ".nii", lambda p: save_raw_header(p, sform(infinite_affine())), "NaN or infinite", "correct"),
    ("metres", ".nii", lambda p: save_raw_header(p, sform(AFFINE / 1000)), "0.0007 x 0.0007 x 0.003 mm", "correct"),
]  # fmt: skip


@pytest.mark.parametrize(("ending", "make", "wrong", "remedy"), [z[1:] for z in ZOO], ids=[z[0] for z in ZOO])
@pytest.mark.parametrize("read", [read_volume, read_mask])
def test_malformed_files_are_refused_with_file_and_remedy(
    tmp_path: Path, ending: str, make: Callable[[Path], Path], wrong: str, remedy: str, read: Callable[[Path], object]
) -> None:
    path = make(tmp_path / f"image{ending}")
    if read is read_mask and wrong.startswith("every voxel"):
        wrong, remedy = "a mask holds 0 and 1 only", "divide the mask by 5"
    if read is read_mask and wrong.endswith("found 2"):  # a mask may be a slice
        wrong, remedy = "a mask holds 0 and 1 only", "choose which values"
    if read is read_mask and wrong == "infinite":  # beyond float32; masks are read with all digits
        wrong, remedy = "a mask holds 0 and 1 only", "choose which values"
    with pytest.raises(DataError) as caught:
        read(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert wrong in message
    assert remedy in message
    assert "\n" not in message


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


def test_200_of_200_bit_flips_are_caught(tmp_path: Path) -> None:
    """Flips in the compressed data and its checksum; nibabel alone returns altered voxels for most of them."""
    path = save(tmp_path / "image.nii.gz", noise(shape=(24, 24, 12)).astype(np.int16))
    whole = path.read_bytes()
    rng = np.random.default_rng(1)
    caught = 0
    for _ in range(200):
        position, bit = int(rng.integers(10, len(whole))), int(rng.integers(8))
        damaged = bytearray(whole)
        damaged[position] ^= 1 << bit
        path.write_bytes(damaged)
        try:
            read_volume(path)
        except DataError as error:
            caught += str(path) in str(error) and "fetch it again" in str(error)
    assert caught == 200


def test_flips_in_the_gzip_header_never_alter_voxels(tmp_path: Path) -> None:
    """The ten bytes before the data have no checksum: time stamp and the like may differ, the image may not."""
    path = save(tmp_path / "image.nii.gz", noise())
    whole = path.read_bytes()
    refused = 0
    for position in range(10):
        for bit in range(8):
            damaged = bytearray(whole)
            damaged[position] ^= 1 << bit
            path.write_bytes(damaged)
            try:
                np.testing.assert_array_equal(read_volume(path).array, noise())
            except DataError:
                refused += 1
    assert refused >= 16 + 8  # at least the magic number and the method


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


def test_several_gzip_members_and_their_empty_end_are_one_image(tmp_path: Path) -> None:
    """So bgzip and pigz -i write."""
    content = gzip.decompress(save(tmp_path / "image.nii.gz", noise()).read_bytes())
    members = b"".join(gzip.compress(content[at : at + 500]) for at in range(0, len(content), 500))
    path = rewrite(tmp_path / "image.nii.gz", members + gzip.compress(b""))
    np.testing.assert_array_equal(read_volume(path).array, noise())


def test_a_huge_member_is_not_unpacked(tmp_path: Path) -> None:
    path = save(tmp_path / "image.nii.gz", noise())
    path.write_bytes(path.read_bytes() + gzip.compress(bytes(64 * 2**20), 1))
    tracemalloc.start()
    with pytest.raises(DataError, match="goes on after the end of the image"):
        read_volume(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * 2**20


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

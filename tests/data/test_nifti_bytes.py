"""Damaged and malformed NIfTI files, and what the refusal says."""

import gzip
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

from lesionloss.core.errors import DataError
from lesionloss.data.nifti import read_mask, read_volume
from nifti_files import AFFINE, SHAPE, noise, save


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
    if read is read_volume and path.is_dir():
        wrong, remedy = "no DICOM image in it", "name the folder of a series"
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

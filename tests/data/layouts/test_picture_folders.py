"""Two-dimensional sets: how pictures and their masks are read, and which are refused."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_cohorts import REAL_LIT
from lesionloss.core.errors import DataError
from lesionloss.data.cohort import load_subject, open_cohort
from lesionloss.data.layouts.picture_folders import RGB, read_picture
from miniature import bus2017, cvc_clinicdb, dsb2018, dsb2018_file, isic2018, mask, picture
from subjects import reference_of, subjects

REAL_NUCLEI = REAL_LIT.parent / "dsb2018_256.npz"


def test_pictures_run_along_x_first(tmp_path: Path) -> None:
    subject = subjects(open_cohort(bus2017(tmp_path)))[0]
    assert subject.space == (9, 6)
    assert subject.spacing_mm == (1, 1)
    assert subject.lesion is not None
    assert np.argwhere(subject.lesion).tolist() == [[4, 1], [4, 2], [5, 1], [5, 2]]
    stored = np.asarray(Image.open(tmp_path / "original" / "000001.png"))
    np.testing.assert_array_equal(subject.visits[0][0], stored.T)


def test_colours_keep_their_order_and_alpha_is_dropped(tmp_path: Path) -> None:
    subject = subjects(open_cohort(dsb2018(tmp_path)))[0]
    stored = np.asarray(Image.open(tmp_path / "stage1_train" / "00ab" / "images" / "00ab.png"))
    assert stored.shape == (6, 9, 4)
    for contrast in range(3):
        np.testing.assert_array_equal(subject.visits[0][contrast], stored[..., contrast].T)


@pytest.mark.parametrize("mode", ["L", "P", "1", "RGB", "RGBA", "LA"])
def test_masks_are_the_same_however_they_are_stored(tmp_path: Path, mode: str) -> None:
    path = bus2017(tmp_path) / "GT" / "000001.png"
    Image.open(path).convert(mode).save(path)
    assert reference_of(subjects(open_cohort(tmp_path))[0]).sum() == 4


def test_the_file_of_nuclei_is_a_cohort(tmp_path: Path) -> None:
    path = dsb2018_file(tmp_path)
    cohort = open_cohort(path)
    assert cohort.layout.name == "dsb2018"
    assert [(files.name, files.part) for files in cohort.cases] == [("a", 0), ("b", 1), ("c", 2)]
    read = subjects(open_cohort(f"dsb2018:{path}"))
    with np.load(path) as stored:
        for part, subject in enumerate(read):
            np.testing.assert_array_equal(subject.visits[0], stored["images"][part].transpose(2, 1, 0))
    assert [np.argwhere(reference_of(subject)).tolist() for subject in read] == [[[5, 2]]] * 3


def test_a_case_can_not_be_named_out_of_its_folder(tmp_path: Path) -> None:
    arrays = {"images": np.ones((1, 2, 2, 3)), "masks": np.ones((1, 2, 2)), "ids": np.array(["../../x"])}
    np.savez(tmp_path / "x.npz", allow_pickle=False, **arrays)
    with pytest.raises(DataError, match=r"a case is named '\.\./\.\./x'"):
        open_cohort(tmp_path / "x.npz")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": np.zeros((1, 2, 2, 3))}, "it lacks an array: "),
        (
            {"images": np.zeros((1, 2, 2, 3)), "masks": np.zeros((1, 2, 3)), "ids": np.array(["a"])},
            r"expected images \(N, rows, columns, 3\)",
        ),
        (
            {"images": np.zeros((1, 2, 2, 3)), "masks": np.zeros((1, 2, 2)), "ids": np.array([{}])},
            "can't be read",
        ),
    ],
)
def test_another_file_of_arrays_is_refused(tmp_path: Path, arrays: dict[str, np.ndarray], message: str) -> None:
    np.savez(tmp_path / "x.npz", allow_pickle=True, **arrays)
    with pytest.raises(DataError, match=message) as caught:
        open_cohort(tmp_path / "x.npz")
    assert str(caught.value).startswith(str(tmp_path / "x.npz"))
    (tmp_path / "y.npz").write_bytes((tmp_path / "x.npz").read_bytes()[:100])
    with pytest.raises(DataError, match=r"y\.npz: can't be read"):
        open_cohort(tmp_path / "y.npz")


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[content.index(b"IDAT") + 20] ^= 4
    path.write_bytes(bytes(content))


def nuclei_of(path: Path) -> np.ndarray:
    cohort = open_cohort(path)
    return np.concatenate([np.concatenate([one.visits[0], reference_of(one)[None]]) for one in subjects(cohort)])


@pytest.mark.parametrize(
    ("write", "read"),
    [
        (dsb2018_file, nuclei_of),
        (lambda root: picture(root / "a.png", 0), lambda path: read_picture(path, RGB)),
    ],
    ids=["npz", "png"],
)
def test_no_flipped_bit_of_a_file_with_checksums_changes_a_pixel(
    tmp_path: Path, write: Callable[[Path], Path], read: Callable[[Path], np.ndarray]
) -> None:
    """A file is refused unless the bit says nothing of the pixels (dates of a .npz, the end mark of a PNG)."""
    rng = np.random.default_rng(0)
    path = write(tmp_path)
    content, pixels = path.read_bytes(), read(path)
    refused = []
    for trial in range(200):
        spoilt = bytearray(content)
        spoilt[rng.integers(len(content))] ^= 1 << rng.integers(8)
        other = path.with_name(f"{trial}{path.suffix}")
        other.write_bytes(bytes(spoilt))
        try:
            np.testing.assert_array_equal(read(other), pixels)
        except DataError as error:
            refused.append(str(other) in str(error))
    assert all(refused)
    assert len(refused) > 100


def two_frames(path: Path) -> None:
    frames = [Image.fromarray(np.full((6, 9), value, np.uint8)) for value in (0, 255)]
    frames[0].save(path, format="TIFF", save_all=True, append_images=frames[1:])


def as_jpeg_in_colours(path: Path) -> None:
    stored = io.BytesIO()
    Image.open(path).convert("CMYK").save(stored, format="JPEG")
    path.write_bytes(stored.getvalue())


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (flip_a_bit, "not a picture that can be read"),
        (lambda path: path.write_bytes(path.read_bytes()[:-30]), "not a picture that can be read"),
        (lambda path: path.write_bytes(b""), "not a picture that can be read"),
        (lambda path: path.write_bytes(b"text"), "not a picture that can be read"),
        (two_frames, "holds 2 pictures"),
        (as_jpeg_in_colours, "colours of the kind CMYK"),
        (lambda path: picture(path, 0), "in colours where grey is expected"),
    ],
    ids=["bit", "cut off", "empty", "text", "frames", "CMYK", "colours"],
)
@pytest.mark.parametrize("which", ["original", "GT"])
def test_a_picture_that_can_not_be_believed_is_refused(
    tmp_path: Path, spoil: Callable[[Path], object], message: str, which: str
) -> None:
    path = bus2017(tmp_path) / which / "000001.png"
    spoil(path)
    cohort = open_cohort(tmp_path)
    with pytest.raises(DataError, match=message) as caught:
        load_subject(cohort, cohort.cases[0])
    assert str(path) in str(caught.value)


def test_pictures_of_two_sizes_and_of_one_value_are_refused(tmp_path: Path) -> None:
    bus2017(tmp_path)
    Image.fromarray(np.zeros((9, 6), np.uint8)).save(tmp_path / "GT" / "000001.png")
    Image.fromarray(np.full((6, 9), 7, np.uint8)).save(tmp_path / "original" / "000002.png")
    cohort = open_cohort(tmp_path)
    with pytest.raises(DataError, match=r"differ in size: 9x6 and 6x9 pixels"):
        load_subject(cohort, cohort.cases[0])
    with pytest.raises(DataError, match="every pixel is 7"):
        load_subject(cohort, cohort.cases[1])


def test_a_nucleus_of_another_value_or_size_is_refused(tmp_path: Path) -> None:
    masks = dsb2018(tmp_path) / "stage1_train" / "00ab" / "masks"
    mask(masks / "n2.png", (1, 1), value=9)
    cohort = open_cohort(tmp_path)
    with pytest.raises(DataError, match=r"n2\.png: a mask of a nucleus holds 0 and 255 only"):
        load_subject(cohort, cohort.cases[0])
    Image.fromarray(np.zeros((3, 3), np.uint8)).save(masks / "n2.png")
    with pytest.raises(DataError, match="the masks of 00ab differ in size"):
        load_subject(cohort, cohort.cases[0])


def test_superpixels_are_not_taken_for_images(tmp_path: Path) -> None:
    assert not [path for files in open_cohort(isic2018(tmp_path)).cases for path in files.all() if "super" in path.name]


def test_smoothed_borders_of_polyps_are_cut_at_half(tmp_path: Path) -> None:
    cvc_clinicdb(tmp_path)
    pixels = np.zeros((6, 9, 3), np.uint8)
    pixels[2, 3], pixels[2, 4], pixels[2, 5], pixels[2, 6] = 255, 128, 127, 1
    Image.fromarray(pixels).save(tmp_path / "PNG" / "Ground Truth" / "1.png")
    subject = subjects(open_cohort(tmp_path))[0]
    assert subject.lesion is not None
    assert np.argwhere(subject.lesion).tolist() == [[3, 2], [4, 2]]


def test_frames_without_their_videos_are_refused(tmp_path: Path) -> None:
    path = cvc_clinicdb(tmp_path) / "metadata.csv"
    path.write_text("frame_id,sequence_id\n1,1\n")
    with pytest.raises(DataError, match=r"names no sequence for 2 frames, e\.g\. 2"):
        open_cohort(tmp_path)
    path.write_text("frame,video\n1,1\n")
    with pytest.raises(DataError, match="expected a table with the columns frame_id and sequence_id"):
        open_cohort(tmp_path)
    path.unlink()
    with pytest.raises(DataError, match=r"metadata\.csv: no such file; it says which frames show the same polyp"):
        open_cohort(tmp_path)


@pytest.mark.skipif(not REAL_NUCLEI.is_file(), reason="the file of nuclei is not beside the project")
def test_real_nuclei_are_read_whole() -> None:
    cohort = open_cohort(REAL_NUCLEI)
    assert (cohort.layout.name, len(cohort.cases)) == ("dsb2018", 664)
    marked = 0
    for files in cohort.cases:
        subject = load_subject(cohort, files)
        assert subject.visits[0].shape == (3, 256, 256)
        assert subject.reference is not None
        marked += int(subject.reference.sum())
    with np.load(REAL_NUCLEI) as stored:
        assert marked == stored["masks"].sum()

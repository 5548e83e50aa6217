"""Pictures (PNG, TIFF, JPEG, BMP, GIF) as images and masks, for the two-dimensional data sets.

A picture has no millimetres: its affine is the identity, so distances are in pixels. Arrays are (X, Y): the first axis
runs along a row of the picture.
"""

import warnings
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lesionloss.core.errors import DataError
from lesionloss.data.layouts.find_files import ExpectedFiles, collect_cases
from lesionloss.data.layouts.records import CaseArrays, CaseFiles, FoundCases
from lesionloss.data.stand_ins import missing_file, stand_in
from lesionloss.data.subject import Image

ENDINGS = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp", ".gif")
RGB = ("r", "g", "b")
GREY = ("grey",)
WHITE = ((255, 1),)  # 8-bit masks: white is the class
# Pillow gives these as plain numbers, one or three per pixel; all others are converted.
PLAIN_MODES = ("L", "I", "F", "I;16", "I;16B", "RGB")


def picture_file(folder: Path, stem: str) -> Path | None:
    """Find the picture of a stem in a folder, in any format; None if there is none."""
    candidates = (folder / f"{stem}{end}" for ending in ENDINGS for end in (ending, ending.upper()))
    return next((path for path in candidates if path.is_file()), None)


def picture_stems(folder: Path) -> list[str]:
    """List the stems of the visible pictures of a folder, numbers by size; none if there is no such folder."""
    if not folder.is_dir():
        return []
    paths = (path for path in folder.iterdir() if path.suffix.lower() in ENDINGS and not path.name.startswith("."))
    return sorted({path.stem for path in paths}, key=lambda stem: (len(stem) if stem.isdigit() else 0, stem))


def collect_pictures(expected: Iterable[ExpectedFiles]) -> FoundCases:
    """Do what `collect_cases` does, for pictures."""
    return collect_cases(expected, picture_file, " (.png, .tif, .jpg, .bmp or .gif)")


def picture_reader(contrasts: tuple[str, ...]) -> Callable[[CaseFiles], CaseArrays]:
    """Make a layout's reader: one picture per visit, masks of one value per pixel.

    Args:
        contrasts: Names of the contrasts that a picture is read as: GREY or RGB.

    Returns:
        A function from the files of a case to its arrays, which can be sent to other processes.
    """
    # Unlike a nested function, a partial one travels between processes.
    return partial(_read, contrasts=contrasts)


def _read(files: CaseFiles, contrasts: tuple[str, ...]) -> CaseArrays:
    brain = None if files.brain is None else read_values(files.brain) > 0
    reference = None if files.reference is None else read_values(files.reference)
    return picture_case(files, contrasts, reference, brain)


def picture_case(
    files: CaseFiles,
    contrasts: tuple[str, ...],
    reference: npt.NDArray[np.int32] | None,
    brain: npt.NDArray[np.bool_] | None = None,
) -> CaseArrays:
    """Read the visits of a case and put its masks beside them.

    Args:
        files: The files of the case.
        contrasts: GREY or RGB.
        reference: Values of the reference (X, Y), or None.
        brain: Brain mask (X, Y), or None.

    Returns:
        The arrays of the case.

    Raises:
        DataError: A picture can't be used, or the sizes differ.
    """
    visits = tuple(read_picture(visit[0], contrasts) for visit in files.visits)
    first = files.visits[0][0]
    size = visits[0].shape[1:]
    for path, array in ((files.reference, reference), (files.brain, brain)):
        if array is not None and array.shape != size:
            shapes = " and ".join("x".join(map(str, shape)) for shape in (size, array.shape))
            raise DataError(f"{first} and {path} differ in size: {shapes} pixels; fetch both again")
    return CaseArrays(visits, reference, brain, np.eye(4))


def read_picture(path: Path, contrasts: tuple[str, ...]) -> Image:
    """Read a picture with its values as stored; a grey one read as RGB has three equal contrasts.

    Args:
        path: The file.
        contrasts: GREY or RGB.

    Returns:
        Intensities float32 (C, X, Y).

    Raises:
        DataError: The file is missing, damaged, empty or of one value, or has colours where grey is expected.
    """
    array = _pixels(path)
    if array.ndim == 2:
        array = np.repeat(array[..., None], len(contrasts), axis=2)
    elif len(contrasts) == 1:
        array = _grey(path, array)[..., None]
    if array.min() == array.max():
        raise DataError(f"{path}: every pixel is {array.flat[0]:g}: an empty or failed export; fetch the file again")
    return np.ascontiguousarray(array.transpose(2, 1, 0), dtype=np.float32)


def read_values(path: Path) -> npt.NDArray[np.int32]:
    """Read a mask with the values of the file.

    Args:
        path: The file.

    Returns:
        Values int32 (X, Y).

    Raises:
        DataError: The picture is missing, damaged or coloured, or holds other than whole numbers.
    """
    array = _pixels(path)
    grey = array if array.ndim == 2 else _grey(path, array)
    values = np.ascontiguousarray(grey.T).astype(np.int32)
    if not np.array_equal(values, grey.T):
        raise DataError(f"{path}: a mask holds whole numbers, this picture others; save labels as integers")
    return values


def _grey(path: Path, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if not (array == array[..., :1]).all():
        raise DataError(f"{path}: a picture in colours where grey is expected; save it with one value per pixel")
    return array[..., 0]


def _pixels(path: Path) -> npt.NDArray[Any]:
    """Read (rows, columns) or (rows, columns, 3); drop an alpha channel, resolve a palette."""
    from PIL import Image as Pillow

    if not path.is_file():
        raise DataError(f"{path}: {missing_file(path)}")
    try:
        with path.open("rb") as handle:
            if what := stand_in(handle.read(512)):
                raise DataError(f"{path}: {what}")
        with warnings.catch_warnings():
            warnings.simplefilter("error", Pillow.DecompressionBombWarning)
            with Pillow.open(path) as picture:
                picture.verify()  # reads the checksums of a PNG, which loading passes over
            with Pillow.open(path) as picture:
                frames, mode = getattr(picture, "n_frames", 1), picture.mode
                plain = picture if mode in PLAIN_MODES else picture.convert(_plain_mode(path, mode, picture))
                array = np.asarray(plain)
    except (OSError, SyntaxError, ValueError, Pillow.DecompressionBombError, Pillow.DecompressionBombWarning) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path}: not a picture that can be read ({error}); fetch it again or convert it") from error
    if frames > 1:
        raise DataError(f"{path}: holds {frames} pictures, expected one; save one picture per file")
    return array


def _plain_mode(path: Path, mode: str, picture: Any) -> str:
    if mode in ("1", "LA"):
        return "L"
    if mode == "P":
        colours = np.asarray(picture.convert("RGB"))
        return "L" if (colours == colours[..., :1]).all() else "RGB"
    if mode == "RGBA":
        return "RGB"
    raise DataError(f"{path}: colours of the kind {mode}; save the picture as RGB or grey")

"""Headers of DICOM files: which images make a series, and what must not be told of a patient."""

import contextlib
import locale
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lesionloss.core.errors import DataError

MAGIC_AT, MAGIC = 128, b"DICM"
INDEX = "DICOMDIR"  # lists the files of a medium; it is no image
SHORTEST_NAME = 3  # a shorter part of a name may stand in any word
DATES = ("0008|0022", "0008|0021", "0008|0020")  # of acquisition, series and study
NAME, IDENTITY, REMOVED = "0010|0010", ("0010|0020", "0010|0030"), "0012|0062"


@dataclass(frozen=True)
class DicomSlice:
    """What is needed of the header of one image.

    Attributes:
        path: The file.
        uid: Of its series.
        number: Of its series.
        description: Of its series.
        position: Of the first voxel in mm, towards left, back and top.
        directions: Where a row and a column run.
        spacing: Between columns and between rows, in mm.
        shape: Columns, rows and frames.
        interpretation: What the values are, such as MONOCHROME2.
    """

    path: Path
    uid: str
    number: str
    description: str
    position: tuple[float, ...]
    directions: tuple[float, ...]
    spacing: tuple[float, ...]
    shape: tuple[int, ...]
    interpretation: str


def is_series(path: Path) -> bool:
    """Whether a path is that of a DICOM series: a folder, perhaps with `#SERIES` behind its name."""
    return split_series(path)[0].is_dir()


def split_series(path: Path) -> tuple[Path, str]:
    """Split FOLDER#SERIES into its two parts; the series is "" where none is named."""
    folder, mark, series = str(path).rpartition("#")
    return (Path(folder), series) if mark and not path.exists() else (path, "")


def dicom_files(place: Path) -> Iterator[Path]:
    """Go through the DICOM files in a folder and its folders, in the order of their names; or the one file."""
    for path in [place] if place.is_file() else sorted(place.rglob("*")):
        if path.name != INDEX and path.is_file():
            with contextlib.suppress(OSError), path.open("rb") as handle:
                if handle.read(MAGIC_AT + len(MAGIC))[MAGIC_AT:] == MAGIC:
                    yield path


def one_series(path: Path) -> tuple[DicomSlice, ...]:
    """Return the images of FOLDER#SERIES, or of the only series of FOLDER.

    Raises:
        DataError: There is none or more than one, or a file is no image that can be read.
    """
    folder, wanted = split_series(path)
    groups: dict[str, list[DicomSlice]] = {}
    for file in dicom_files(folder):
        found = _slice(file)
        groups.setdefault(found.uid, []).append(found)
    if not groups:
        raise DataError(f"{folder}: no DICOM image in it; name the folder of a series")
    series = [tuple(group) for group in groups.values()]
    chosen = [group for group in series if group[0].number == wanted]
    chosen = chosen or [group for group in series if wanted.casefold() in group[0].description.casefold()]
    if len(chosen) == 1:
        return chosen[0]
    listed = "; ".join(
        f"{group[0].number or '?'} {group[0].description!r}, {len(group)} images" for group in chosen or series
    )
    what = f"{len(chosen)} series" if chosen else f"no series {wanted!r}"
    raise DataError(
        f"{folder}: {what} ({listed}); choose one by its number or a part of its description: {folder}#SERIES, "
        "or name a folder further in"
    )


def date_of(folder: Path) -> str:
    """Return the day on which a visit was taken, to compare it with others; "" where the header has none."""
    tags = _some_tags(folder)
    return next((tags[name] for name in DATES if tags.get(name)), "")


def check_name(name: str, path: Path) -> None:
    """Check that the name of a case, which goes into names of files, is not one of the patient's in the header.

    Args:
        name: Of the case.
        path: One of its visits.

    Raises:
        DataError: It is, and the header does not say that the identity was removed.
    """
    tags = _some_tags(split_series(path)[0])
    words = [*re.split(r"[\^\s=]+", tags.get(NAME, "")), *(tags.get(tag, "") for tag in IDENTITY)]
    told = any(len(word) >= SHORTEST_NAME and word.casefold() in name.casefold() for word in words)
    if told and tags.get(REMOVED) != "YES":
        raise DataError(
            f"{path}: the case would be named {name!r}, after the patient's name, number or birthday in the header, "
            "and results would show it; rename it to a pseudonym"
        )


def _some_tags(folder: Path) -> dict[str, str]:
    """The values of the first header in a folder that can be read."""
    for path in dicom_files(folder):
        with contextlib.suppress(DataError):
            return _header(path)[0]
    return {}


def _slice(path: Path) -> DicomSlice:
    tags, shape = _header(path)
    return DicomSlice(
        path,
        uid=tags.get("0020|000e", ""),
        number=tags.get("0020|0011", ""),
        description=tags.get("0008|103e", ""),
        position=_numbers(tags.get("0020|0032", "").split("\\"), 3),
        directions=_numbers(tags.get("0020|0037", "").split("\\"), 6),
        spacing=_numbers(tags.get("0028|0030", "").split("\\")[::-1], 2),  # stored: between rows, between columns
        shape=shape,
        interpretation=tags.get("0028|0004", ""),
    )


def _header(path: Path) -> tuple[dict[str, str], tuple[int, ...]]:
    """The public values of a header, and the shape of the image.

    Raises:
        DataError: The file is no image that can be read.
    """
    reader = import_simpleitk().ImageFileReader()
    reader.SetFileName(str(path))
    reader.SetImageIO("GDCMImageIO")
    try:
        with kept_locale():
            reader.ReadImageInformation()
    except RuntimeError as error:
        raise DataError(
            f"{path}: damaged, or no image (a report?): {last_line(error)}; copy it again or take it out of the folder"
        ) from error
    tags = {str(key): str(reader.GetMetaData(key)).strip(" \0") for key in reader.GetMetaDataKeys()}
    return tags, tuple(int(length) for length in reader.GetSize())


def _numbers(words: Sequence[str], count: int) -> tuple[float, ...]:
    """So many finite numbers; none where the words are anything else."""
    try:
        numbers = tuple(float(word) for word in words)
    except ValueError:
        return ()
    return numbers if len(numbers) == count and np.isfinite(numbers).all() else ()


@contextlib.contextmanager
def kept_locale() -> Iterator[None]:
    """Keep the locale of this process: SimpleITK leaves another one behind, in which Python opens files as ASCII."""
    before = locale.setlocale(locale.LC_ALL)
    try:
        yield
    finally:
        locale.setlocale(locale.LC_ALL, before)


def import_simpleitk() -> Any:
    """Import SimpleITK when it is first needed; it has no types."""
    import SimpleITK

    return SimpleITK


def last_line(error: RuntimeError) -> str:
    """The reason in an error of SimpleITK's, without addresses."""
    return re.sub(r"\(0x[0-9a-f]+\)", "", str(error).strip().splitlines()[-1]).strip()

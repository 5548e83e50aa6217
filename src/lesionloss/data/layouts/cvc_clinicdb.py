"""CVC-ClinicDB: polyps in frames of colonoscopy videos (Bernal et al., CMIG 2015).

Frames of one video show the same polyp, so a video (`sequence_id` in `metadata.csv`) is a patient here. Without that
table folds could not keep the frames of a video together, and the folder is refused. The published masks have smoothed
borders; values from 128 are polyp.
"""

import csv
from pathlib import Path

import numpy as np

from lesionloss.core.errors import DataError
from lesionloss.data.layouts.find_files import ExpectedFiles
from lesionloss.data.layouts.picture_folders import RGB, collect_pictures, picture_case, picture_stems, read_values
from lesionloss.data.layouts.records import (
    CaseArrays,
    CaseFiles,
    FoundCases,
    LabelRule,
    Layout,
    LayoutGroup,
    Target,
    published,
)

# The PNG files first: some of the TIFF files are in a form that few programs read.
STARTS = ("PNG", "", "TIF")
IMAGES, MASKS = "Original", "Ground Truth"
METADATA = "metadata.csv"
POLYP_FROM = 128


def _start(root: Path) -> Path | None:
    folders = (root / start for start in STARTS)
    return next((folder for folder in folders if (folder / MASKS).is_dir() and (folder / IMAGES).is_dir()), None)


def _recognise(root: Path) -> bool:
    return _start(root) is not None


def _sequences(root: Path) -> dict[str, str]:
    """Video by frame. Raises DataError where the table is missing or another one."""
    path = root / METADATA
    if not path.is_file():
        raise DataError(
            f"{path}: no such file; it says which frames show the same polyp and must not be separated: fetch it too "
            "(columns frame_id, sequence_id)"
        )
    try:
        with path.open(newline="", encoding="utf-8-sig") as handle:
            return {row["frame_id"].strip(): row["sequence_id"].strip() for row in csv.DictReader(handle)}
    except (OSError, KeyError, AttributeError, ValueError, csv.Error) as error:
        raise DataError(
            f"{path}: expected a table with the columns frame_id and sequence_id; fetch it again"
        ) from error


def _discover(root: Path) -> FoundCases:
    start = _start(root)
    if start is None:
        return FoundCases((), ())
    sequences = _sequences(root)
    names = sorted({*picture_stems(start / IMAGES), *picture_stems(start / MASKS)}, key=lambda name: (len(name), name))
    unknown = [name for name in names if name not in sequences]
    if unknown:
        raise DataError(f"{root / METADATA}: names no sequence for {len(unknown)} frames, e.g. {unknown[0]}; add them")
    return collect_pictures(
        ExpectedFiles(name, f"sequence{sequences[name]}", start, ((f"{IMAGES}/{name}",),), f"{MASKS}/{name}")
        for name in names
    )


def _read(files: CaseFiles) -> CaseArrays:
    reference = None if files.reference is None else (read_values(files.reference) >= POLYP_FROM).astype(np.int32)
    return picture_case(files, RGB, reference)


LAYOUT = Layout(
    name="cvc-clinicdb",
    title="CVC-ClinicDB, polyps in colonoscopy",
    looks_like="[PNG/]{Original,Ground Truth}/1.png and metadata.csv (frame_id, sequence_id)",
    recognise=_recognise,
    discover=_discover,
    targets=(Target("polyps", "polyps", published),),
    contrasts=RGB,
    labels=LabelRule(classes=("polyp",)),
    read=_read,
    group=LayoutGroup.PICTURES,
)

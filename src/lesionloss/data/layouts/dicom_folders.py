"""DICOM series in folders, as they come from an archive: a folder for each patient, in it one for each visit.

Everything below the folder of a visit is searched, whatever the files are called. A visit is one series; where there
are several, the data set is named PATH#SERIES, with the number of the series or a part of its description (PATH#FLAIR).
Visits are taken in the order of their folders' names, which must be that of the dates in the headers. A patient with
one visit needs no folder for it. `reference.nii.gz` and `brain_mask.nii.gz` beside the visits are used where they are
there.

Names of patients' folders become names of cases, so they must not be names, numbers or birthdays of the headers.
Nothing of the headers is kept but the place of the voxels.
"""

import itertools
import re
from pathlib import Path

from lesionloss.core.errors import DataError
from lesionloss.data.dicom_headers import check_name, date_of, dicom_files, split_series
from lesionloss.data.layouts.find_files import folders_in, image_file
from lesionloss.data.layouts.records import CaseFiles, FoundCases, Layout, LayoutGroup, Target, published

TRIED = 50


def _recognise(root: Path) -> bool:
    """Whether one of the first files below the folders of a folder is a DICOM file."""
    files = itertools.chain.from_iterable(folder.rglob("*") for folder in folders_in(split_series(root)[0]))
    tried = itertools.islice((path for path in files if path.is_file()), TRIED)
    return any(True for path in tried if next(dicom_files(path), None))


def _discover(root: Path) -> FoundCases:
    folder, series = split_series(root)
    cases = (_case(patient, f"#{series}" if series else "") for patient in folders_in(folder))
    return FoundCases(tuple(case for case in cases if case is not None), ())


def _case(folder: Path, series: str) -> CaseFiles | None:
    """The case of a patient's folder; None for one without DICOM files."""
    visits = sorted((visit for visit in folders_in(folder) if next(dicom_files(visit), None)), key=_natural)
    if not visits and next(dicom_files(folder), None):
        visits = [folder]
    if not visits:
        return None
    check_name(folder.name, folder)
    dates = [date_of(visit) for visit in visits]
    for (earlier, first), (later, second) in itertools.pairwise(zip(visits, dates, strict=True)):
        if first and second and first > second:
            raise DataError(
                f"{folder}: {earlier.name} stands before {later.name} by its name, but was taken later by its header; "
                "rename the folders in the order of time"
            )
    images = tuple((visit.with_name(visit.name + series),) for visit in visits)
    reference, brain = (image_file(folder, stem) for stem in ("reference", "brain_mask"))
    how = "the names of their folders and the dates in their headers" if all(dates) and len(dates) > 1 else ""
    return CaseFiles(folder.name, folder.name, images, reference, brain, ordered_by=how)


def _natural(path: Path) -> list[tuple[int, str]]:
    """A key that sorts visit2 before visit10."""
    words = filter(None, re.split(r"(\d+)", path.name))
    return [(int(word), "") if word.isdecimal() else (0, word.casefold()) for word in words]


LAYOUT = Layout(
    name="dicom",
    title="DICOM series in folders",
    looks_like="PATIENT/[VISIT/]*, DICOM files with any names[, PATIENT/{reference,brain_mask}.nii.gz]",
    recognise=_recognise,
    discover=_discover,
    targets=(Target("lesions", "the reference, as it is", published),),
    group=LayoutGroup.GENERAL,
    visits="any number",
)

"""One case read and checked: its figures, its problems, and what no other case may share with it."""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lesionloss.core.components import label_components
from lesionloss.core.errors import DataError
from lesionloss.data.checking.case_summary import CaseSummary, summarise_case
from lesionloss.data.checking.duplicates import Thumbnail, thumbnail
from lesionloss.data.cohort import Cohort, load_subject
from lesionloss.data.layouts.records import CaseFiles, LabelRule, Target, published
from lesionloss.data.nifti import header_orientation, read_labels, read_mask, read_volume, repairs_of
from lesionloss.data.subject import Subject
from lesionloss.data.volume import Volume, same_grid

# A mask drawn by another hand may cut a voxel off; beyond this share, mask and reference don't belong together.
LARGEST_BRAIN_LITRES = 2.0
OUTSIDE_SHARE = 0.01
# Masks of fewer voxels may be equal by chance.
TELLING_VOXELS = 30


@dataclass(frozen=True)
class CheckedCase:
    """The result of checking a case: its summary if it can be used, problems and warnings, and its identity.

    `masks` holds case, patient, file and digest of a reference with enough voxels to be distinguished from others.
    """

    summary: CaseSummary | None
    problems: tuple[str, ...]
    warnings: tuple[str, ...]
    thumbnails: tuple[Thumbnail, ...]
    masks: tuple[tuple[str, str, Path, bytes], ...]


def check_case(cohort: Cohort, files: CaseFiles) -> CheckedCase:
    """Read a case and find all its problems, not only the first."""
    try:
        # What was published is checked; what is sought is described.
        subject = load_subject(replace(cohort, target=Target("published", "", published)), files)
        sought = replace(subject, reference=cohort.target.derive(subject))
    except DataError as error:
        problems, thumbnails = _each_file(cohort, files, error) if cohort.layout.read is None else ((str(error),), ())
        return CheckedCase(None, problems, (), thumbnails, ())
    outside, warnings = outside_brain(subject, files)
    warnings += too_large_for_a_brain(subject, files)
    labels = () if subject.reference is None else tuple(int(number) for number in np.unique(subject.reference))
    summary = replace(summarise_case(sought), labels=labels)
    if cohort.layout.read is None:
        masks = [path for path in (files.reference, files.brain) if path is not None]
        images = [path for visit in files.visits for path in visit]
        summary = replace(summary, orientations=tuple(sorted({header_orientation(path) for path in images})))
        for path in (*images, *masks):
            warnings += repairs_of(path, is_mask=path in masks)
    thumbnails = tuple(
        thumbnail(files.name, files.patient, path, contrast)
        for paths, visit in zip(files.visits, subject.visits, strict=True)
        for path, contrast in zip(paths, visit[: len(paths)], strict=True)
    )
    return CheckedCase(summary, tuple(outside), tuple(warnings), thumbnails, _mask_of(subject, files))


def _each_file(cohort: Cohort, files: CaseFiles, first: DataError) -> tuple[tuple[str, ...], tuple[Thumbnail, ...]]:
    """Check every file on its own, then each against the first visit's grid."""
    problems: list[str] = []
    volumes: list[Volume[Any]] = []
    thumbnails: list[Thumbnail] = []
    for path in (path for visit in files.visits for path in visit):
        try:
            volumes.append(read_volume(path))
            thumbnails.append(thumbnail(files.name, files.patient, path, volumes[-1].array))
        except DataError as error:
            problems.append(str(error))
    binary = cohort.layout.labels == LabelRule()
    for masks, read in ((files.reference, read_mask if binary else read_labels), (files.brain, read_mask)):
        if masks is not None:
            try:
                volumes.append(read(masks))
            except DataError as error:
                problems.append(str(error))
    for other in volumes[1:]:
        try:
            same_grid(volumes[0], other)
        except DataError as error:
            problems.append(str(error))
    if str(first) not in problems:
        problems.append(str(first))
    return tuple(problems), tuple(thumbnails)


def outside_brain(subject: Subject, files: CaseFiles) -> tuple[list[str], list[str]]:
    """List problems and warnings about reference voxels outside the brain mask."""
    lesion = subject.lesion
    if lesion is None or subject.brain is None or not lesion.any():
        return [], []
    outside = int((lesion & ~subject.brain).sum())
    if not outside:
        return [], []
    labels, total = label_components(lesion, 26)
    inside = np.unique(labels[lesion & subject.brain])
    whole = total - int((inside > 0).sum())
    share = outside / int(lesion.sum())
    line = (
        f"{files.reference}: {outside} reference voxels ({share:.1%}) lie outside the brain mask {files.brain}, "
        f"{whole} lesions wholly: check that both belong to this image, or correct the mask"
    )
    return ([line], []) if whole or share > OUTSIDE_SHARE else ([], [line])


def too_large_for_a_brain(subject: Subject, files: CaseFiles) -> list[str]:
    """Warn of a brain mask above two litres, which then holds the head; brains have 1.0 to 1.7 litres."""
    if subject.brain is None or files.brain is None or len(subject.space) != 3:
        return []
    litres = float(subject.brain.sum()) * abs(float(np.linalg.det(subject.affine[:3, :3]))) / 1e6
    if litres <= LARGEST_BRAIN_LITRES:
        return []
    return [f"{files.brain}: {litres:.1f} litres, more than a brain has: does the mask hold the whole head?"]


def _mask_of(subject: Subject, files: CaseFiles) -> tuple[tuple[str, str, Path, bytes], ...]:
    lesion = subject.lesion
    if lesion is None or int(lesion.sum()) < TELLING_VOXELS or files.reference is None:
        return ()
    digest = hashlib.sha256(str(lesion.shape).encode() + np.packbits(lesion).tobytes()).digest()
    return ((files.name, files.patient, files.reference, digest),)

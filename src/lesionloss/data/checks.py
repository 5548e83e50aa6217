"""One case read and checked: what it holds, what is wrong with it, and what others must not share with it."""

import hashlib
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lesionloss.core.components import label_components
from lesionloss.core.errors import DataError
from lesionloss.data.cohort import Cohort, Files, load_subject
from lesionloss.data.layout import LabelRule, Target, published
from lesionloss.data.leaks import Thumbnail, thumbnail
from lesionloss.data.nifti import read_labels, read_mask, read_volume, repairs_of
from lesionloss.data.subject import Subject
from lesionloss.data.volume import Volume, same_grid

# A mask drawn by another hand may cut a voxel off; beyond this share, mask and reference don't belong together.
OUTSIDE_SHARE = 0.01
# Masks of fewer voxels may be equal by chance.
TELLING_VOXELS = 30


@dataclass(frozen=True)
class CaseSummary:
    """One case; `lesions` counts the reference's components (26-connected; 8 in pictures), `lesion_share` is of all its
    voxels. `tiny_lesions` are no larger than a cube of the longest edge.
    """

    name: str
    patient: str
    visits: int
    shape: tuple[int, ...]
    spacing_mm: tuple[float, ...]
    lesions: int
    lesion_voxels: int
    lesion_mm3: float
    lesion_share: float
    brain_mask: bool
    reference: bool = True
    voxels: int = 0
    brain_voxels: int = 0
    tiny_lesions: int = 0
    lesion_sizes_mm3: tuple[float, ...] = ()


@dataclass(frozen=True)
class Checked:
    """What a case gave: its summary if it can be used, lines for problems and warnings, and what it is known by.

    `masks` holds case, patient, file and digest of a reference that marks enough to be told from others.
    """

    summary: CaseSummary | None
    problems: tuple[str, ...]
    warnings: tuple[str, ...]
    thumbnails: tuple[Thumbnail, ...]
    masks: tuple[tuple[str, str, Path, bytes], ...]


def check_case(cohort: Cohort, files: Files) -> Checked:
    """Read a case. All its problems are found, not only the first."""
    try:
        # What was published is checked; what is sought is described.
        subject = load_subject(replace(cohort, target=Target("published", "", published)), files)
        sought = replace(subject, reference=cohort.target.derive(subject))
    except DataError as error:
        problems, thumbnails = _each_file(cohort, files, error) if cohort.layout.read is None else ((str(error),), ())
        return Checked(None, problems, (), thumbnails, ())
    outside, warnings = outside_brain(subject, files)
    if cohort.layout.read is None:
        masks = [path for path in (files.reference, files.brain) if path is not None]
        images = [path for visit in files.visits for path in visit]
        for path in (*images, *masks):
            warnings += repairs_of(path, is_mask=path in masks)
    thumbnails = tuple(
        thumbnail(files.name, files.patient, path, contrast)
        for paths, visit in zip(files.visits, subject.visits, strict=True)
        for path, contrast in zip(paths, visit[: len(paths)], strict=True)
    )
    return Checked(summary_of(sought), tuple(outside), tuple(warnings), thumbnails, _mask_of(subject, files))


def _each_file(cohort: Cohort, files: Files, first: DataError) -> tuple[tuple[str, ...], tuple[Thumbnail, ...]]:
    """Every file on its own, then each against the first visit's grid."""
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


def outside_brain(subject: Subject, files: Files) -> tuple[list[str], list[str]]:
    """Problems and warnings about reference voxels outside the brain mask."""
    lesion = subject.lesion
    if lesion is None or subject.brain is None or not lesion.any():
        return [], []
    outside = int((lesion & ~subject.brain).sum())
    if not outside:
        return [], []
    labels, total = components(lesion)
    inside = np.unique(labels[lesion & subject.brain])
    whole = total - int((inside > 0).sum())
    share = outside / int(lesion.sum())
    line = (
        f"{files.reference}: {outside} reference voxels ({share:.1%}) lie outside the brain mask {files.brain}, "
        f"{whole} lesions wholly: check that both belong to this image, or mend the mask"
    )
    return ([line], []) if whole or share > OUTSIDE_SHARE else ([], [line])


def components(lesion: Any) -> tuple[Any, int]:
    """Labels of the connected lesions (corners count), and how many."""
    return label_components(lesion, 26)


def _mask_of(subject: Subject, files: Files) -> tuple[tuple[str, str, Path, bytes], ...]:
    lesion = subject.lesion
    if lesion is None or int(lesion.sum()) < TELLING_VOXELS or files.reference is None:
        return ()
    digest = hashlib.sha256(str(lesion.shape).encode() + np.packbits(lesion).tobytes()).digest()
    return ((files.name, files.patient, files.reference, digest),)


def summary_of(subject: Subject) -> CaseSummary:
    """The figures of a case."""
    lesion = subject.lesion if subject.lesion is not None else np.zeros(subject.space, np.bool_)
    labels, total = components(lesion)
    sizes = np.bincount(labels[lesion].astype(np.int64), minlength=total + 1)[1:]
    voxel = math.prod(subject.spacing_mm)
    edge = max(subject.spacing_mm) ** len(subject.space)
    voxels = int(lesion.sum())
    return CaseSummary(
        name=subject.name,
        patient=subject.patient,
        visits=len(subject.visits),
        shape=subject.space,
        spacing_mm=subject.spacing_mm,
        lesions=total,
        lesion_voxels=voxels,
        lesion_mm3=voxels * voxel,
        lesion_share=voxels / lesion.size,
        brain_mask=subject.brain is not None,
        reference=subject.reference is not None,
        voxels=lesion.size,
        brain_voxels=0 if subject.brain is None else int(subject.brain.sum()),
        tiny_lesions=int((sizes * voxel <= edge * (1 + 1e-6)).sum()),
        lesion_sizes_mm3=tuple(float(size * voxel) for size in sizes),
    )

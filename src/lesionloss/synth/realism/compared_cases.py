"""The cases of both cohorts: complete ones, prepared as for training, and masks of patients without images."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lesionloss.core.errors import DataError
from lesionloss.data.cohort import Cohort, load_subject
from lesionloss.data.layouts.records import MasksOnly, published
from lesionloss.data.nifti import read_labels, read_mask
from lesionloss.data.preparation.prepare_case import prepare_subject
from lesionloss.data.prepared import PreparedCase
from lesionloss.data.resampling.grid import VoxelGrid
from lesionloss.data.subject import Mask
from lesionloss.data.volume import same_grid


@dataclass(frozen=True, eq=False)
class CaseMasks:
    """Lesion and brain masks (X, Y, Z) of a patient on one grid."""

    name: str
    patient: str
    lesion: Mask
    brain: Mask
    grid: VoxelGrid


def complete_cases(cohort: Cohort, most: int) -> Iterator[PreparedCase]:
    """Yield complete cases, prepared by the default steps.

    Args:
        cohort: The cohort.
        most: How many cases at most; 0 takes all.

    Yields:
        Prepared cases.

    Raises:
        DataError: A file is damaged, or a case is not a pair of three-dimensional visits.
    """
    for files in cohort.cases[: most or None]:
        if len(files.visits) != 2:
            raise DataError(f"{files.name}: a comparison of visits needs two of them, got {len(files.visits)}")
        subject = load_subject(cohort, files)
        if len(subject.space) != 3:
            raise DataError(f"{files.name}: a comparison needs three-dimensional visits, got {len(subject.space)} axes")
        yield prepare_subject(subject)


def masks_of(case: PreparedCase) -> CaseMasks:
    """Take the masks of a prepared case, on its cropped grid."""
    return CaseMasks(case.name, case.patient, case.lesion, case.brain, VoxelGrid(case.shape, case.affine))


def masks_only(cohort: Cohort) -> Iterator[CaseMasks]:
    """Yield the masks of patients without images, if the target is the published mask.

    Raises:
        DataError: A file is damaged.
    """
    if cohort.target.derive is not published:
        return
    for found in cohort.masks:
        yield _read(found, cohort)


def _read(found: MasksOnly, cohort: Cohort) -> CaseMasks:
    lesion, brain = read_labels(found.reference), read_mask(found.brain)
    same_grid(lesion, brain)
    counted = [value for value, number in cohort.layout.labels.values if number > 0]
    inside = np.isin(lesion.array, counted)
    return CaseMasks(found.name, found.patient, inside, brain.array, VoxelGrid(inside.shape, lesion.affine))

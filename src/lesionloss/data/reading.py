"""A case as it is wanted for preparation: a subject on one grid, registered first where the recipe says so."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from lesionloss.data.cohort import Cohort, Files, load_subject
from lesionloss.data.nifti import Affine, Volume, read_mask, read_volume, same_grid
from lesionloss.data.recipe import Register
from lesionloss.data.register import half, halfway_grid, move_image, move_labels, move_nearest, register
from lesionloss.data.resample import Grid
from lesionloss.data.subject import Image, Mask, Subject
from lesionloss.errors import DataError


@dataclass(frozen=True, eq=False)
class Reading:
    """A subject, the grid its reference was drawn on, and the motion (4, 4) from its points to those, in mm."""

    subject: Subject
    original: Grid
    motion: Affine
    record: dict[str, Any] = field(default_factory=dict)
    repairs: tuple[str, ...] = ()


def read_case(cohort: Cohort, files: Files, registration: Register | None) -> Reading:
    """Read and check a case, with its visits registered if `registration` is given.

    Raises DataError as `load_subject` does; with registration, visits may be on different grids.
    """
    if registration is None:
        subject = load_subject(cohort, files)
        return Reading(subject, Grid(subject.visits[0].shape, subject.affine), np.eye(4))
    return _registered(cohort, files, registration)


def _registered(cohort: Cohort, files: Files, registration: Register) -> Reading:
    if len(files.visits) != 2:
        raise DataError(f"{files.name}: registration needs two visits, got {len(files.visits)}; leave out the step")
    baseline, followup = (read_volume(path) for path in files.visits)
    if np.array_equal(baseline.array, followup.array):
        raise DataError(f"{baseline.path} and {followup.path} hold the same image; supply two different visits")
    fixed, moving = (Grid(visit.array.shape, visit.affine) for visit in (followup, baseline))
    found = register((followup.array, followup.affine), (baseline.array, baseline.affine), files.name)
    if registration.to == "followup":
        target, to_followup, to_baseline = fixed, np.eye(4), found.affine
    else:
        forward = half(found.affine)
        target, to_followup, to_baseline = halfway_grid(fixed, forward), np.linalg.inv(forward), forward
    home = _Home(fixed, moving, target, to_followup, to_baseline, followup, baseline)
    facts: dict[str, Any] = {
        "to": registration.to,
        "rotation_degrees": round(found.rotation_degrees, 4),
        "shift_mm": round(found.shift_mm, 4),
        "mutual_information": [round(found.before, 5), round(found.similarity, 5)],
        "followup_to_baseline_mm": [list(row) for row in found.matrix],
    }
    repairs: list[str] = []
    reference: Mask | None = None
    if files.reference is not None:
        volume = read_mask(files.reference)
        source, motion, _ = home.of(volume)
        labels, count = move_labels(volume.array.astype(np.uint8), source, target, motion)
        reference = labels > 0
        facts |= {"lesions_before": count.before, "lesions_after": count.after, "kept_by_centre": count.kept_by_centre}
        if count.kept_by_centre:
            repairs.append(
                f"{files.name}: {count.kept_by_centre} lesions were kept by their centre voxel in registering"
            )
    brain: Mask | None = None
    if files.brain is not None:
        mask = read_mask(files.brain)
        source, motion, _ = home.of(mask)
        brain = np.asarray(move_nearest(mask.array, source, target, motion), dtype=np.bool_)
    visits: tuple[Image, ...] = (
        move_image(baseline.array, moving, target, to_baseline),
        followup.array if registration.to == "followup" else move_image(followup.array, fixed, target, to_followup),
    )
    subject = Subject(files.name, files.patient, visits, reference, brain, target.affine)
    subject = replace(subject, reference=cohort.target.derive(subject))
    return Reading(subject, fixed, to_followup, {"register": facts}, tuple(repairs))


@dataclass(frozen=True, eq=False)
class _Home:
    """Where masks can come from: the follow-up's grid or the baseline's, and how each gets to the target."""

    fixed: Grid
    moving: Grid
    target: Grid
    to_followup: Affine
    to_baseline: Affine
    followup: Volume[np.float32]
    baseline: Volume[np.float32]

    def of(self, volume: Volume[Any]) -> tuple[Grid, Affine, str]:
        """Grid, motion and name of the visit whose grid a mask shares; the follow-up's where both do."""
        try:
            same_grid(self.followup, volume)
        except DataError as error:
            try:
                same_grid(self.baseline, volume)
            except DataError:
                raise error from None
            return self.moving, self.to_baseline, "baseline"
        return self.fixed, self.to_followup, "followup"

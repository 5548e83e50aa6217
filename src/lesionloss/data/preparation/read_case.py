"""A case read for preparation: a subject on one grid, registered first where the recipe says so."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from lesionloss.core.errors import DataError
from lesionloss.data.cohort import Cohort, class_numbers, like_series, load_subject
from lesionloss.data.layouts.records import CaseFiles, LabelRule
from lesionloss.data.nifti import read_grid, read_labels, read_mask, read_volume
from lesionloss.data.preparation.recipe import RegisterSettings
from lesionloss.data.preparation.registration import find_motion, half_motion, halfway_grid
from lesionloss.data.resampling.along_motion import move_image, move_labels, move_nearest
from lesionloss.data.resampling.grid import VoxelGrid
from lesionloss.data.resampling.turn import turn_to, turned
from lesionloss.data.subject import Image, Subject
from lesionloss.data.volume import Affine, Volume, orientation, same_grid


@dataclass(frozen=True, eq=False)
class AlignedSubject:
    """A subject on one grid, after registration and turning if the recipe asks for them.

    Attributes:
        subject: Visits, reference and masks on `grid`.
        grid: The common grid.
        original: The grid that results go back to.
        motion: Affine (4, 4) from points of `grid` to points of `original`, in mm.
        record: What registration did, as plain values.
        repairs: What registration repaired, one line each.
    """

    subject: Subject
    grid: VoxelGrid
    original: VoxelGrid
    motion: Affine
    record: dict[str, Any] = field(default_factory=dict)
    repairs: tuple[str, ...] = ()


def without_registration(subject: Subject) -> AlignedSubject:
    """Take a subject as it is, on the grid of its files."""
    grid = VoxelGrid(subject.space, subject.affine)
    return AlignedSubject(subject, grid, grid, np.eye(4))


def oriented(aligned: AlignedSubject, axes: str) -> AlignedSubject:
    """Turn a subject to an orientation, such as RAS; pictures and an empty orientation stay as they are."""
    subject, grid = aligned.subject, aligned.grid
    if not axes or len(subject.space) != 3:
        return aligned
    turn = turn_to(grid.affine, axes)
    record = {"orient": {"from": orientation(grid.affine), "to": axes}, **aligned.record}
    if not turn:
        return replace(aligned, record=record)
    turned_subject = replace(
        subject,
        visits=tuple(turn.array(visit) for visit in subject.visits),
        reference=None if subject.reference is None else turn.array(subject.reference),
        brain=None if subject.brain is None else turn.array(subject.brain),
        ignore=None if subject.ignore is None else turn.array(subject.ignore),
        affine=turn.affine(grid.affine, grid.shape),
    )
    place = VoxelGrid(turned_subject.space, turned_subject.affine)
    return replace(aligned, subject=turned_subject, grid=place, record=record)


def on_one_grid(files: CaseFiles) -> bool:
    """Whether all visits of NIfTI files share one grid by their headers, perhaps after their axes are turned.

    True where a header can't be read: reading the images then says what is wrong with them.
    """
    try:
        first, *others = (read_grid(path) for visit in files.visits for path in visit)
        for other in others:
            same_grid(first, turned(other, orientation(first.affine)))
    except DataError:
        return False
    except Exception:  # whatever nibabel raises for files of any content
        return True
    return True


def read_case(
    cohort: Cohort, files: CaseFiles, registration: RegisterSettings | None, axes: str = ""
) -> AlignedSubject:
    """Read and check a case; with `registration`, also bring its visits onto one grid; with `axes`, turn it.

    Raises:
        DataError: As `load_subject`, except that with registration visits may be on different grids; or registration is
            impossible: not two visits, not NIfTI files, or nothing in common.
    """
    if registration is None:
        return oriented(without_registration(load_subject(cohort, files)), axes)
    if cohort.layout.read is not None or len(files.visits) != 2:
        what = "NIfTI files" if cohort.layout.read is not None else f"two visits, got {len(files.visits)}"
        raise DataError(f"{files.name}: registration needs {what}; leave out the step register")
    return _registered(cohort, files, registration, axes)


def _registered(cohort: Cohort, files: CaseFiles, registration: RegisterSettings, axes: str) -> AlignedSubject:
    visits = [[read_volume(path) for path in visit] for visit in files.visits]
    for visit in visits:
        for contrast in visit[1:]:
            same_grid(visit[0], contrast)
    stored = (visits[0][0], visits[1][0])
    visits = [[turned(contrast, axes or orientation(contrast.affine)) for contrast in visit] for visit in visits]
    baseline, followup = visits[0][0], visits[1][0]
    if np.array_equal(baseline.array, followup.array):
        raise DataError(f"{baseline.path} and {followup.path} hold the same image; supply two different visits")
    fixed, moving = (VoxelGrid(visit.array.shape, visit.affine) for visit in (followup, baseline))
    found = find_motion((followup.array, followup.affine), (baseline.array, baseline.affine), files.name)
    if registration.to == "followup":
        target, to_followup, to_baseline = fixed, np.eye(4), found.affine
    else:
        forward = half_motion(found.affine)
        target = halfway_grid(fixed, forward)
        to_followup, to_baseline = np.asarray(np.linalg.inv(forward)), forward
    home = _Home(fixed, moving, target, to_followup, to_baseline, stored[1], stored[0])
    facts: dict[str, Any] = {
        "to": registration.to,
        "rotation_degrees": round(found.rotation_degrees, 4),
        "shift_mm": round(found.shift_mm, 4),
        "mutual_information": [round(found.before, 5), round(found.similarity, 5)],
        "followup_to_baseline_mm": [list(row) for row in found.matrix],
    }
    moved = (
        np.stack([move_image(contrast.array, moving, target, to_baseline) for contrast in visits[0]]),
        np.stack(
            [
                contrast.array if target is fixed else move_image(contrast.array, fixed, target, to_followup)
                for contrast in visits[1]
            ]
        ),
    )
    subject, repairs = _subject(cohort, files, moved, home, facts, axes)
    record: dict[str, Any] = {"orient": {"from": orientation(stored[1].affine), "to": axes}} if axes else {}
    original = VoxelGrid(stored[1].array.shape, stored[1].affine)
    return AlignedSubject(subject, target, original, to_followup, {**record, "register": facts}, repairs)


def _subject(
    cohort: Cohort, files: CaseFiles, visits: tuple[Image, ...], home: "_Home", facts: dict[str, Any], axes: str
) -> tuple[Subject, tuple[str, ...]]:
    """Bring the reference and the masks onto the target's grid; what was done goes into `facts`."""
    rule = cohort.layout.labels
    repairs: list[str] = []
    reference, ignore, brain = None, None, None
    if files.reference is not None:
        binary = rule == LabelRule()
        volume: Volume[Any] = read_mask(files.reference) if binary else read_labels(files.reference)
        volume = like_series(volume, home.followup)
        source, motion, facts["reference_of"] = home.of(volume)
        volume = turned(volume, axes or orientation(volume.affine))
        labels, ignored = class_numbers(volume.array, rule, files)
        reference, count = move_labels(labels, source, home.target, motion)
        ignore = None if ignored is None else move_nearest(ignored, source, home.target, motion)
        facts |= {"lesions_before": count.before, "lesions_after": count.after, "kept_by_centre": count.kept_by_centre}
        if count.kept_by_centre:
            repairs.append(
                f"{files.name}: {count.kept_by_centre} lesions were kept by their centre voxel in registering"
            )
    if files.brain is not None:
        mask = like_series(read_mask(files.brain), home.followup)
        source, motion, _ = home.of(mask)
        mask = turned(mask, axes or orientation(mask.affine))
        brain = move_nearest(mask.array, source, home.target, motion)
        if not mask.array.any():
            raise DataError(f"{files.brain}: the brain mask is empty; make it again or remove the file")
        kept_mm3, all_mm3 = (
            np.count_nonzero(voxels) * np.prod(grid.spacing_mm)
            for voxels, grid in ((brain, home.target), (mask.array, source))
        )
        facts["share_of_brain"] = round(min(1.0, float(kept_mm3 / all_mm3)), 4)
    subject = Subject(files.name, files.patient, visits, reference, brain, home.target.affine, ignore, rule.classes)
    return replace(subject, reference=cohort.target.derive(subject)), tuple(repairs)


@dataclass(frozen=True, eq=False)
class _Home:
    """Where masks can come from: the follow-up's grid or the baseline's, and how each gets to the target.

    The visits are as they are stored, as masks are; the grids are turned as the recipe says.
    """

    fixed: VoxelGrid
    moving: VoxelGrid
    target: VoxelGrid
    to_followup: Affine
    to_baseline: Affine
    followup: Volume[np.float32]
    baseline: Volume[np.float32]

    def of(self, volume: Volume[Any]) -> tuple[VoxelGrid, Affine, str]:
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

"""From a subject to a prepared case: crop to the brain, z-score each visit inside it, subtract."""

from dataclasses import dataclass

import numpy as np

from lesionloss.data.brain import simple_brain
from lesionloss.data.intensity import z_score
from lesionloss.data.nifti import Affine
from lesionloss.data.prepared import PreparedCase
from lesionloss.data.subject import Image, Mask, Subject
from lesionloss.errors import DataError, UsageError


@dataclass(frozen=True)
class Preparation:
    """Settings. `margin_voxels` is kept on each side of the smallest box around brain and reference."""

    margin_voxels: int = 4

    def __post_init__(self) -> None:
        if self.margin_voxels < 0:
            raise UsageError(f"margin_voxels must be 0 or more, got {self.margin_voxels}")


def prepare(subject: Subject, settings: Preparation) -> PreparedCase:
    """Crop, normalise and subtract; see `PreparedCase` for what comes out.

    The box holds the brain and the whole reference, also where it leaves the brain mask. Without a brain mask a simple
    one is made from the mean of both visits. Outside the brain the image is 0, the mean of the brain.
    Raises DataError unless there are two visits, and where a visit is constant inside the brain.
    """
    if len(subject.visits) != 2:
        raise DataError(f"{subject.name}: expected two visits, got {len(subject.visits)}")
    brain = subject.brain if subject.brain is not None else _brain_of(subject)
    reference = subject.reference if subject.reference is not None else np.zeros(brain.shape, dtype=np.bool_)
    box = _box(brain | reference, settings.margin_voxels)
    inside = brain[box]
    baseline, followup = (
        np.where(inside, z_score(visit[box], inside, f"{subject.name}, visit {index}"), np.float32(0))
        for index, visit in enumerate(subject.visits, start=1)
    )
    image: Image = np.stack([baseline, followup, followup - baseline])
    offset = (box[0].start, box[1].start, box[2].start)
    x, y, z = brain.shape
    return PreparedCase(
        name=subject.name,
        patient=subject.patient,
        image=image,
        reference=reference[box].copy(),
        brain=inside.copy(),
        affine=_moved(subject.affine, offset),
        offset=offset,
        original_shape=(x, y, z),
    )


def _brain_of(subject: Subject) -> Mask:
    everywhere = np.ones(subject.visits[0].shape, dtype=np.bool_)
    first, second = (z_score(visit, everywhere, subject.name) for visit in subject.visits)
    return simple_brain((first + second) / np.float32(2), subject.spacing_mm, subject.name)


def _box(mask: Mask, margin: int) -> tuple[slice, slice, slice]:
    def extent(axis: int) -> slice:
        others = tuple(other for other in range(3) if other != axis)
        used = np.flatnonzero(mask.any(axis=others))
        return slice(max(int(used[0]) - margin, 0), min(int(used[-1]) + 1 + margin, mask.shape[axis]))

    return extent(0), extent(1), extent(2)


def _moved(affine: Affine, offset: tuple[int, int, int]) -> Affine:
    moved = affine.copy()
    moved[:3, 3] = affine[:3, :3] @ np.array(offset, dtype=np.float64) + affine[:3, 3]
    return moved

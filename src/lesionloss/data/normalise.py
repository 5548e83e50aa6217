"""From a subject to a prepared case: crop to the brain, z-score each visit inside it, subtract."""

from dataclasses import dataclass

import numpy as np

from lesionloss.data.brain import simple_brain
from lesionloss.data.intensity import z_score
from lesionloss.data.nifti import Affine
from lesionloss.data.prepared import PreparedCase
from lesionloss.data.subject import Image, Mask, Subject
from lesionloss.errors import UsageError


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
    one is made from the mean of the visits' first contrasts; of a picture, all is kept. Outside the brain the image is
    0, the mean of the brain. Two visits get a difference of their first contrasts.
    Raises DataError where a visit is constant inside the brain.
    """
    brain = subject.brain if subject.brain is not None else _brain_of(subject)
    reference = subject.reference if subject.reference is not None else np.zeros(brain.shape, dtype=np.uint8)
    box = _box(brain | (reference > 0), settings.margin_voxels)
    inside = brain[box]
    visits = [
        [np.where(inside, z_score(contrast[box], inside, _what(subject, index)), np.float32(0)) for contrast in visit]
        for index, visit in enumerate(subject.visits, start=1)
    ]
    image: Image = np.stack([contrast for visit in visits for contrast in visit])
    if len(visits) == 2:
        image = np.concatenate([image, (visits[1][0] - visits[0][0])[None]])
    offset = tuple(part.start for part in box)
    return PreparedCase(
        name=subject.name,
        patient=subject.patient,
        image=image,
        channels=channels_of(len(visits), len(visits[0])),
        reference=reference[box].copy(),
        brain=inside.copy(),
        affine=_moved(subject.affine, offset),
        offset=offset,
        original_shape=brain.shape,
        ignore=None if subject.ignore is None else subject.ignore[box].copy(),
        classes=subject.classes,
    )


def channels_of(visits: int, contrasts: int) -> tuple[str, ...]:
    """What the channels of a prepared image are called."""
    times = ("baseline", "followup") if visits == 2 else tuple(f"visit{index}" for index in range(1, visits + 1))
    if visits == 1:
        return tuple(f"contrast{number}" for number in range(1, contrasts + 1))
    names = [time if contrasts == 1 else f"{time}:{number}" for time in times for number in range(1, contrasts + 1)]
    return (*names, "difference") if visits == 2 else tuple(names)


def _what(subject: Subject, visit: int) -> str:
    return f"{subject.name}, visit {visit}"


def _brain_of(subject: Subject) -> Mask:
    everywhere = np.ones(subject.space, dtype=np.bool_)
    if everywhere.ndim == 2:
        return everywhere
    scaled = [z_score(visit[0], everywhere, subject.name) for visit in subject.visits]
    x, y, z = subject.spacing_mm
    mean = np.asarray(np.sum(scaled, axis=0), dtype=np.float32) / np.float32(len(scaled))
    return simple_brain(mean.astype(np.float32), (x, y, z), subject.name)


def _box(mask: Mask, margin: int) -> tuple[slice, ...]:
    def extent(axis: int) -> slice:
        others = tuple(other for other in range(mask.ndim) if other != axis)
        used = np.flatnonzero(mask.any(axis=others))
        return slice(max(int(used[0]) - margin, 0), min(int(used[-1]) + 1 + margin, mask.shape[axis]))

    return tuple(extent(axis) for axis in range(mask.ndim))


def _moved(affine: Affine, offset: tuple[int, ...]) -> Affine:
    moved = affine.copy()
    moved[:3, 3] = affine[:3, : len(offset)] @ np.array(offset, dtype=np.float64) + affine[:3, 3]
    return moved

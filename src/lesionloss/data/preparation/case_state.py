"""A case on its way from a subject to a prepared case: what every step of a preparation takes and gives."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from lesionloss.data.preparation.read_case import AlignedSubject
from lesionloss.data.prepared import Origin, PreparedCase, channels_of
from lesionloss.data.resampling.grid import VoxelGrid
from lesionloss.data.subject import Image, Labels, Mask
from lesionloss.data.volume import Affine


@dataclass(frozen=True, eq=False)
class PreparationState:
    """`visits` are float32 (C, *space), one entry per visit; `reference` class numbers (*space), 0 background.

    `grid` is where the arrays are now, `original` where the reference came from and results go back to; `motion` (4, 4)
    takes points of the first to points of the second, in mm. `cut` is the first voxel kept of a grid of shape `uncut`.
    `brain_from` says who made the brain mask: "file", "threshold", "tool NAME" or "" while there is none.
    `record` collects what the steps did, as plain values, and `repairs` what they mended, one line each.
    """

    name: str
    patient: str
    visits: tuple[Image, ...]
    reference: Labels | None
    brain: Mask | None
    ignore: Mask | None
    classes: tuple[str, ...]
    grid: VoxelGrid
    original: VoxelGrid
    motion: Affine
    brain_from: str = ""
    cut: tuple[int, ...] = ()
    uncut: tuple[int, ...] = ()
    cropped: bool = False
    subtracted: bool = False
    record: dict[str, Any] = field(default_factory=dict)
    repairs: tuple[str, ...] = ()

    @property
    def moved(self) -> bool:
        """Whether voxels are no longer voxels of the original grid."""
        shift = np.linalg.inv(self.original.affine) @ self.motion @ self.grid.affine
        whole = np.eye(4)
        whole[:3, 3] = np.rint(shift[:3, 3])
        return not np.allclose(shift, whole, atol=1e-5)

    def noted(self, step: str, facts: dict[str, Any], *repairs: str) -> "PreparationState":
        """The same with what a step did."""
        return replace(self, record={**self.record, step: facts}, repairs=(*self.repairs, *repairs))


def start_preparation(reading: AlignedSubject) -> PreparationState:
    """The start of a preparation: nothing is cut, scaled or moved yet, but by registration."""
    subject = reading.subject
    return PreparationState(
        name=subject.name,
        patient=subject.patient,
        visits=subject.visits,
        reference=subject.reference,
        brain=subject.brain,
        ignore=subject.ignore,
        classes=subject.classes,
        grid=reading.grid,
        original=reading.original,
        motion=reading.motion,
        brain_from="file" if subject.brain is not None else "",
        cut=tuple(0 for _ in subject.space),
        uncut=subject.space,
        record=dict(reading.record),
        repairs=reading.repairs,
    )


def finish_preparation(work: PreparationState) -> PreparedCase:
    """The prepared case. Where no step made a brain mask, all of the image counts as brain."""
    image: Image = np.concatenate(work.visits)
    if work.subtracted:
        image = np.concatenate([image, (work.visits[1][0] - work.visits[0][0])[None]])
    shape = work.grid.shape
    brain = work.brain if work.brain is not None else np.ones(shape, dtype=np.bool_)
    reference = work.reference if work.reference is not None else np.zeros(shape, dtype=np.uint8)
    origin = Origin(work.original.shape, work.original.affine, work.motion) if work.moved else None
    return PreparedCase(
        name=work.name,
        patient=work.patient,
        image=np.ascontiguousarray(image),
        channels=channels_of(len(work.visits), len(work.visits[0]), work.subtracted),
        reference=reference.copy(),
        brain=brain.copy(),
        affine=work.grid.affine,
        offset=work.cut,
        original_shape=work.uncut,
        ignore=None if work.ignore is None else work.ignore.copy(),
        classes=work.classes,
        origin=origin,
    )

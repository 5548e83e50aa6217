"""The state of a case between the steps of its preparation, its start and its end."""

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
    """A case on its way from a subject to a prepared case: what each step of a preparation takes and returns.

    Attributes:
        name: Name of the case.
        patient: Name of the patient.
        visits: Intensities float32 (C, *space), one entry per visit.
        reference: Class numbers (*space), 0 background; None where there is no reference.
        brain: Brain mask (*space), None while there is none.
        ignore: Voxels that are neither lesion nor background (*space), None for none.
        classes: Names of the lesion classes.
        grid: Where the arrays are now.
        original: Where the reference came from and results go back to.
        motion: Affine (4, 4) from points of `grid` to points of `original`, in mm.
        brain_from: Source of the brain mask: "file", "threshold", "tool NAME", or "" while there is none.
        cut: First voxel that the crop keeps, in a grid of shape `uncut`.
        uncut: Shape of the grid before the crop.
        cropped: Whether the crop is done.
        subtracted: Whether the prepared case gets a difference channel.
        record: What the steps did, as plain values, by the name of the step.
        repairs: What the steps repaired, one line each.
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
        """Add what a step did and what it repaired."""
        return replace(self, record={**self.record, step: facts}, repairs=(*self.repairs, *repairs))


def start_preparation(reading: AlignedSubject) -> PreparationState:
    """Start a preparation: nothing is cropped, scaled or moved yet, except by registration."""
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


def finish_preparation(state: PreparationState) -> PreparedCase:
    """Make the prepared case; where no step made a brain mask, the whole image counts as brain."""
    image: Image = np.concatenate(state.visits)
    if state.subtracted:
        image = np.concatenate([image, (state.visits[1][0] - state.visits[0][0])[None]])
    shape = state.grid.shape
    brain = state.brain if state.brain is not None else np.ones(shape, dtype=np.bool_)
    reference = state.reference if state.reference is not None else np.zeros(shape, dtype=np.uint8)
    origin = Origin(state.original.shape, state.original.affine, state.motion) if state.moved else None
    return PreparedCase(
        name=state.name,
        patient=state.patient,
        image=np.ascontiguousarray(image),
        channels=channels_of(len(state.visits), len(state.visits[0]), state.subtracted),
        reference=reference.copy(),
        brain=brain.copy(),
        affine=state.grid.affine,
        offset=state.cut,
        original_shape=state.uncut,
        ignore=None if state.ignore is None else state.ignore.copy(),
        classes=state.classes,
        origin=origin,
    )

"""From a subject to a `Work`, and from a `Work` to a prepared case."""

import numpy as np

from lesionloss.data.preparation_state import Work
from lesionloss.data.prepared import Origin, PreparedCase, channels_of
from lesionloss.data.read_case import Reading
from lesionloss.data.subject import Image


def work_of(reading: Reading) -> Work:
    """The start of a preparation: nothing is cut, scaled or moved yet, but by registration."""
    subject = reading.subject
    return Work(
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


def case_of(work: Work) -> PreparedCase:
    """The prepared case. Where no step made a brain mask, all of the image counts as brain."""
    image: Image = np.concatenate(work.visits)
    if work.difference:
        image = np.concatenate([image, (work.visits[1][0] - work.visits[0][0])[None]])
    shape = work.grid.shape
    brain = work.brain if work.brain is not None else np.ones(shape, dtype=np.bool_)
    reference = work.reference if work.reference is not None else np.zeros(shape, dtype=np.uint8)
    origin = Origin(work.original.shape, work.original.affine, work.motion) if work.moved else None
    return PreparedCase(
        name=work.name,
        patient=work.patient,
        image=np.ascontiguousarray(image),
        channels=channels_of(len(work.visits), len(work.visits[0]), work.difference),
        reference=reference.copy(),
        brain=brain.copy(),
        affine=work.grid.affine,
        offset=work.cut,
        original_shape=work.uncut,
        ignore=None if work.ignore is None else work.ignore.copy(),
        classes=work.classes,
        origin=origin,
    )

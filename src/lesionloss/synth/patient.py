"""One synthetic patient, from seed and index to two visits and the truth about them. No files here."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lesionloss.errors import UsageError
from lesionloss.randomness import numpy_generator
from lesionloss.synth.anatomy import draw_anatomy
from lesionloss.synth.fields import Float
from lesionloss.synth.lesions import Lesion, grow_lesions
from lesionloss.synth.plan import PatientPlan, SynthSettings, plan_patient
from lesionloss.synth.scanner import LookAlike, acquire, draw_scene, misplaced


@dataclass(frozen=True)
class PatientRecord:
    """Everything that was decided and drawn, as numbers; the JSON file beside the images."""

    seed: int
    index: int
    settings: SynthSettings
    plan: PatientPlan
    lesions: tuple[Lesion, ...]
    look_alikes: tuple[LookAlike, ...]
    smallest_jacobian: float
    ventricle_widening_mm: float

    def of_kind(self, kind: str) -> tuple[Lesion, ...]:
        """The lesions that are "old" or "new"."""
        return tuple(lesion for lesion in self.lesions if lesion.kind == kind)

    def new_volume_mm3(self) -> float:
        return sum(lesion.volume_mm3 for lesion in self.of_kind("new"))


@dataclass(frozen=True, eq=False)
class SyntheticPatient:
    """Two visits on one grid. All arrays (X, Y, Z), RAS+; the reference lies in the follow-up's frame."""

    visits: tuple[NDArray[np.int16], NDArray[np.int16]]  # baseline, follow-up: skull-stripped, the scanner's units
    clean: tuple[Float, Float]  # the same before misregistration, blur, bias and noise; white matter is about 1
    reference: NDArray[np.bool_]  # new lesions
    brain: NDArray[np.bool_]
    labels: NDArray[np.int16]  # 0, or the number of the lesion in the record
    affine: NDArray[np.float64]  # (4, 4), voxel to world mm
    record: PatientRecord


def synthesise(seed: int, index: int, settings: SynthSettings) -> SyntheticPatient:
    """Patient `index` (from 0) of the cohort `seed`: a pure function of its arguments.

    Raises UsageError for a negative index.
    """
    if index < 0:
        raise UsageError(f"patient index is {index}; patients count from 0")

    def stream(purpose: str) -> np.random.Generator:
        return numpy_generator(seed, "patient", index, purpose)

    plan = plan_patient(seed, index, settings)
    anatomy = draw_anatomy(stream("anatomy"), settings.spacing_mm)
    lesions = grow_lesions(stream("lesions"), anatomy, plan.lesions)
    scene = draw_scene(stream("scene"), anatomy, plan)
    clean = (scene.baseline + lesions.baseline_excess, scene.followup + lesions.followup_excess)
    shifted = misplaced(stream("misregistration"), clean[0], anatomy, plan.misregistration_mm)
    record = PatientRecord(
        seed=seed,
        index=index,
        settings=settings,
        plan=plan,
        lesions=lesions.found,
        look_alikes=scene.look_alikes,
        smallest_jacobian=anatomy.smallest_jacobian,
        ventricle_widening_mm=anatomy.ventricle_widening_mm,
    )
    return SyntheticPatient(
        visits=(
            acquire(stream("baseline"), shifted, anatomy, plan.baseline),
            acquire(stream("followup"), clean[1], anatomy, plan.followup),
        ),
        clean=clean,
        reference=lesions.reference(),
        brain=anatomy.brain,
        labels=lesions.labels,
        affine=anatomy.axes.affine(),
        record=record,
    )

"""One synthetic patient, from seed and index to two visits and their exact references, without files."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

import numpy as np
from numpy.typing import NDArray

from lesionloss.core.errors import UsageError
from lesionloss.core.randomness import numpy_generator
from lesionloss.synth.anatomy import Anatomy, Sampling, draw_anatomy
from lesionloss.synth.contrast import draw_person, tissue_signal
from lesionloss.synth.fields import Axes, Float, Mask
from lesionloss.synth.lesions import LesionRecord, block_means, grow_lesions
from lesionloss.synth.look_alikes import LookAlike, draw_look_alikes
from lesionloss.synth.patient_plan import KINDS, PatientPlan, plan_patient
from lesionloss.synth.scanner import acquire, in_field_of_view, no_error, registration_error, sampling_of
from lesionloss.synth.settings import SynthSettings


@dataclass(frozen=True)
class PatientRecord:
    """All decisions and draws of a patient as numbers: the JSON file beside the images."""

    seed: int
    index: int
    settings: SynthSettings
    plan: PatientPlan
    lesions: tuple[LesionRecord, ...]
    look_alikes: tuple[LookAlike, ...]
    smallest_jacobian: float
    ventricle_widening_mm: float
    brain_mm3: float

    def of_kind(self, kind: str) -> tuple[LesionRecord, ...]:
        """List the lesions of a kind: unchanged, new, enlarging, shrinking or vanishing."""
        return tuple(lesion for lesion in self.lesions if lesion.kind == kind)

    def new_volume_mm3(self) -> float:
        """Add up the volume of the new lesions."""
        return sum(lesion.volume_mm3 for lesion in self.of_kind("new"))


@dataclass(frozen=True, eq=False)
class SyntheticPatient:
    """Two visits on one grid, with their exact references in the follow-up's frame. All arrays are (X, Y, Z), RAS+.

    Attributes:
        visits: Baseline and follow-up: skull-stripped images in the scanner's units.
        clean: The same before scanner and misregistration; white matter is about 1.
        reference: The mask that `settings.ground_truth` names.
        change: 1 where a lesion came, -1 where one went or faded, else 0.
        rise: What lesions add to the follow-up less what they add to the baseline, before the scanner.
        brain: Brain mask, within the fields of view of both visits.
        lesions: At each visit 0, or the number of the lesion in the record.
        kinds: For each kind the numbers of its lesions, at either visit.
        affine: Voxel index to world mm (4, 4).
        record: All decisions and draws.
    """

    visits: tuple[NDArray[np.int16], NDArray[np.int16]]  # baseline, follow-up: skull-stripped, the scanner's units
    clean: tuple[Float, Float]  # the same before scanner and misregistration; white matter is about 1
    reference: Mask  # what settings.ground_truth asks for
    change: NDArray[np.int8]  # 1 where a lesion came, -1 where one went or faded, else 0
    rise: Float  # what lesions add to the follow-up less what they add to the baseline, before the scanner
    brain: Mask  # as far as both visits' fields of view reach
    lesions: tuple[NDArray[np.int16], NDArray[np.int16]]  # at each visit: 0, or the number of the lesion in the record
    kinds: dict[str, NDArray[np.int16]]  # for each kind the numbers of its lesions, at either visit
    affine: NDArray[np.float64]  # (4, 4), voxel to world mm
    record: PatientRecord

    @property
    def labels(self) -> NDArray[np.int16]:
        """The numbers of the lesions at either visit."""
        return np.maximum(*self.lesions)


def synthetic_patients(seed: int, settings: SynthSettings, start: int = 0) -> Iterator[SyntheticPatient]:
    """Yield patients without end, for training without files.

    Args:
        seed: Seed of the cohort.
        settings: The ranges.
        start: Index of the first patient.

    Yields:
        Patients `start`, `start` + 1, … of the cohort.
    """
    for index in count(start):
        yield synthesise(seed, index, settings)


def synthesise(seed: int, index: int, settings: SynthSettings) -> SyntheticPatient:
    """Make one patient: a pure function of its arguments.

    Args:
        seed: Seed of the cohort.
        index: Number of the patient, from 0.
        settings: The ranges.

    Returns:
        The patient.

    Raises:
        UsageError: The index is negative.
    """
    if index < 0:
        raise UsageError(f"patient index is {index}; patients count from 0")

    def stream(purpose: str) -> np.random.Generator:
        return numpy_generator(seed, "patient", index, purpose)

    plan = plan_patient(seed, index, settings)
    sampling = sampling_of(settings.spacing_mm, plan.followup.protocol)
    anatomy = draw_anatomy(stream("anatomy"), sampling, settings.anatomy)
    files, whole = _files_grid(anatomy, sampling)
    brain = in_field_of_view(files, in_field_of_view(files, whole, plan.baseline), plan.followup)
    lesions = grow_lesions(stream("lesions"), anatomy, plan.lesions, sampling.pool, brain)
    looks = draw_look_alikes(stream("look-alikes"), anatomy, plan, settings.look_alikes)
    person = draw_person(stream("person"), anatomy, plan)
    tissue = (
        tissue_signal(stream("baseline tissue"), anatomy, person, plan.baseline, 0.0),
        tissue_signal(stream("followup tissue"), anatomy, person, plan.followup, plan.atrophy_mm),
    )
    signals = [
        healthy + extra + np.float32(visit.protocol.lesion) * lesion
        for healthy, extra, visit, lesion in zip(
            tissue, looks.signals, (plan.baseline, plan.followup), lesions.signals, strict=True
        )
    ]
    error = registration_error(stream("misregistration"), anatomy, plan.misregistration_mm)
    baseline = acquire(stream("baseline"), signals[0], anatomy, files, brain, plan.baseline, error)
    followup = acquire(stream("followup"), signals[1], anatomy, files, brain, plan.followup, no_error())
    record = PatientRecord(
        seed=seed,
        index=index,
        settings=settings,
        plan=plan,
        lesions=lesions.found,
        look_alikes=looks.found,
        smallest_jacobian=anatomy.smallest_jacobian,
        ventricle_widening_mm=anatomy.ventricle_widening_mm,
        brain_mm3=float(brain.sum() * files.voxel_mm3),
    )
    return SyntheticPatient(
        visits=(baseline, followup),
        clean=(block_means(signals[0], sampling.pool), block_means(signals[1], sampling.pool)),
        reference=lesions.reference(settings.ground_truth),
        change=lesions.change,
        rise=block_means(
            plan.followup.protocol.lesion * lesions.signals[1] - plan.baseline.protocol.lesion * lesions.signals[0],
            sampling.pool,
        ),
        brain=brain,
        lesions=lesions.labels,
        kinds={kind: lesions.of_kind(kind) for kind in KINDS},
        affine=files.affine(),
        record=record,
    )


def _files_grid(anatomy: Anatomy, sampling: Sampling) -> tuple[Axes, Mask]:
    """Make the grid of the files and the brain on it."""
    share = block_means(anatomy.brain.astype(np.float32), sampling.pool)
    return anatomy.axes.pooled(sampling.pool), np.asarray(share >= 0.5)

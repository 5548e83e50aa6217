"""A cohort read once and described: what each case holds, and every problem found."""

import math
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from lesionloss.data.cohort import Cohort, Files, load_subject
from lesionloss.data.prepare import shared_images
from lesionloss.data.subject import Subject
from lesionloss.errors import DataError


@dataclass(frozen=True)
class CaseSummary:
    """One case; `lesions` counts the reference's components (26-connected), `lesion_share` is of all its voxels."""

    name: str
    patient: str
    visits: int
    shape: tuple[int, ...]
    spacing_mm: tuple[float, ...]
    lesions: int
    lesion_voxels: int
    lesion_mm3: float
    lesion_share: float
    brain_mask: bool


@dataclass(frozen=True)
class Survey:
    """All cases that could be read, and a line for each that is unreadable, incomplete or shared between patients."""

    layout: str
    title: str
    target: str
    cases: tuple[CaseSummary, ...]
    problems: tuple[str, ...]

    @property
    def patients(self) -> int:
        """How many different patients the cases belong to."""
        return len({case.patient for case in self.cases})

    @property
    def lesion_share(self) -> float:
        """Lesion voxels of all cases over all their voxels."""
        voxels = sum(int(np.prod(case.shape)) for case in self.cases)
        return sum(case.lesion_voxels for case in self.cases) / voxels if voxels else 0.0

    def as_record(self) -> dict[str, Any]:
        """The survey as plain values for JSON, with its sums."""
        sums = {
            "cases": len(self.cases),
            "patients": self.patients,
            "lesions": sum(case.lesions for case in self.cases),
            "lesion_mm3": sum(case.lesion_mm3 for case in self.cases),
            "lesion_share": self.lesion_share,
        }
        return {**asdict(self), "sums": sums}


def survey(cohort: Cohort, each: Callable[[tuple[Files, ...]], Iterable[Files]] = lambda cases: cases) -> Survey:
    """Read every case; one that can't be used is a problem, not an error. `each` may wrap them in a progress bar."""
    problems = [f"{cohort.root}: {patient.name} is left out: {patient.reason}" for patient in cohort.incomplete]
    problems += shared_images(cohort.cases)
    cases: list[CaseSummary] = []
    for files in each(cohort.cases):
        try:
            cases.append(_summary(load_subject(cohort, files)))
        except DataError as error:
            problems.append(str(error))
    layout = cohort.layout
    return Survey(layout.name, layout.title, cohort.target.name, tuple(cases), tuple(problems))


def _summary(subject: Subject) -> CaseSummary:
    import cc3d

    reference = subject.lesion if subject.lesion is not None else np.zeros(subject.space, np.bool_)
    voxels = int(reference.sum())
    return CaseSummary(
        name=subject.name,
        patient=subject.patient,
        visits=len(subject.visits),
        shape=reference.shape,
        spacing_mm=subject.spacing_mm,
        lesions=int(
            cc3d.connected_components(reference.astype(np.uint8), connectivity=26 if reference.ndim == 3 else 8).max()
        ),
        lesion_voxels=voxels,
        lesion_mm3=voxels * math.prod(subject.spacing_mm),
        lesion_share=voxels / reference.size,
        brain_mask=subject.brain is not None,
    )

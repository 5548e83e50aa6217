"""What a data set holds that a plan must fit: channels, classes, grids and lesion sizes, from some of its cases."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from lesionloss.core.errors import DataError
from lesionloss.data.checking.case_summary import CaseSummary, summarise_case
from lesionloss.data.cohort import Cohort, load_subject
from lesionloss.data.layouts.records import CaseFiles

MOST_READ = 24
Numbers = tuple[float, ...]


@dataclass(frozen=True)
class DataFacts:
    """The facts of a data set.

    Attributes:
        cohort: Its cases.
        read: The figures of the cases that were read, spread evenly over all.
        contrasts: Images of one visit.
        classes: Names of the lesion classes.
        problems: Why a case could not be read, one line each.
    """

    cohort: Cohort
    read: tuple[CaseSummary, ...]
    contrasts: int
    classes: tuple[str, ...]
    problems: tuple[str, ...] = ()

    @property
    def patients(self) -> int:
        """The number of patients."""
        return len({files.patient for files in self.cohort.cases})

    @property
    def visits(self) -> int:
        """Visits of a case."""
        return len(self.cohort.cases[0].visits)

    @property
    def axes(self) -> int:
        """Axes of space."""
        return len(self.read[0].shape)

    @property
    def spacing_mm(self) -> Numbers:
        """The median edge length of a voxel along each axis."""
        return tuple(map(float, np.median([case.spacing_mm for case in self.read], axis=0)))

    @property
    def spacings_differ(self) -> bool:
        """Whether edge lengths differ between cases by more than a twentieth."""
        edges = np.array([case.spacing_mm for case in self.read])
        return bool((edges.max(axis=0) > 1.05 * edges.min(axis=0)).any())

    @property
    def sides(self) -> tuple[int, ...]:
        """The smallest number of voxels along each axis, on the grid of `spacing_mm`."""
        extents = np.array([case.shape for case in self.read]) * np.array([case.spacing_mm for case in self.read])
        return tuple(int(side) for side in np.rint((extents / self.spacing_mm).min(axis=0)))

    @property
    def lesion_share(self) -> float:
        """Lesion voxels over all voxels of the cases that were read."""
        return sum(case.lesion_voxels for case in self.read) / sum(case.voxels for case in self.read)

    def lesion_diameters_mm(self) -> Numbers:
        """The diameters of spheres (in 2-D circles) as large as each lesion, ascending."""
        sizes = np.sort([size for case in self.read for size in case.lesion_sizes_mm3])
        diameters = np.cbrt(6 * sizes / np.pi) if self.axes == 3 else 2 * np.sqrt(sizes / np.pi)
        return tuple(map(float, diameters))


def read_facts(
    cohort: Cohort, each: Callable[[list[CaseFiles]], Iterable[CaseFiles]] = lambda cases: cases
) -> DataFacts:
    """Read some cases of a cohort.

    Args:
        cohort: The cohort.
        each: Wraps the cases, e.g. in a progress bar.

    Raises:
        DataError: No case can be read, or none has a reference.
    """
    step = -(-len(cohort.cases) // MOST_READ)
    subjects, problems = [], []
    contrasts, classes = 0, cohort.layout.labels.classes
    for files in each(list(cohort.cases[::step])):
        try:
            subject = load_subject(cohort, files)
        except DataError as error:
            problems.append(str(error))
            continue
        subjects.append(summarise_case(subject))
        contrasts, classes = len(subject.visits[0]), subject.classes
    with_reference = [case for case in subjects if case.reference]
    if not with_reference:
        reason = problems[0] if problems else "no case has a reference, so there is nothing to train on"
        raise DataError(f"{cohort.root}: {reason}")
    return DataFacts(cohort, tuple(with_reference), contrasts, classes, tuple(problems))

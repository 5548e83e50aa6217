"""Every subject of a cohort, read."""

import numpy as np

from lesionloss.data.cohort import Cohort, load_subject
from lesionloss.data.subject import Subject


def subjects(cohort: Cohort) -> list[Subject]:
    return [load_subject(cohort, files) for files in cohort.cases]


def reference_of(subject: Subject) -> np.ndarray:
    """The class numbers of a subject that has a reference."""
    assert subject.reference is not None
    return subject.reference

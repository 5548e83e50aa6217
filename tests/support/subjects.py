"""Every subject of a cohort, read."""

from lesionloss.data.cohort import Cohort, load_subject
from lesionloss.data.subject import Subject


def subjects(cohort: Cohort) -> list[Subject]:
    return [load_subject(cohort, files) for files in cohort.cases]

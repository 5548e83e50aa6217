"""Check a plan against the user's data before anything is prepared or written."""

from pathlib import Path

from lesionloss.bench.make_cohort import as_data, check_mixed, user_cohort
from lesionloss.bench.plan import Plan
from lesionloss.bench.plan.sections import BUILT_IN_SOURCES
from lesionloss.bench.trials import fit_network
from lesionloss.core.errors import UsageError
from lesionloss.data.cohort import load_subject
from lesionloss.data.cohort_index import load_index
from lesionloss.data.fold_files import load_folds
from lesionloss.data.folds import make_split
from lesionloss.data.preparation.import_prepared import is_prepared
from lesionloss.data.prepared import channels_of, load_prepared


def check_data(plan: Plan) -> Plan:
    """List the patients of a plan and read the first case; of built-in data, only the number of patients is checked.

    Returns:
        The plan with the network that fits the data, see `fit_network`.

    Raises:
        UsageError: Layout, target, patients, folds, network or patch do not fit the data; the message names the key.
        DataError: A file is damaged, or no case is complete.
    """
    if plan.data.source in BUILT_IN_SOURCES and not plan.folds_file:
        _check_folds(plan, {str(number): str(number) for number in range(plan.data.synth_patients)})
    if not plan.data.source or plan.data.source in BUILT_IN_SOURCES:
        return plan
    patients, channels, classes, axes = first_case(plan)
    _check_folds(plan, patients)
    for section in plan.data.mix:
        mixed = plan.model_copy(update={"data": as_data(section, plan.data.preparation)})
        if section.source in BUILT_IN_SOURCES:
            theirs, their_classes = _built_in_channels(mixed), classes
        else:
            _, theirs, their_classes, _ = first_case(mixed)
        check_mixed(section.name, theirs, channels, their_classes, classes)
    return fit_network(plan, channels, classes, axes)


def first_case(plan: Plan) -> tuple[dict[str, str], tuple[str, ...], tuple[str, ...], int]:
    """The patient of every case that a plan names; channels, classes and axes of the first."""
    if is_prepared(plan.data.source):
        folder = Path(plan.data.source).expanduser()
        index = load_index(folder)
        case = load_prepared(folder / f"{index.cases[0].name}.npz")
        return {entry.name: entry.patient for entry in index.cases}, case.channels, case.classes, len(case.shape)
    cohort = user_cohort(plan)
    subject = load_subject(cohort, cohort.cases[0])
    channels = channels_of(len(subject.visits), len(subject.visits[0]), "subtract" in plan.data.preparation.steps)
    return {files.name: files.patient for files in cohort.cases}, channels, subject.classes, len(subject.space)


def _built_in_channels(plan: Plan) -> tuple[str, ...]:
    """The channels of synthetic patients, two visits with one contrast, or of shapes: colours or two contrasts."""
    if plan.data.source == "synth":
        return channels_of(2, 1, "subtract" in plan.data.preparation.steps)
    return channels_of(1, 3 if plan.data.shapes_axes == 2 else 2)


def _check_folds(plan: Plan, patients: dict[str, str]) -> None:
    number = len(set(patients.values()))
    if plan.split:
        make_split(patients.values(), *plan.split, plan.fold_seed)
    elif plan.folds_file:
        load_folds(Path(plan.folds_file), patients)
    elif plan.folds > number:
        raise UsageError(f"folds must be at most the number of patients, {number}, got {plan.folds}")

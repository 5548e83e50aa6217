"""Check a plan against the user's data before anything is prepared or written."""

from pathlib import Path

from lesionloss.bench.plan import Plan
from lesionloss.bench.run_cohort import BUILT_IN_SOURCES, user_cohort
from lesionloss.bench.trials import fit_network
from lesionloss.core.errors import UsageError
from lesionloss.data.cohort import load_subject
from lesionloss.data.cohort_index import load_index
from lesionloss.data.fold_files import load_folds
from lesionloss.data.folds import make_split
from lesionloss.data.preparation.import_prepared import is_prepared
from lesionloss.data.prepared import channels_of, load_prepared


def check_data(plan: Plan) -> Plan:
    """List the patients of a plan and read the first case; built-in data and a plan without data always pass.

    Returns:
        The plan with the network that fits the data, see `fit_network`.

    Raises:
        UsageError: Layout, target, patients, folds, network or patch do not fit the data; the message names the key.
        DataError: A file is damaged, or no case is complete.
    """
    source = plan.data.source
    if not source or source in BUILT_IN_SOURCES:
        return plan
    if is_prepared(source):
        folder = Path(source).expanduser()
        index = load_index(folder)
        patients = {entry.name: entry.patient for entry in index.cases}
        case = load_prepared(folder / f"{index.cases[0].name}.npz")
        channels, classes, axes = case.channels, case.classes, len(case.shape)
    else:
        cohort = user_cohort(plan)
        patients = {files.name: files.patient for files in cohort.cases}
        subject = load_subject(cohort, cohort.cases[0])
        difference = "subtract" in plan.data.preparation.steps
        channels = channels_of(len(subject.visits), len(subject.visits[0]), difference)
        classes, axes = subject.classes, len(subject.space)
    _check_folds(plan, patients)
    return fit_network(plan, channels, classes, axes)


def _check_folds(plan: Plan, patients: dict[str, str]) -> None:
    number = len(set(patients.values()))
    if plan.split:
        make_split(patients.values(), *plan.split, plan.fold_seed)
    elif plan.folds_file:
        load_folds(Path(plan.folds_file), patients)
    elif plan.folds > number:
        raise UsageError(f"folds must be at most the number of patients, {number}, got {plan.folds}")

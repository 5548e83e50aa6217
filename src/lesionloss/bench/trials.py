"""From a plan and a cohort to the list of trials, pair by pair."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

from lesionloss.bench.plan import Plan
from lesionloss.bench.recipes import counts_epochs, recipe_of
from lesionloss.bench.run_cohort import ListedCohort, RunCohort
from lesionloss.core.errors import UsageError
from lesionloss.core.number_text import plural
from lesionloss.data.fold_files import LoadedFolds, load_folds
from lesionloss.data.folds import Fold, make_folds, make_split
from lesionloss.inference.difference_threshold import read_difference_threshold
from lesionloss.losses.spec import user_files_of
from lesionloss.networks import code_digest as network_digest
from lesionloss.networks import network_axes, network_channels, outputs_fit, with_channels
from lesionloss.runs.results import DIFFERENCE_THRESHOLD, shared_patients_warning
from lesionloss.training.trial import Trial
from lesionloss.training.validation import unit_of

Cohort = RunCohort | ListedCohort


def folds_of(plan: Plan, cohort: Cohort) -> tuple[Fold, ...]:
    """Return the folds: those of the plan's file, or made here, stratified by lesion load; or one split.

    They hold patients or, where the plan splits by case, cases.

    The folds of a repeat follow those of the repeat before, which has another seed.

    Raises:
        UsageError: There are fewer patients than folds or than the split needs, or the file holds another number of
            folds.
        DataError: As `load_folds`.
    """
    if plan.split:
        return (make_split(_loads(plan, cohort), *plan.split, plan.fold_seed),)
    if not plan.folds_file:
        repeats = range(plan.fold_seed, plan.fold_seed + plan.repeats)
        return tuple(fold for seed in repeats for fold in make_folds(_loads(plan, cohort), plan.folds, seed))
    folds = _folds_in_file(plan, cohort).folds
    if len(folds) != plan.folds:
        raise UsageError(
            f"{plan.folds_file}: holds {len(folds)} folds, the plan says folds = {plan.folds}; change the plan"
        )
    return folds


def fold_warnings(plan: Plan, cohort: Cohort) -> tuple[str, ...]:
    """Return warnings: patients in no fold of a file or of a split, patients that are trained on and tested."""
    shared = tuple(_shared_patients(plan, cohort)) if plan.split_by == "case" else ()
    if plan.split:
        left = len(_loads(plan, cohort)) - sum(plan.split)
        rest = (f"split = {list(plan.split)}: {plural(left, plan.split_by)} in neither part",) if left else ()
        return (*rest, *shared)
    return (*_folds_in_file(plan, cohort).warnings, *shared) if plan.folds_file else shared


def _loads(plan: Plan, cohort: Cohort) -> Mapping[str, float]:
    """Lesion load of what the folds hold: patients or cases."""
    return cohort.case_loads if plan.split_by == "case" else cohort.loads


def _folds_in_file(plan: Plan, cohort: Cohort) -> LoadedFolds:
    return load_folds(Path(plan.folds_file), _units(plan, cohort))


def _units(plan: Plan, cohort: Cohort) -> dict[str, str]:
    """What the plan's folds keep together, by case."""
    return {case.name: unit_of(case, plan.split_by) for case in cohort.cases}


def _shared_patients(plan: Plan, cohort: Cohort) -> Iterator[str]:
    owners = {case.name: case.patient for case in cohort.cases}
    sides = [({owners[c] for c in fold.train}, {owners[c] for c in fold.test}) for fold in folds_of(plan, cohort)]
    if warning := shared_patients_warning({patient for train, test in sides for patient in train & test}):
        yield warning


def trials_of(plan: Plan, cohort: Cohort, device: str) -> tuple[Trial, ...]:
    """Return all trials, every loss of a fold and seed in turn, so that an interrupted run has complete pairs.

    Raises:
        UsageError: As `folds_of` and `recipe_of`.
        DataError: As `folds_of`.
    """
    folds, units = folds_of(plan, cohort), _units(plan, cohort)
    training = [[*(name for name, unit in units.items() if unit in fold.train), *cohort.mixed_names] for fold in folds]
    read = [cohort.named(names) if counts_epochs(plan) else () for names in training]
    recipes = [recipe_of(plan, device, cases, cohort.mixtures) for cases in read]
    code, network_code = {loss: code_digest(loss) for loss in plan.losses}, network_digest(plan.network.text)
    return tuple(
        Trial(
            loss=loss,
            dataset=cohort.dataset,
            target=cohort.target,
            network=plan.network.text,
            fold=number,
            seed=seed,
            train=tuple(training[number]),
            test=tuple(name for name, unit in units.items() if unit in fold.test),
            recipe=recipes[number],
            loss_sha256=code[loss],
            network_sha256=network_code,
        )
        for seed, (number, fold), loss in product(plan.seeds, enumerate(folds), plan.losses)
    )


def difference_trials(trials: Sequence[Trial], comparator: str) -> tuple[Trial, ...]:
    """Return the trials of the method without training, one for each fold of `trials`; none for an empty text."""
    if not comparator:
        return ()
    title = read_difference_threshold(comparator).title
    first_seed = min(trial.seed for trial in trials)
    folds = {trial.fold: trial for trial in reversed(trials) if trial.seed == first_seed}
    return tuple(replace(trial, loss=title, method=DIFFERENCE_THRESHOLD, seed=0) for trial in folds.values())


def code_digest(loss: str) -> str:
    """Return the SHA-256 of the user's files that define a loss; of several, of their digests; empty for none."""
    digests = sorted(file.sha256 for file in user_files_of(loss))
    if len(digests) < 2:
        return "".join(digests)
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def fit_network(plan: Plan, channels: Sequence[str], classes: Sequence[str], image_axes: int) -> Plan:
    """Return the plan with the inputs and outputs that the data need, where its network does not state its own.

    Args:
        plan: The plan.
        channels: Names of the channels of the images.
        classes: Names of the lesion classes.
        image_axes: Axes of the images.

    Raises:
        UsageError: As `check_fit`.
    """
    text = with_channels(plan.network.text, channels, classes)
    plan = plan.model_copy(update={"network": plan.network.model_copy(update={"text": text})})
    check_fit(plan, channels, classes, image_axes)
    return plan


def check_fit(plan: Plan, channels: Sequence[str], classes: Sequence[str], image_axes: int) -> None:
    """Check that the network fits the data.

    Args:
        plan: The plan.
        channels: Names of the channels of the images.
        classes: Names of the lesion classes.
        image_axes: Axes of the images.

    Raises:
        UsageError: Channels, classes or axes differ; the message says what to write.
    """
    text = plan.network.text
    axes, (inputs, outputs) = network_axes(text), network_channels(text)
    if axes > image_axes:
        raise UsageError(
            f"network.text: {text} is for volumes, the images have {image_axes} axes; take one for pictures, as "
            "the plan dscpp-drive-small does"
        )
    if inputs and inputs != len(channels):
        raise UsageError(
            f"network.text: {text} takes {inputs} channels, the data have {len(channels)} ({', '.join(channels)}); "
            f"say inputs={len(channels)}"
        )
    number = len(classes)
    if unknown := sorted(set(plan.class_weights) - set(classes)):
        raise UsageError(f"class_weights: no class is named {', '.join(unknown)}; classes: {', '.join(classes)}")
    if not any(plan.class_weights.get(name, 1.0) for name in classes):
        raise UsageError("class_weights: all classes have the weight 0; give one of them more")
    if outputs and not outputs_fit(outputs, classes):
        say = "outputs=1 or 2" if number == 1 else f"outputs={number + 1}: background, {', '.join(classes)}"
        raise UsageError(f"network.text: {text} gives {outputs} maps, the data have {number} classes; say {say}")
    patch = plan.training.patch
    if len(patch) != image_axes:
        slices = ", or [x, y, 1] for a network for slices" if image_axes == 3 else ""
        raise UsageError(
            f"training.patch: {list(patch)} has {len(patch)} numbers, the images have {image_axes} axes; "
            f"give {image_axes}{slices}"
        )

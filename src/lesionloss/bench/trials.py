"""From a plan and a cohort to the list of trials, pair by pair."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

from lesionloss.bench.epochs import steps_per_epoch
from lesionloss.bench.plan import Plan
from lesionloss.bench.run_cohort import ListedCohort, RunCohort
from lesionloss.core.errors import UsageError
from lesionloss.core.files import sha256_of
from lesionloss.data.fold_files import LoadedFolds, load_folds
from lesionloss.data.folds import Fold, make_folds
from lesionloss.data.prepared import PreparedCase
from lesionloss.losses.spec import user_files_of
from lesionloss.networks import network_axes, network_channels
from lesionloss.training.precision import resolve_precision
from lesionloss.training.pretraining import config_of, with_loss
from lesionloss.training.trial import Recipe, Trial

Cohort = RunCohort | ListedCohort


def recipe_of(plan: Plan, device: str, cases: Sequence[PreparedCase] = ()) -> Recipe:
    """How this plan trains on `cases` and predicts on a device.

    `precision` is resolved here, once; epochs become steps.
    """
    recipe = _recipe_in_steps(plan, device)
    training = plan.training
    if not counts_epochs(plan):
        return recipe
    epoch = steps_per_epoch(training, recipe, cases)
    return replace(
        recipe,
        steps=training.epochs * epoch if training.epochs else training.steps,
        check_every=training.check_every or epoch,
    )


def counts_epochs(plan: Plan) -> bool:
    """Whether steps follow from the cases that are learned from."""
    return bool(plan.training.epochs) or not plan.training.check_every


def _recipe_in_steps(plan: Plan, device: str) -> Recipe:
    training, network = plan.training, plan.network
    return Recipe(
        steps=training.steps,
        batch=training.batch,
        patch=training.patch,
        jitter=training.jitter,
        foreground_share=training.foreground_share,
        learning_rate=training.learning_rate,
        poly_power=training.poly_power,
        augment=training.augment,
        precision=resolve_precision(training.precision, device),
        window=plan.inference.window or training.patch[: network_axes(network.text)],
        overlap=plan.inference.overlap,
        threshold=plan.inference.threshold,
        optimiser=training.optimiser,
        schedule=training.schedule,
        sampler=training.sampler,
        clip_norm=training.clip_norm,
        accumulate=training.accumulate,
        deep_weights=training.deep_weights,
        consistency_from=training.consistency_from,
        validation_share=training.validation_share,
        check_every=training.check_every,
        patience=training.patience,
        start_from=network.start_from,
        start_layout=network.start_layout,
        start_sha256=_content(network.start_from or config_of(training.pretrain)),
        freeze=network.freeze,
        pretrain=with_loss(training.pretrain, plan.baseline_loss),
    )


def _content(path: str) -> str:
    """Digest of a file of weights or settings, so that a trial knows what it began with. Raises UsageError for none."""
    if not path:
        return ""
    if not Path(path).is_file():
        raise UsageError(
            f"no file {path}; start_from needs one of weights (.safetensors, .pth), pretrain's config one of TOML"
        )
    return sha256_of(Path(path))


def folds_of(plan: Plan, cohort: Cohort) -> tuple[Fold, ...]:
    """By patient: those of the plan's file, or made, stratified by lesion load.

    Raises UsageError when there are fewer patients than folds, or the file holds another number of them; DataError as
    `load_folds` does.
    """
    if not plan.folds_file:
        return make_folds(cohort.loads, plan.folds, plan.fold_seed)
    folds = _from_file(plan, cohort).folds
    if len(folds) != plan.folds:
        raise UsageError(
            f"{plan.folds_file}: holds {len(folds)} folds, the plan says folds = {plan.folds}; say so there"
        )
    return folds


def fold_warnings(plan: Plan, cohort: Cohort) -> tuple[str, ...]:
    """What is odd about the plan's file of folds, such as patients that nobody tests or trains on."""
    return _from_file(plan, cohort).warnings if plan.folds_file else ()


def _from_file(plan: Plan, cohort: Cohort) -> LoadedFolds:
    return load_folds(Path(plan.folds_file), {case.name: case.patient for case in cohort.cases})


def trials_of(plan: Plan, cohort: Cohort, device: str) -> tuple[Trial, ...]:
    """All trials, ordered so that an interrupted run leaves complete pairs: every loss of a fold and seed in turn.

    Raises as `folds_of` does.
    """
    folds = folds_of(plan, cohort)
    learning = [[case.name for case in cohort.cases if case.patient in fold.train] for fold in folds]
    recipes = [recipe_of(plan, device, cohort.named(names) if counts_epochs(plan) else ()) for names in learning]
    code = {loss: code_of(loss) for loss in plan.losses}
    return tuple(
        Trial(
            loss=loss,
            dataset=cohort.dataset,
            target=cohort.target,
            network=plan.network.text,
            fold=number,
            seed=seed,
            train=tuple(learning[number]),
            test=tuple(case.name for case in cohort.cases if case.patient in fold.test),
            recipe=recipes[number],
            loss_sha256=code[loss],
        )
        for seed, (number, fold), loss in product(plan.seeds, enumerate(folds), plan.losses)
    )


def code_of(loss: str) -> str:
    """The hash of the user's files that a loss is from; of several, of all of them; empty where there is none."""
    digests = sorted(file.sha256 for file in user_files_of(loss))
    if len(digests) < 2:
        return "".join(digests)
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def check_fit(plan: Plan, cohort: RunCohort) -> None:
    """Whether the network takes and gives what the data have. Raises UsageError that says what to write."""
    text, case = plan.network.text, cohort.cases[0]
    axes, (inputs, outputs) = network_axes(text), network_channels(text)
    channels, classes = len(case.channels), len(case.classes)
    if inputs and inputs != channels:
        raise UsageError(
            f"network.text: {text} takes {inputs} channels, the data have {channels} ({', '.join(case.channels)}); "
            f"say inputs={channels}"
        )
    if outputs and outputs != classes + 1 and (classes, outputs) != (1, 1):
        ways = "outputs=1 or 2" if classes == 1 else f"outputs={classes + 1}: background, {', '.join(case.classes)}"
        raise UsageError(f"network.text: {text} gives {outputs} maps, the data have {classes} classes; say {ways}")
    patch = plan.training.patch
    if len(patch) != len(case.shape):
        slices = ", or [x, y, 1] for a network for slices" if len(case.shape) == 3 else ""
        raise UsageError(
            f"training.patch: {list(patch)} has {len(patch)} numbers, the images have {len(case.shape)} axes; "
            f"give {len(case.shape)}{slices}"
        )
    if axes > len(case.shape):
        raise UsageError(f"network.text: {text} is for volumes, the images have {len(case.shape)} axes")

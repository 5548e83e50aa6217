"""From a plan and a cohort to the list of trials, pair by pair."""

from collections.abc import Sequence
from itertools import product

from lesionloss.bench.plan import Plan
from lesionloss.data.folds import Fold, make_folds
from lesionloss.data.prepare import PreparedCase
from lesionloss.errors import UsageError
from lesionloss.training.precision import resolve_precision
from lesionloss.training.trial import Recipe, Trial


def recipe_of(plan: Plan, device: str) -> Recipe:
    """How this plan trains and predicts on a device; `precision` is resolved here, once."""
    training = plan.training
    return Recipe(
        steps=training.steps,
        batch=training.batch,
        patch=training.patch,
        jitter=training.jitter,
        lesion_share=training.lesion_share,
        learning_rate=training.learning_rate,
        augment=training.augment,
        precision=resolve_precision(training.precision, device),
        overlap=plan.inference.overlap,
        threshold=plan.inference.threshold,
    )


def folds_of(plan: Plan, cases: Sequence[PreparedCase]) -> tuple[Fold, ...]:
    """Folds by patient, stratified by lesion volume. Raises UsageError when there are fewer patients than folds."""
    loads: dict[str, float] = {}
    for case in cases:
        loads[case.patient] = loads.get(case.patient, 0.0) + float(case.reference.sum())
    if len(loads) < plan.folds:
        raise UsageError(f"folds: {plan.folds} folds need as many patients, the data have {len(loads)}")
    return make_folds(loads, plan.folds, plan.fold_seed)


def trials_of(plan: Plan, cases: Sequence[PreparedCase], dataset: str, device: str) -> tuple[Trial, ...]:
    """All trials, ordered so that an interrupted run leaves complete pairs: every loss of a fold and seed in turn."""
    recipe = recipe_of(plan, device)
    return tuple(
        Trial(
            loss=loss,
            dataset=dataset,
            target=plan.data.target,
            network=plan.network.text,
            fold=number,
            seed=seed,
            train=tuple(case.name for case in cases if case.patient in fold.train),
            test=tuple(case.name for case in cases if case.patient in fold.test),
            recipe=recipe,
        )
        for seed, (number, fold), loss in product(plan.seeds, enumerate(folds_of(plan, cases)), plan.losses)
    )

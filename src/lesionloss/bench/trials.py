"""From a plan and a cohort to the list of trials, pair by pair."""

from itertools import product

from lesionloss.bench.cohort import RunCohort
from lesionloss.bench.plan import Plan
from lesionloss.data.folds import make_folds
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
        decay=training.decay,
        augment=training.augment,
        precision=resolve_precision(training.precision, device),
        window=plan.inference.window or training.patch,
        overlap=plan.inference.overlap,
        threshold=plan.inference.threshold,
    )


def trials_of(plan: Plan, cohort: RunCohort, device: str) -> tuple[Trial, ...]:
    """All trials, ordered so that an interrupted run leaves complete pairs: every loss of a fold and seed in turn.

    Folds are by patient, stratified by lesion load. Raises UsageError when there are fewer patients than folds.
    """
    recipe = recipe_of(plan, device)
    folds = make_folds(cohort.loads, plan.folds, plan.fold_seed)
    return tuple(
        Trial(
            loss=loss,
            dataset=cohort.dataset,
            target=cohort.target,
            network=plan.network.text,
            fold=number,
            seed=seed,
            train=tuple(case.name for case in cohort.cases if case.patient in fold.train),
            test=tuple(case.name for case in cohort.cases if case.patient in fold.test),
            recipe=recipe,
        )
        for seed, (number, fold), loss in product(plan.seeds, enumerate(folds), plan.losses)
    )

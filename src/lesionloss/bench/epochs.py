"""What an epoch is: how many patches it has, and so how many steps."""

from collections.abc import Sequence

from lesionloss.bench.plan_parts import Training
from lesionloss.data.prepared import PreparedCase
from lesionloss.training.samplers import sampler_of
from lesionloss.training.trial import Recipe
from lesionloss.training.validation import patients_aside


def steps_per_epoch(training: Training, recipe: Recipe, cases: Sequence[PreparedCase]) -> int:
    """Steps after which every patch of an epoch was seen once, of a training on `cases`.

    Patches: those that the plan says; else those that the sampler counts; else one for each case. Where patients are
    set aside, the share of the others counts, so that nothing here depends on who they are.
    """
    patches = training.epoch_patches or _counted(recipe, cases) or len(cases)
    patients = len({case.patient for case in cases})
    learning = patients - (patients_aside(patients, recipe.validation_share) if recipe.validation_share else 0)
    if not training.epoch_patches:
        patches = -(-patches * learning // patients)
    return max(1, -(-patches // (recipe.batch * recipe.accumulate)))


def _counted(recipe: Recipe, cases: Sequence[PreparedCase]) -> int:
    return sampler_of(recipe).over({case.name: case for case in cases}).per_epoch or 0

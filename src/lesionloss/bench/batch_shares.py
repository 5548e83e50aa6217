"""The lesion share of training batches, drawn by the sampler of a plan (cf. Cabezas & Diez 2024, Table 1)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from lesionloss.bench.plan import Plan
from lesionloss.bench.recipes import recipe_of
from lesionloss.bench.run_cohort import ListedCohort
from lesionloss.data.batches.patches import cut
from lesionloss.data.checking.case_summary import spread
from lesionloss.data.prepared import PreparedCase
from lesionloss.training.samplers import sampler_of
from lesionloss.training.trial import TrainingRecipe

MOST_BATCHES = 1000
STREAM = ("batch shares",)


@dataclass(frozen=True)
class BatchShares:
    """Lesion voxels over all voxels that count, in training batches before augmentation.

    Attributes:
        batches: Number of batches drawn.
        patches: Number of patches in them.
        share: Spread over the batches; see `spread`.
        total_share: Of all batches together.
    """

    batches: int
    patches: int
    share: dict[str, float]
    total_share: float


def batch_shares_of(plan: Plan, cohort: ListedCohort) -> BatchShares:
    """Draw the batches of a training run on all cases of a cohort, and those mixed into it; images are not kept.

    Args:
        plan: Sampler, patch, batch and steps.
        cohort: The prepared cases.

    Raises:
        UsageError: There is nothing to draw.
        DataError: A case is damaged or missing.
    """
    loaded = (cohort.load(name) for name in cohort.shapes)
    cases = [replace(case, image=case.image[:0], channels=()) for case in loaded]
    return draw_batch_shares(recipe_of(plan, "cpu", cases, cohort.mixtures), cases)


def draw_batch_shares(recipe: TrainingRecipe, cases: Sequence[PreparedCase], most: int = MOST_BATCHES) -> BatchShares:
    """Draw an epoch of batches, or as many as a training run has where there are no epochs; at most `most`.

    Args:
        recipe: Sampler, patch, batch and steps.
        cases: The cases to draw from; their images may be empty.
        most: Largest number of batches.
    """
    named = {case.name: case for case in cases}
    draws = sampler_of(recipe).over(named)
    lesion, voxels = [], []
    for step in range(1, min(draws.steps_per_epoch(recipe.batch) or recipe.steps, most) + 1):
        windows = [draws.window(STREAM, step, place, recipe.batch) for place in range(recipe.batch)]
        patches = [
            cut(named[window.case], window.start, draws.size, padding_counts=draws.padding_counts) for window in windows
        ]
        lesion.append(sum(int(((patch.reference > 0) & patch.valid).sum()) for patch in patches))
        voxels.append(sum(int(patch.valid.sum()) for patch in patches))
    shares = spread([part / whole for part, whole in zip(lesion, voxels, strict=True) if whole])
    return BatchShares(len(lesion), len(lesion) * recipe.batch, shares or {}, sum(lesion) / max(1, sum(voxels)))

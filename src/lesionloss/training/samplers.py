"""Patch samplers by text: `weighted`, `positive_negative(negative=2)`, `grid(overlap=16)`, `whole`, `slices`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from lesionloss.core.ranges import Range
from lesionloss.data.batches.augmentation import CHEAP, parse_augmentation
from lesionloss.data.batches.augmentation_presets import Steps
from lesionloss.data.batches.patch_samplers import PositiveNegative, Sampler, WeightedCrop, WholeImages, WholeSlices
from lesionloss.data.batches.shared_pools import Pool, SharedPools
from lesionloss.data.batches.sliding_grid import SlidingGrid
from lesionloss.training.mixture import read_mixture
from lesionloss.training.setting_texts import format_setting, read_setting
from lesionloss.training.trial import TrainingRecipe

Count = Annotated[int, Range(0)]


@dataclass(frozen=True)
class WeightedSampling:
    """`WeightedCrop` with the recipe's patch, jitter and foreground share."""

    def of(self, recipe: TrainingRecipe) -> Sampler:
        """Return the sampler for a recipe."""
        return WeightedCrop(recipe.patch, recipe.jitter, recipe.foreground_share)


@dataclass(frozen=True)
class RatioSampling:
    """`PositiveNegative` with the recipe's patch and jitter."""

    positive: Count = 1
    negative: Count = 1

    def of(self, recipe: TrainingRecipe) -> Sampler:
        """Return the sampler for a recipe."""
        return PositiveNegative(recipe.patch, self.positive, self.negative, recipe.jitter)


@dataclass(frozen=True)
class GridSampling:
    """`SlidingGrid` with the recipe's patch; `flipped` is an axis, None for windows as they are only."""

    overlap: Count = 16
    flipped: int | None = 0
    only_lesion: bool = True

    def of(self, recipe: TrainingRecipe) -> Sampler:
        """Return the sampler for a recipe."""
        return SlidingGrid(recipe.patch, self.overlap, self.flipped, self.only_lesion)


@dataclass(frozen=True)
class WholeImageSampling:
    """`WholeImages`, padded to the recipe's patch."""

    padding_counts: bool = False

    def of(self, recipe: TrainingRecipe) -> Sampler:
        """Return the sampler for a recipe."""
        return WholeImages(recipe.patch, padding_counts=self.padding_counts)


@dataclass(frozen=True)
class WholeSliceSampling:
    """`WholeSlices`, padded to the recipe's patch."""

    padding_counts: bool = False

    def of(self, recipe: TrainingRecipe) -> Sampler:
        """Return the sampler for a recipe."""
        return WholeSlices(recipe.patch, self.padding_counts)


SAMPLERS: Mapping[str, type[Any]] = {
    "weighted": WeightedSampling,
    "positive_negative": RatioSampling,
    "grid": GridSampling,
    "whole": WholeImageSampling,
    "slices": WholeSliceSampling,
}


def sampler_of(recipe: TrainingRecipe) -> Sampler:
    """Return the sampler of a recipe.

    Raises:
        UsageError: Unknown name or setting, or a value out of range.
    """
    sampler: Sampler = read_setting(recipe.sampler, SAMPLERS, "sampler").of(recipe)
    mixtures = map(read_mixture, recipe.mix)
    pools = tuple(Pool(mixture.prefix, mixture.share) for mixture in mixtures if mixture.share)
    return SharedPools(sampler, pools) if pools else sampler


def check_sampler(text: str) -> str:
    """Return the canonical text of a sampler.

    Raises:
        UsageError: As `sampler_of`.
    """
    return format_setting(read_setting(text, SAMPLERS, "sampler"), SAMPLERS)


def augmentation_of(recipe: TrainingRecipe) -> Steps:
    """Return the augmentation steps of a recipe.

    Raises:
        UsageError: A step has no known name.
    """
    if isinstance(recipe.augment, bool):
        return CHEAP if recipe.augment else ()
    return parse_augmentation(recipe.augment)

"""Where patches are taken from, by text: `weighted`, `positive_negative(negative=2)`, `grid(overlap=16)`, `whole`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from lesionloss.core.ranges import Range
from lesionloss.data.batches.augmentation import CHEAP, parse_augmentation
from lesionloss.data.batches.augmentation_presets import Steps
from lesionloss.data.batches.patch_samplers import PositiveNegative, Sampler, WeightedCrop, WholeImages
from lesionloss.data.batches.sliding_grid import SlidingGrid
from lesionloss.training.setting_texts import format_record, read_record
from lesionloss.training.trial import Recipe

Count = Annotated[int, Range(0)]


@dataclass(frozen=True)
class Weighted:
    """`WeightedCrop` with the recipe's patch, jitter and share of lesions."""

    def of(self, recipe: Recipe) -> Sampler:
        return WeightedCrop(recipe.patch, recipe.jitter, recipe.foreground_share)


@dataclass(frozen=True)
class Ratio:
    """`PositiveNegative` with the recipe's patch and jitter."""

    positive: Count = 1
    negative: Count = 1

    def of(self, recipe: Recipe) -> Sampler:
        return PositiveNegative(recipe.patch, self.positive, self.negative, recipe.jitter)


@dataclass(frozen=True)
class Grid:
    """`SlidingGrid` with the recipe's patch; `flipped` is an axis, None for windows as they are only."""

    overlap: Count = 16
    flipped: int | None = 0
    only_lesion: bool = True

    def of(self, recipe: Recipe) -> Sampler:
        return SlidingGrid(recipe.patch, self.overlap, self.flipped, self.only_lesion)


@dataclass(frozen=True)
class Whole:
    """`WholeImages`, padded to the recipe's patch."""

    padding_counts: bool = False

    def of(self, recipe: Recipe) -> Sampler:
        return WholeImages(recipe.patch, padding_counts=self.padding_counts)


KINDS: Mapping[str, type[Any]] = {"weighted": Weighted, "positive_negative": Ratio, "grid": Grid, "whole": Whole}


def sampler_of(recipe: Recipe) -> Sampler:
    """The sampler of a recipe. Raises UsageError with what is known and allowed."""
    sampler: Sampler = read_record(recipe.sampler, KINDS, "sampler").of(recipe)
    return sampler


def check_sampler(text: str) -> str:
    """The canonical text of a sampler. Raises UsageError as `sampler_of` does."""
    return format_record(read_record(text, KINDS, "sampler"), KINDS)


def augmentation_of(recipe: Recipe) -> Steps:
    """The steps of a recipe's augmentation. Raises UsageError with the nearest known name."""
    if isinstance(recipe.augment, bool):
        return CHEAP if recipe.augment else ()
    return parse_augmentation(recipe.augment)

"""Intensity augmentation: each visit (or contrast) is changed apart from the others, as scanners differ.

Here the steps draw; what was drawn stands in `intensity_changes`. Voxels that are 0 in all visits (outside the brain,
padding) stay 0. Images are z-scores: factors act about the mean.
"""

from dataclasses import dataclass
from typing import Annotated, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from lesionloss.core.ranges import Positive, Range, Share
from lesionloss.data.batches.intensity_changes import (
    AddedNoise,
    BiasGain,
    Gain,
    IntensityChange,
    Power,
    Smoothing,
    Stretch,
)
from lesionloss.data.batches.patches import Size
from lesionloss.data.batches.transforms import check_low_high

Factor = Annotated[float, Range(0, 10)]
Deviations = Annotated[float, Range(0, 10)]
Width = Annotated[float, Range(0, 20)]


@runtime_checkable
class IntensityTransform(Protocol):
    """A transform that changes intensities and moves nothing."""

    def draw_change(self, visits: int, size: Size, rng: np.random.Generator) -> IntensityChange | None:
        """Draw how the intensities of a patch change.

        Args:
            visits: Number of visits or contrasts.
            size: Voxels of the patch along each axis.
            rng: The generator that draws.

        Returns:
            The change, or None where nothing changes.
        """
        ...


@dataclass(frozen=True)
class Rescale:
    """Multiply each visit by a number from 1 - `scale` to 1 + `scale`, and add one from -`shift` to `shift`.

    Scanner gain and offset differ between visits by about a tenth of a standard deviation once both are z-scored.
    """

    scale: Factor = 0.1
    shift: Deviations = 0.1

    def draw_change(self, visits: int, size: Size, rng: np.random.Generator) -> IntensityChange | None:
        """See `IntensityTransform`."""
        scale = rng.uniform(1 - self.scale, 1 + self.scale, size=visits).astype(np.float32)
        shift = rng.uniform(-self.shift, self.shift, size=visits).astype(np.float32)
        return Gain(scale, shift)


@dataclass(frozen=True)
class Brightness:
    """Multiply each visit by a factor from `low` to `high`."""

    low: Factor = 0.75
    high: Factor = 1.25
    probability: Share = 0.5

    def __post_init__(self) -> None:
        """Check the settings."""
        check_low_high(self.low, self.high, "brightness")

    def draw_change(self, visits: int, size: Size, rng: np.random.Generator) -> IntensityChange | None:
        """See `IntensityTransform`."""
        if rng.random() >= self.probability:
            return None
        return Gain(rng.uniform(self.low, self.high, size=visits).astype(np.float32))


@dataclass(frozen=True)
class Contrast:
    """Stretch each visit about its mean in the patch by a factor from `low` to `high`, within its old range."""

    low: Factor = 0.75
    high: Factor = 1.25
    probability: Share = 0.5

    def __post_init__(self) -> None:
        """Check the settings."""
        check_low_high(self.low, self.high, "contrast")

    def draw_change(self, visits: int, size: Size, rng: np.random.Generator) -> IntensityChange | None:
        """See `IntensityTransform`."""
        if rng.random() >= self.probability:
            return None
        return Stretch(rng.uniform(self.low, self.high, size=visits).astype(np.float32))


@dataclass(frozen=True)
class Gamma:
    """Raise each visit, scaled to 0 to 1, to a power from `low` to `high` (MONAI's AdjustContrast)."""

    low: Factor = 0.7
    high: Factor = 1.5
    probability: Share = 0.5

    def __post_init__(self) -> None:
        """Check the settings."""
        check_low_high(self.low, self.high, "gamma")

    def draw_change(self, visits: int, size: Size, rng: np.random.Generator) -> IntensityChange | None:
        """See `IntensityTransform`."""
        if rng.random() >= self.probability:
            return None
        return Power(rng.uniform(self.low, self.high, size=visits))


@dataclass(frozen=True)
class Noise:
    """Add Gaussian noise; its standard deviation is drawn for each visit from 0 to `sd` (MONAI's RandGaussianNoise)."""

    sd: Deviations = 0.1
    probability: Share = 0.5

    def draw_change(self, visits: int, size: Size, rng: np.random.Generator) -> IntensityChange | None:
        """See `IntensityTransform`."""
        if rng.random() >= self.probability:
            return None
        state, noise = legacy_state(rng), []
        for _ in range(visits):
            state.random_sample()  # MONAI draws whether it acts, even where it always does
            noise.append(state.normal(0.0, state.uniform(0, self.sd), size=size).astype(np.float32))
        return AddedNoise(np.stack(noise))


@dataclass(frozen=True)
class Blur:
    """Smooth each visit by a Gaussian; its standard deviation in voxels is drawn for each from `low` to `high`."""

    low: Width = 0.5
    high: Width = 1.0
    probability: Share = 0.5

    def __post_init__(self) -> None:
        """Check the settings."""
        check_low_high(self.low, self.high, "blur")

    def draw_change(self, visits: int, size: Size, rng: np.random.Generator) -> IntensityChange | None:
        """See `IntensityTransform`."""
        if rng.random() >= self.probability:
            return None
        return Smoothing(rng.uniform(self.low, self.high, size=visits))


@dataclass(frozen=True)
class BiasField:
    """Multiply by a smooth gain: exp of a polynomial with coefficients up to `strength` (MONAI's RandBiasField).

    A gain acts on intensities, and z-scores have lost their zero: `level`, the brain's mean in standard deviations, is
    added before and subtracted afterwards.
    """

    strength: Annotated[float, Range(0, 2)] = 0.1
    degree: Positive = 3
    level: Deviations = 4.0
    probability: Share = 0.5

    def draw_change(self, visits: int, size: Size, rng: np.random.Generator) -> IntensityChange | None:
        """See `IntensityTransform`."""
        if rng.random() >= self.probability:
            return None
        places = legendre_places(self.degree, len(size))
        coefficients = np.zeros((visits, *[self.degree + 1] * len(size)))
        state = legacy_state(rng)
        for visit in range(visits):
            state.random_sample()  # MONAI draws whether it acts, even where it always does
            coefficients[visit][places] = state.uniform(-self.strength, self.strength, len(places[0]))
        return BiasGain(coefficients, self.level)


def legendre_places(degree: int, axes: int) -> tuple[npt.NDArray[np.int64], ...]:
    """Return where MONAI's RandBiasField puts its coefficients, in its order: one array of indices for each axis."""
    if axes == 2:
        return tuple(np.asarray(place, dtype=np.int64) for place in np.tril_indices(degree + 1))
    powers = np.indices((degree + 1,) * axes).reshape(axes, -1)
    return tuple(np.asarray(place, dtype=np.int64) for place in powers[:, powers.sum(axis=0) <= degree])


def legacy_state(rng: np.random.Generator) -> np.random.RandomState:
    """Make the random state that MONAI's transforms draw from, from our generator's own bits: nothing is global."""
    return np.random.RandomState(rng.bit_generator)

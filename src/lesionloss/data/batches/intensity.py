"""Intensity augmentation: each visit (or contrast) is changed apart from the others, as scanners differ.

Voxels that are 0 in all of them (outside the brain, padding) stay 0. Images are z-scores: factors act about the mean.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Protocol, runtime_checkable

import numpy as np

from lesionloss.core.ranges import Positive, Range, Share
from lesionloss.data.batches.transforms import check_low_high
from lesionloss.data.subject import Image, Mask

Factor = Annotated[float, Range(0, 10)]
Deviations = Annotated[float, Range(0, 10)]
Width = Annotated[float, Range(0, 20)]


@runtime_checkable
class IntensityTransform(Protocol):
    """A transform that changes intensities and moves nothing."""

    def change_intensity(self, visits: Image, inside: Mask, rng: np.random.Generator) -> Image:
        """Change the intensities of a patch.

        Args:
            visits: Visits or contrasts float32 (V, *size).
            inside: Bool (*size), where any of them is not 0.
            rng: The generator that draws.

        Returns:
            New intensities (V, *size); those outside `inside` are ignored.
        """
        ...


@dataclass(frozen=True)
class Rescale:
    """Multiply each visit by a number from 1 - `scale` to 1 + `scale`, and add one from -`shift` to `shift`.

    Scanner gain and offset differ between visits by about a tenth of a standard deviation once both are z-scored.
    """

    scale: Factor = 0.1
    shift: Deviations = 0.1

    def change_intensity(self, visits: Image, inside: Mask, rng: np.random.Generator) -> Image:
        """See `IntensityTransform`."""
        scale = rng.uniform(1 - self.scale, 1 + self.scale, size=len(visits)).astype(np.float32)
        shift = rng.uniform(-self.shift, self.shift, size=len(visits)).astype(np.float32)
        each = (slice(None), *[None] * inside.ndim)
        return visits * scale[each] + shift[each] * inside


@dataclass(frozen=True)
class Brightness:
    """Multiply each visit by a factor from `low` to `high`."""

    low: Factor = 0.75
    high: Factor = 1.25
    probability: Share = 0.5

    def __post_init__(self) -> None:
        """Check the settings."""
        check_low_high(self.low, self.high, "brightness")

    def change_intensity(self, visits: Image, inside: Mask, rng: np.random.Generator) -> Image:
        """See `IntensityTransform`."""
        if rng.random() >= self.probability:
            return visits
        return np.stack([visit * np.float32(rng.uniform(self.low, self.high)) for visit in visits])


@dataclass(frozen=True)
class Contrast:
    """Stretch each visit about its mean in the patch by a factor from `low` to `high`, within its old range."""

    low: Factor = 0.75
    high: Factor = 1.25
    probability: Share = 0.5

    def __post_init__(self) -> None:
        """Check the settings."""
        check_low_high(self.low, self.high, "contrast")

    def change_intensity(self, visits: Image, inside: Mask, rng: np.random.Generator) -> Image:
        """See `IntensityTransform`."""
        if rng.random() >= self.probability or not inside.any():
            return visits
        changed = []
        for visit in visits:
            mean = visit[inside].mean()
            stretched = (visit - mean) * np.float32(rng.uniform(self.low, self.high)) + mean
            changed.append(np.clip(stretched, visit.min(), visit.max()))
        return np.stack(changed)


@dataclass(frozen=True)
class Gamma:
    """Raise each visit, scaled to 0 to 1, to a power from `low` to `high` (MONAI's AdjustContrast)."""

    low: Factor = 0.7
    high: Factor = 1.5
    probability: Share = 0.5

    def __post_init__(self) -> None:
        """Check the settings."""
        check_low_high(self.low, self.high, "gamma")

    def change_intensity(self, visits: Image, inside: Mask, rng: np.random.Generator) -> Image:
        """See `IntensityTransform`."""
        if rng.random() >= self.probability:
            return visits
        from monai.transforms.intensity.array import AdjustContrast

        return np.stack([_array(AdjustContrast(float(rng.uniform(self.low, self.high)))(visit)) for visit in visits])


@dataclass(frozen=True)
class Noise:
    """Add Gaussian noise; its standard deviation is drawn for each visit from 0 to `sd` (MONAI's RandGaussianNoise)."""

    sd: Deviations = 0.1
    probability: Share = 0.5

    def change_intensity(self, visits: Image, inside: Mask, rng: np.random.Generator) -> Image:
        """See `IntensityTransform`."""
        if rng.random() >= self.probability:
            return visits
        from monai.transforms.intensity.array import RandGaussianNoise

        noise = RandGaussianNoise(prob=1.0, std=self.sd, sample_std=True)
        noise.set_random_state(state=legacy_state(rng))
        return np.stack([_array(noise(visit)) for visit in visits])


@dataclass(frozen=True)
class Blur:
    """Smooth each visit by a Gaussian; its standard deviation in voxels is drawn for each from `low` to `high`."""

    low: Width = 0.5
    high: Width = 1.0
    probability: Share = 0.5

    def __post_init__(self) -> None:
        """Check the settings."""
        check_low_high(self.low, self.high, "blur")

    def change_intensity(self, visits: Image, inside: Mask, rng: np.random.Generator) -> Image:
        """See `IntensityTransform`."""
        if rng.random() >= self.probability:
            return visits
        from scipy.ndimage import gaussian_filter

        return np.stack([np.asarray(gaussian_filter(visit, rng.uniform(self.low, self.high))) for visit in visits])


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

    def change_intensity(self, visits: Image, inside: Mask, rng: np.random.Generator) -> Image:
        """See `IntensityTransform`."""
        if rng.random() >= self.probability:
            return visits
        from monai.transforms.intensity.array import RandBiasField

        field = RandBiasField(degree=self.degree, coeff_range=(-self.strength, self.strength), prob=1.0)
        field.set_random_state(state=legacy_state(rng))
        return np.stack([_array(field((visit + self.level)[None]))[0] - np.float32(self.level) for visit in visits])


def legacy_state(rng: np.random.Generator) -> np.random.RandomState:
    """Make the random state that MONAI's transforms need, from our generator's own bits: nothing is global."""
    return np.random.RandomState(rng.bit_generator)


def _array(image: Any) -> Image:
    """Convert what MONAI returns to a plain array."""
    return np.asarray(image, dtype=np.float32)

"""Intensity of augmentation: each visit (or contrast) is changed apart from the others, as scanners differ.

Voxels that are 0 in all of them (outside the brain, padding) stay 0. Images are z-scores: factors act about the mean.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Protocol, runtime_checkable

import numpy as np

from lesionloss.core.ranges import Positive, Range, Share
from lesionloss.data.subject import Image, Mask
from lesionloss.data.transforms import ordered

Factor = Annotated[float, Range(0, 10)]
Deviations = Annotated[float, Range(0, 10)]


@runtime_checkable
class Tone(Protocol):
    """Changes intensities and moves nothing."""

    def tone(self, visits: Image, inside: Mask, rng: np.random.Generator) -> Image:
        """New intensities (V, *size) of visits (V, *size); what lies outside `inside` (*size) may be anything."""
        ...


@dataclass(frozen=True)
class Rescale:
    """Each visit times a number from 1 - `scale` to 1 + `scale`, plus one from -`shift` to `shift`.

    Scanner gain and offset differ between visits by about a tenth of a standard deviation once both are z-scored.
    """

    scale: Factor = 0.1
    shift: Deviations = 0.1

    def tone(self, visits: Image, inside: Mask, rng: np.random.Generator) -> Image:
        """See `Tone`."""
        scale = rng.uniform(1 - self.scale, 1 + self.scale, size=len(visits)).astype(np.float32)
        shift = rng.uniform(-self.shift, self.shift, size=len(visits)).astype(np.float32)
        each = (slice(None), *[None] * inside.ndim)
        return visits * scale[each] + shift[each] * inside


@dataclass(frozen=True)
class Brightness:
    """Each visit times a factor from `low` to `high`."""

    low: Factor = 0.75
    high: Factor = 1.25
    probability: Share = 0.5

    def __post_init__(self) -> None:
        ordered(self.low, self.high, "brightness")

    def tone(self, visits: Image, inside: Mask, rng: np.random.Generator) -> Image:
        """See `Tone`."""
        if rng.random() >= self.probability:
            return visits
        return np.stack([visit * np.float32(rng.uniform(self.low, self.high)) for visit in visits])


@dataclass(frozen=True)
class Contrast:
    """Each visit stretched about its mean in the patch by a factor from `low` to `high`, within its old range."""

    low: Factor = 0.75
    high: Factor = 1.25
    probability: Share = 0.5

    def __post_init__(self) -> None:
        ordered(self.low, self.high, "contrast")

    def tone(self, visits: Image, inside: Mask, rng: np.random.Generator) -> Image:
        """See `Tone`."""
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
    """Each visit's range, taken as 0 to 1, to a power from `low` to `high` (MONAI's AdjustContrast)."""

    low: Factor = 0.7
    high: Factor = 1.5
    probability: Share = 0.5

    def __post_init__(self) -> None:
        ordered(self.low, self.high, "gamma")

    def tone(self, visits: Image, inside: Mask, rng: np.random.Generator) -> Image:
        """See `Tone`."""
        if rng.random() >= self.probability:
            return visits
        from monai.transforms.intensity.array import AdjustContrast

        return np.stack([_array(AdjustContrast(float(rng.uniform(self.low, self.high)))(visit)) for visit in visits])


@dataclass(frozen=True)
class Noise:
    """Gaussian noise; its standard deviation is drawn for each visit from 0 to `sd` (MONAI's RandGaussianNoise)."""

    sd: Deviations = 0.1
    probability: Share = 0.5

    def tone(self, visits: Image, inside: Mask, rng: np.random.Generator) -> Image:
        """See `Tone`."""
        if rng.random() >= self.probability:
            return visits
        from monai.transforms.intensity.array import RandGaussianNoise

        noise = RandGaussianNoise(prob=1.0, std=self.sd, sample_std=True)
        noise.set_random_state(state=legacy_state(rng))
        return np.stack([_array(noise(visit)) for visit in visits])


@dataclass(frozen=True)
class BiasField:
    """A smooth gain over the patch: exp of a polynomial with coefficients up to `strength` (MONAI's RandBiasField).

    A gain acts on intensities, and z-scores have lost their zero: `level`, the brain's mean in standard deviations, is
    added before and taken off afterwards.
    """

    strength: Annotated[float, Range(0, 2)] = 0.1
    degree: Positive = 3
    level: Deviations = 4.0
    probability: Share = 0.5

    def tone(self, visits: Image, inside: Mask, rng: np.random.Generator) -> Image:
        """See `Tone`."""
        if rng.random() >= self.probability:
            return visits
        from monai.transforms.intensity.array import RandBiasField

        field = RandBiasField(degree=self.degree, coeff_range=(-self.strength, self.strength), prob=1.0)
        field.set_random_state(state=legacy_state(rng))
        return np.stack([_array(field((visit + self.level)[None]))[0] - np.float32(self.level) for visit in visits])


def legacy_state(rng: np.random.Generator) -> np.random.RandomState:
    """The random state MONAI's transforms ask for, drawing from our generator's own bits: nothing global is touched."""
    return np.random.RandomState(rng.bit_generator)


def _array(image: Any) -> Image:
    """What MONAI gives back, as a plain array."""
    return np.asarray(image, dtype=np.float32)

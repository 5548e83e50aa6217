"""What intensity augmentation has drawn for the visits of one patch, and its effect in main memory.

`device_intensity` has the same effects on a device, for the patches of a batch at once.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lesionloss.data.subject import Image, Mask

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Gain:
    """Each visit is multiplied by its `scale` (V,), and its `shift` (V,) is added inside."""

    scale: Floats
    shift: Floats | None = None

    def change(self, visits: Image, inside: Mask) -> Image:
        """Return new intensities (V, *size); `inside` (*size) is where any visit is not 0."""
        each = (slice(None), *[None] * inside.ndim)
        scaled = visits * self.scale[each]
        return scaled if self.shift is None else scaled + self.shift[each] * inside


@dataclass(frozen=True, eq=False)
class Stretch:
    """Each visit is stretched about its mean inside by its factor (V,), within its old range."""

    factors: Floats

    def change(self, visits: Image, inside: Mask) -> Image:
        """Return new intensities (V, *size); `inside` (*size) is where any visit is not 0."""
        if not inside.any():
            return visits
        changed = []
        for visit, factor in zip(visits, self.factors, strict=True):
            mean = visit[inside].mean()
            changed.append(np.clip((visit - mean) * factor + mean, visit.min(), visit.max()))
        return np.stack(changed)


@dataclass(frozen=True, eq=False)
class Power:
    """Each visit, scaled to 0 to 1, is raised to its exponent (V,)."""

    exponents: Doubles

    def change(self, visits: Image, inside: Mask) -> Image:
        """Return new intensities (V, *size); `inside` (*size) is where any visit is not 0."""
        from monai.transforms.intensity.array import AdjustContrast

        powers = (AdjustContrast(float(each))(visit) for visit, each in zip(visits, self.exponents, strict=True))
        return np.stack([np.asarray(power, dtype=np.float32) for power in powers])


@dataclass(frozen=True, eq=False)
class AddedNoise:
    """Noise (V, *size) is added."""

    noise: Floats

    def change(self, visits: Image, inside: Mask) -> Image:
        """Return new intensities (V, *size); `inside` (*size) is where any visit is not 0."""
        return visits + self.noise


@dataclass(frozen=True, eq=False)
class Smoothing:
    """Each visit is smoothed by a Gaussian with its standard deviation (V,), in voxels."""

    deviations: Doubles

    def change(self, visits: Image, inside: Mask) -> Image:
        """Return new intensities (V, *size); `inside` (*size) is where any visit is not 0."""
        from scipy.ndimage import gaussian_filter

        each = zip(visits, self.deviations, strict=True)
        return np.stack([np.asarray(gaussian_filter(visit, deviation)) for visit, deviation in each])


@dataclass(frozen=True, eq=False)
class BiasGain:
    """Each visit plus `level` is multiplied by exp of a polynomial, and `level` is subtracted again.

    Attributes:
        coefficients: Of products of Legendre polynomials over -1 to 1 (V, degree + 1, degree + 1, ...).
        level: The brain's mean in standard deviations.
    """

    coefficients: Doubles
    level: float

    def change(self, visits: Image, inside: Mask) -> Image:
        """Return new intensities (V, *size); `inside` (*size) is where any visit is not 0."""
        from numpy.polynomial.legendre import leggrid2d, leggrid3d

        along = [np.linspace(-1.0, 1.0, length, dtype=np.float32) for length in inside.shape]
        changed = []
        for visit, coefficients in zip(visits, self.coefficients, strict=True):
            if inside.ndim == 2:
                polynomial = leggrid2d(along[0], along[1], coefficients)
            else:
                polynomial = leggrid3d(along[0], along[1], along[2], coefficients)
            gained = ((visit + self.level) * np.exp(polynomial)).astype(np.float32)
            changed.append(gained - np.float32(self.level))
        return np.stack(changed)


IntensityChange = Gain | Stretch | Power | AddedNoise | Smoothing | BiasGain

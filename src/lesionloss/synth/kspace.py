"""The measurement in k-space: thermal noise, a limited part of k-space, and a head that moves meanwhile."""

import numpy as np
from numpy.typing import NDArray

from lesionloss.synth.fields import Float

_STILL = 0.12  # the middle part of k-space along the phase encoding; it decides where the head seems to be


def magnitude(
    generator: np.random.Generator, image: Float, noise: float, kept: float, motion: tuple[float, int]
) -> Float:
    """Measure slices: the modulus of a signal with noise in two channels, so Rician (Gudbjartsson & Patz 1995).

    Args:
        generator: Draws noise and motion.
        image: Signal float32 (X, Y, slices).
        noise: Standard deviation of each channel in the result.
        kept: Share of k-space that is measured along both axes (below 1: Gibbs ringing).
        motion: How many voxels the head moves, and the axis of the phase encoding.

    Returns:
        Magnitude image (X, Y, slices).
    """
    from scipy import fft

    real, imaginary = generator.standard_normal((2, *image.shape), dtype=np.float32)
    if kept >= 1 and motion[0] == 0:
        real *= np.float32(noise)
        real += image
        imaginary *= np.float32(noise)
        return np.asarray(np.sqrt(real**2 + imaginary**2))
    scale = np.float32(noise / kept)  # what is left out takes its share of the noise along
    measured = np.empty(image.shape, np.complex64)
    measured.real = image + scale * real
    measured.imag = scale * imaginary
    spectrum = fft.fft2(measured, axes=(0, 1), overwrite_x=True)
    frequencies = [fft.fftfreq(n).astype(np.float32) for n in image.shape[:2]]
    for axis, frequency in enumerate(frequencies):
        window = (np.abs(frequency) <= 0.5 * kept).astype(np.float32)
        spectrum *= window.reshape([-1 if axis == other else 1 for other in range(3)])
    if motion[0] > 0:
        spectrum *= _motion(generator, frequencies, *motion)[:, :, None]
    return np.abs(fft.ifft2(spectrum, axes=(0, 1), overwrite_x=True))


def _motion(
    generator: np.random.Generator, frequencies: list[Float], size: float, phase_axis: int
) -> NDArray[np.complex64]:
    """Compute phases of k-space (X, Y) for a head that is elsewhere during one to three stretches of the encoding."""
    lines = frequencies[phase_axis]
    shifts = np.zeros((2, len(lines)), np.float32)
    for _ in range(int(generator.integers(1, 4))):
        first, width = generator.uniform(-0.5, 0.45), generator.uniform(0.03, 0.2)
        away = (lines >= first) & (lines < first + width) & (np.abs(lines) > _STILL / 2)
        shifts[:, away] = generator.normal(0, size, (2, 1))
    if phase_axis == 0:
        moves = frequencies[0][:, None] * shifts[0][:, None] + frequencies[1][None, :] * shifts[1][:, None]
    else:
        moves = frequencies[0][:, None] * shifts[0][None, :] + frequencies[1][None, :] * shifts[1][None, :]
    return np.asarray(np.exp(np.complex64(-2j * np.pi) * moves), dtype=np.complex64)

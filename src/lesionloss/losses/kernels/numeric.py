"""Exponential and logarithms in single precision, written out so that compilers can work on many numbers at once."""

# numba compiles these functions from their arguments: annotations would say nothing to it, and mypy can't see through.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, misc"

import numpy as np
from numba import njit

from lesionloss.losses.kernels.sharing import SEAM

BLOCK = SEAM
f32 = np.float32
_LOG2_E = f32(1.4426950408889634)
_LN2_HIGH, _LN2_LOW = f32(0.693359375), f32(-2.12194440e-4)  # their sum is log 2; the first has few digits
_SQRT_HALF = f32(0.70710678)
TINY = f32(1.2e-38)

exactly = njit(fastmath={"contract"}, nogil=True, cache=True, error_model="numpy")
summing = njit(fastmath={"contract", "reassoc", "nsz"}, nogil=True, cache=True, error_model="numpy")


@exactly
def exponential(x):
    """e^x for x <= 0, to 1.2e-7; below -87 it stays e^-87, which is next to nothing."""
    x = x if x > f32(-87.0) else f32(-87.0)
    k = np.int32(x * _LOG2_E - f32(0.5))  # the nearest whole number, as x is not positive
    n = f32(k)
    r = x - n * _LN2_HIGH - n * _LN2_LOW
    y = f32(1.3814222e-3)  # (e^r - 1 - r) / r², where its relative error in e^r is smallest: 3e-9
    y = y * r + f32(8.3688991e-3)
    y = y * r + f32(4.1668404e-2)
    y = y * r + f32(1.6666520e-1)
    y = y * r + f32(4.9999994e-1)
    y = y * r * r + r + f32(1.0)
    return y * np.int32((k + np.int32(127)) << np.int32(23)).view(np.float32)


@exactly
def log_ratio(s):
    """log((1 + s) / (1 - s)) for s in 0 to 1/3: a series in s², so that small s keep all digits."""
    z = s * s
    y = f32(1 / 15)
    y = y * z + f32(1 / 13)
    y = y * z + f32(1 / 11)
    y = y * z + f32(1 / 9)
    y = y * z + f32(1 / 7)
    y = y * z + f32(1 / 5)
    y = y * z + f32(1 / 3)
    return f32(2.0) * (s + s * z * y)


@exactly
def logarithm(x):
    """log x for normal positive x."""
    bits = np.float32(x if x > TINY else TINY).view(np.int32)
    exponent = f32((bits >> np.int32(23)) - np.int32(126))
    m = np.int32((bits & np.int32(0x007FFFFF)) | np.int32(0x3F000000)).view(np.float32)
    low = m < _SQRT_HALF
    exponent = exponent - f32(1.0) if low else exponent
    m = m + m if low else m
    s = (m - f32(1.0)) / (m + f32(1.0))  # within ±0.172
    return exponent * _LN2_HIGH + (log_ratio(s) + exponent * _LN2_LOW)

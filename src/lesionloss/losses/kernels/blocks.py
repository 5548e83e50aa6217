"""Steps of the compiled loops: one operation on a block of numbers each. Only sums may be reordered."""

# numba compiles these functions from their arguments: annotations would say nothing to it, and mypy can't see through.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, misc"

import numpy as np

from lesionloss.losses.kernels.numeric import TINY, exactly, exponential, f32, logarithm, summing
from lesionloss.losses.kernels.terms import SMALLEST_WRONG

_SMALLEST_WRONG = f32(SMALLEST_WRONG)


@exactly
def raise_to(x, power, out, n):
    """out = x^power for x in 0 to 1 and power >= 0."""
    if power == 0:
        out[:n] = f32(1.0)
    elif power == 1:
        out[:n] = x[:n]
    elif power == 2:
        for i in range(n):
            out[i] = x[i] * x[i]
    elif power == 0.5:
        for i in range(n):
            out[i] = np.sqrt(x[i])
    else:
        exponent = f32(power)
        for i in range(n):
            raised = exponential(exponent * logarithm(x[i]))
            out[i] = raised if x[i] > TINY else f32(0.0)


@summing
def total(x, n):
    result = f32(0.0)
    for i in range(n):
        result += x[i]
    return np.float64(result)


@summing
def dot(x, y, n):
    result = f32(0.0)
    for i in range(n):
        result += x[i] * y[i]
    return np.float64(result)


@exactly
def maximum(x, largest, n):
    for i in range(n):
        largest[i] = x[i] if x[i] > largest[i] else largest[i]


@exactly
def exponentials(x, largest, out, n):
    for i in range(n):
        out[i] = exponential(x[i] - largest[i])


@exactly
def add(x, into, n):
    for i in range(n):
        into[i] += x[i]


@exactly
def add_times(x, factor, into, n):
    for i in range(n):
        into[i] += factor * x[i]


@exactly
def times(factors, into, n):
    for i in range(n):
        into[i] *= factors[i]


@exactly
def clamped(q, gamma, out, n):
    """The base of a focal power."""
    lowest = _SMALLEST_WRONG if gamma < 1 else f32(0.0)
    for i in range(n):
        out[i] = q[i] if q[i] > lowest else lowest


@exactly
def multiply_add(q, coefficient, into, n):
    """One step of Horner's scheme."""
    for i in range(n):
        into[i] = into[i] * q[i] + coefficient


@exactly
def subtract(x, into, n):
    for i in range(n):
        into[i] -= x[i]


@exactly
def subtract_product(x, y, into, n):
    for i in range(n):
        into[i] -= x[i] * y[i]

"""Machine code for the background voxels of one image, compiled by numba when this module is first used.

Single precision, in blocks that stay in the nearest cache. The exponential and the logarithms are written out, because
a loop that calls those of a library works on one number at a time. Only sums may be reordered by the compiler.
"""

# numba compiles these functions from their arguments: annotations would say nothing to it, and mypy can't see through.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, misc"

import numpy as np
from numba import njit

from lesionloss.kernels.terms import SMALLEST_WRONG

BLOCK = 1024
CROSS_ENTROPY, FOCAL, TAIL = 0, 1, 2

_f = np.float32
_LOG2_E = _f(1.4426950408889634)
_LN2_HIGH, _LN2_LOW = _f(0.693359375), _f(-2.12194440e-4)  # their sum is log 2; the first has few digits
_SQRT_HALF = _f(0.70710678)
_TINY = _f(1.2e-38)
_SMALLEST_WRONG = _f(SMALLEST_WRONG)

_exactly = njit(fastmath={"contract"}, nogil=True, cache=True, error_model="numpy")
_summing = njit(fastmath={"contract", "reassoc", "nsz"}, nogil=True, cache=True, error_model="numpy")


@_exactly
def exponential(x):
    """e^x for x in -87 to 88, to 1.2e-7."""
    x = min(max(x, _f(-87.0)), _f(88.0))
    n = np.floor(x * _LOG2_E + _f(0.5))
    r = x - n * _LN2_HIGH - n * _LN2_LOW
    y = _f(1 / 5040)
    y = y * r + _f(1 / 720)
    y = y * r + _f(1 / 120)
    y = y * r + _f(1 / 24)
    y = y * r + _f(1 / 6)
    y = y * r + _f(0.5)
    y = y * r * r + r + _f(1.0)
    return y * np.int32((np.int32(n) + np.int32(127)) << np.int32(23)).view(np.float32)


@_exactly
def log_ratio(s):
    """log((1 + s) / (1 - s)) for s in 0 to 1/3: a series in s², so that small s keep all digits."""
    z = s * s
    y = _f(1 / 15)
    y = y * z + _f(1 / 13)
    y = y * z + _f(1 / 11)
    y = y * z + _f(1 / 9)
    y = y * z + _f(1 / 7)
    y = y * z + _f(1 / 5)
    y = y * z + _f(1 / 3)
    return _f(2.0) * (s + s * z * y)


@_exactly
def logarithm(x):
    """log x for normal positive x."""
    bits = np.float32(max(x, _TINY)).view(np.int32)
    exponent = _f((bits >> np.int32(23)) - np.int32(126))
    m = np.int32((bits & np.int32(0x007FFFFF)) | np.int32(0x3F000000)).view(np.float32)
    low = m < _SQRT_HALF
    exponent = exponent - _f(1.0) if low else exponent
    m = m + m if low else m
    s = (m - _f(1.0)) / (m + _f(1.0))  # within ±0.172
    return exponent * _LN2_HIGH + (log_ratio(s) + exponent * _LN2_LOW)


@_exactly
def raise_to(x, power, out, n):
    """out = x^power for x in 0 to 1 and power >= 0."""
    if power == 0:
        out[:n] = _f(1.0)
    elif power == 1:
        out[:n] = x[:n]
    elif power == 2:
        for i in range(n):
            out[i] = x[i] * x[i]
    elif power == 0.5:
        for i in range(n):
            out[i] = np.sqrt(x[i])
    else:
        exponent = _f(power)
        for i in range(n):
            raised = exponential(exponent * logarithm(x[i]))
            out[i] = raised if x[i] > _TINY else _f(0.0)


@_summing
def total(x, n):
    result = _f(0.0)
    for i in range(n):
        result += x[i]
    return np.float64(result)


@_summing
def dot(x, y, n):
    result = _f(0.0)
    for i in range(n):
        result += x[i] * y[i]
    return np.float64(result)


@_exactly
def read_one(z, n, p, rest, ce, with_logs):
    """p, 1 - p and ce = -log(1 - p) of a sigmoid."""
    for i in range(n):
        e = exponential(-abs(z[i]))
        high = _f(1.0) / (_f(1.0) + e)
        low = e * high
        p[i] = high if z[i] >= 0 else low
        rest[i] = low if z[i] >= 0 else high
        ce[i] = e
    if with_logs:
        for i in range(n):
            ce[i] = max(z[i], _f(0.0)) + log_ratio(ce[i] / (_f(2.0) + ce[i]))


@_exactly
def read_many(z, at, n, p, q, rest, ce, with_logs):
    """Softmax: p of the lesion classes, q their sum, 1 - q and ce = -log(1 - q); uses p[0] for the largest logit."""
    largest, of_background = p[0], rest
    for i in range(n):
        largest[i] = z[0, at + i]
    for c in range(1, z.shape[0]):
        for i in range(n):
            largest[i] = max(largest[i], z[c, at + i])
    for i in range(n):
        of_background[i] = exponential(z[0, at + i] - largest[i])
        q[i] = _f(0.0)
    for c in range(1, z.shape[0]):
        for i in range(n):
            e = exponential(z[c, at + i] - largest[i])
            p[c, i] = e
            q[i] += e
    for i in range(n):
        ce[i] = of_background[i] + q[i]
        q[i] /= ce[i]
        rest[i] = of_background[i] / ce[i]
    for c in range(1, z.shape[0]):
        for i in range(n):
            p[c, i] /= ce[i]
    if with_logs:
        for i in range(n):
            near = log_ratio(min(q[i], _f(0.5)) / (_f(2.0) - min(q[i], _f(0.5))))
            far = logarithm(ce[i]) + (largest[i] - z[0, at + i])
            ce[i] = near if q[i] <= _f(0.5) else far


@_exactly
def leave_out(at, n, lesions, valid, p, q, ce):
    """Zeros where a voxel is no background voxel."""
    first = np.searchsorted(lesions, at)
    for k in range(first, lesions.size):
        i = lesions[k] - at
        if i >= n:
            break
        p[1:, i] = _f(0.0)
        q[i] = _f(0.0)
        ce[i] = _f(0.0)
    if valid.size:
        for i in range(n):
            kept = _f(1.0) if valid[at + i] else _f(0.0)
            q[i] *= kept
            ce[i] *= kept
        for c in range(1, p.shape[0]):
            for i in range(n):
                p[c, i] *= _f(1.0) if valid[at + i] else _f(0.0)


@_exactly
def read(z, at, n, lesions, valid, p, q, rest, ce, with_logs):
    if z.shape[0] == 1:
        read_one(z[0, at : at + n], n, p[1], rest, ce, with_logs)
        q[:n] = p[1, :n]
    else:
        read_many(z, at, n, p, q, rest, ce, with_logs)
    leave_out(at, n, lesions, valid, p, q, ce)


@_exactly
def clamped(q, gamma, out, n):
    """The base of a focal power."""
    lowest = _SMALLEST_WRONG if gamma < 1 else _f(0.0)
    for i in range(n):
        out[i] = max(q[i], lowest)


@_exactly
def tail(ce, q, gamma, junction, terms, out, n):
    """Σ q^j / j from gamma on: by its first terms where q is small, else as what the others leave of ce."""
    last = gamma + terms - 1
    for i in range(n):
        head, raised = _f(0.0), q[i]
        for j in range(1, gamma):
            head += raised / _f(j)
            raised *= q[i]
        series = _f(1.0) / _f(last)
        for k in range(terms - 1):
            series = series * q[i] + _f(1.0) / _f(last - 1 - k)
        out[i] = series * raised if q[i] < junction else ce[i] - head


@_exactly
def term_sum(term, ce, q, a, b, n):
    """Σ of one term (kind, gamma, junction, number of terms) over a block; a and b are scratch."""
    kind, gamma = int(term[0]), term[1]
    if kind == CROSS_ENTROPY or (kind == FOCAL and gamma == 0) or (kind == TAIL and gamma == 1):
        return total(ce, n)
    if kind == FOCAL:
        clamped(q, gamma, a, n)
        raise_to(a, gamma, b, n)
        return dot(b, ce, n)
    tail(ce, q, int(gamma), _f(term[2]), int(term[3]), a, n)
    return total(a, n)


@_exactly
def add_term_slope(term, weight, ce, q, rest, a, b, into, n):
    """into += weight · d term / d ce."""
    kind, gamma, w = int(term[0]), term[1], _f(weight)
    if kind == CROSS_ENTROPY or (kind == FOCAL and gamma == 0) or (kind == TAIL and gamma == 1):
        for i in range(n):
            into[i] += w
    elif kind == FOCAL:
        clamped(q, gamma, a, n)
        raise_to(a, gamma - 1 if gamma >= 1 else gamma, b, n)
        g = _f(gamma)
        if gamma >= 1:
            for i in range(n):
                into[i] += w * b[i] * (a[i] + g * rest[i] * ce[i])
        else:
            for i in range(n):
                into[i] += w * b[i] * (_f(1.0) + g * rest[i] * (ce[i] / a[i]))
    else:
        raise_to(q, gamma - 1, a, n)
        for i in range(n):
            into[i] += w * a[i]


@_exactly
def sums(z, start, stop, lesions, valid, counting, powers, terms, result):
    """Add the raw sums of the background voxels start to stop to result (see `lesionloss.kernels.plan.Raw`)."""
    classes = max(2, z.shape[0])
    p, work = np.empty((classes, BLOCK), np.float32), np.empty((5, BLOCK), np.float32)
    q, rest, ce, a, b = work[0], work[1], work[2], work[3], work[4]
    for at in range(start, stop, BLOCK):
        n = min(BLOCK, stop - at)
        read(z, at, n, lesions, valid, p, q, rest, ce, len(terms) > 0)
        k = 0
        if counting:
            for c in range(1, classes):
                result[k] += total(p[c], n)
                k += 1
        for power in powers:
            for c in range(1, classes):
                if power == 2:
                    result[k] += dot(p[c], p[c], n)
                else:
                    raise_to(p[c], power, a, n)
                    result[k] += total(a, n)
                k += 1
            raise_to(q, power, a, n)
            result[k] += total(a, n)
            k += 1
        for t in range(len(terms)):
            result[k] += term_sum(terms[t], ce, q, a, b, n)
            k += 1


@_exactly
def gradient(z, start, stop, lesions, valid, counting, powers, terms, weights, out):
    """Write d(weights · raw sums) / d logits of voxels start to stop into out (C, V)."""
    classes = max(2, z.shape[0])
    curved = False
    for t in range(len(terms)):
        curved = curved or terms[t, 0] == FOCAL
    p, work = np.empty((classes, BLOCK), np.float32), np.empty((6, BLOCK), np.float32)
    slopes = np.empty((classes, BLOCK), np.float32)
    q, rest, ce, a, b, common = work[0], work[1], work[2], work[3], work[4], work[5]
    for at in range(start, stop, BLOCK):
        n = min(BLOCK, stop - at)
        read(z, at, n, lesions, valid, p, q, rest, ce, curved)
        common[:n] = _f(0.0)
        k = classes - 1 if counting else 0
        for c in range(1, classes):
            slopes[c, :n] = _f(weights[c - 1]) if counting else _f(0.0)
        for power in powers:
            for c in range(1, classes):
                raise_to(p[c], power - 1, a, n)
                w = _f(power * weights[k + c - 1])
                for i in range(n):
                    slopes[c, i] += w * a[i]
            raise_to(q, power - 1, a, n)
            w = _f(power * weights[k + classes - 1])
            for c in range(1, classes):
                for i in range(n):
                    slopes[c, i] += w * a[i]
            k += classes
        for t in range(len(terms)):
            add_term_slope(terms[t], weights[k + t], ce, q, rest, a, b, common, n)
        if z.shape[0] == 1:
            for i in range(n):
                out[0, at + i] = p[1, i] * (slopes[1, i] * rest[i] + common[i])
        else:
            write_many(p, slopes, common, a, at, n, out)


@_exactly
def write_many(p, slopes, common, of_background, at, n, out):
    for c in range(1, p.shape[0]):
        for i in range(n):
            common[i] -= slopes[c, i] * p[c, i]
    of_background[:n] = _f(0.0)
    for c in range(1, p.shape[0]):
        for i in range(n):
            pull = p[c, i] * (slopes[c, i] + common[i])
            out[c, at + i] = pull
            of_background[i] -= pull
    for i in range(n):
        out[0, at + i] = of_background[i]

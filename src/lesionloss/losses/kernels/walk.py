"""Counts, also squared, and cross-entropy of one logit: each pass reads logits and labels once and keeps nothing.

Labels: 0 background, anything else lesion. Blocks without lesions, nearly all, never look at single voxels.
"""

# numba compiles these functions from their arguments: annotations would say nothing to it, and mypy can't see through.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, misc"

import numpy as np

from lesionloss.losses.kernels.columns import (
    ALARMS,
    BACKGROUND_CE,
    LARGEST,
    LESION_CE,
    LESIONS,
    MISSES,
    SQUARED_ALARMS,
    SQUARED_MISSES,
    TOTAL,
)
from lesionloss.losses.kernels.numeric import BLOCK, exactly, exponential, f32, summing

JOINED = 16  # factors that are left of a block; none is above 2^64
NOWHERE = f32(-1e4)  # a logit that counts for nothing in a background voxel


@exactly
def walk_pieces(z, y, valid, pieces, with_logs, found):
    """Add to found (R, 9) what pieces (row, start, stop) of z and y (R, V) hold; valid is (R, V), or (R, 0) for all."""
    for k in range(len(pieces)):
        row, start, stop = pieces[k]
        walk_sums(z[row, start:stop], y[row, start:stop], valid[row, start:stop], with_logs, found[row])


@exactly
def pull_pieces(z, y, valid, pieces, weights, out):
    """Write the gradient of Σ weights · found, weights (R, 9), for pieces of rows."""
    for k in range(len(pieces)):
        row, start, stop = pieces[k]
        place = out[row, start:stop]
        walk_gradient(z[row, start:stop], y[row, start:stop], valid[row, start:stop], weights[row], place)


@exactly
def walk_sums(z, y, valid, with_logs, found):
    """Add to found (9,) what a run of voxels holds."""
    e, a, b, scratch = np.empty(BLOCK, f32), np.empty(BLOCK, f32), np.empty(BLOCK, f32), np.empty(BLOCK, f32)
    for at in range(0, z.size, BLOCK):
        n = min(BLOCK, z.size - at)
        block, labels = z[at : at + n], y[at : at + n]
        largest = largest_label(labels)
        found[LARGEST] = max(found[LARGEST], largest)
        if largest > 0 or valid.size:
            found[TOTAL] += total(block)
        if largest > 0:
            add_lesions(block, labels, found)
            leave_out_lesions(block, labels, scratch)
            block = scratch[:n]
        if valid.size:
            leave_out_invalid(block, valid[at : at + n], scratch)
            block = scratch[:n]
        alarms, squares, above, all_of_it = background(block, e)
        if not (largest > 0 or valid.size):
            found[TOTAL] += all_of_it
        found[ALARMS] += alarms
        found[SQUARED_ALARMS] += squares
        if with_logs:
            e[n:] = f32(0.0)
            found[BACKGROUND_CE] += above + joined_logarithm(e, a, b)


@summing
def total(z):
    result = f32(0.0)
    for i in range(z.size):
        result += z[i]
    return np.float64(result)


@exactly
def add_lesions(z, y, found):
    for i in range(z.size):
        if y[i] > 0:
            x = np.float64(z[i])
            e = np.exp(-abs(x))
            q = e / (1.0 + e) if x >= 0 else 1.0 / (1.0 + e)
            found[MISSES] += q
            found[SQUARED_MISSES] += q * q
            found[LESION_CE] += max(-x, 0.0) + np.log1p(e)
            found[LESIONS] += 1


@exactly
def leave_out_lesions(z, y, out):
    for i in range(z.size):
        out[i] = z[i] if y[i] == 0 else NOWHERE


@exactly
def leave_out_invalid(z, valid, out):
    for i in range(z.size):
        out[i] = z[i] if valid[i] else NOWHERE


@summing
def background(z, e):
    """Σ p, Σ p², Σ max(z, 0), Σ z, and e^-|z| of each voxel."""
    alarms, squares, above, all_of_it = f32(0.0), f32(0.0), f32(0.0), f32(0.0)
    for i in range(z.size):
        x = z[i]
        small = exponential(-abs(x))
        high = f32(1.0) / (f32(1.0) + small)
        p = high if x >= 0 else small * high
        alarms += p
        squares += p * p
        above += x if x > 0 else f32(0.0)
        all_of_it += x
        e[i] = small
    return np.float64(alarms), np.float64(squares), np.float64(above), np.float64(all_of_it)


@exactly
def joined_logarithm(x, a, b):
    """Σ log(1 + x) of a block, x in 0 to 1: (1 + x)(1 + y) = 1 + (x + y + x y), which keeps the digits of small x."""
    half = BLOCK // 2
    join(x, x[half:], a, half)
    while half > JOINED:
        half //= 2
        join(a, a[half:], b, half)
        a, b = b, a
    few, many = 0.0, 0.0  # the rest in double precision, where no product of half of it overflows
    for i in range(JOINED // 2):
        x, y = np.float64(a[i]), np.float64(a[i + JOINED // 2])
        few, many = few + x + few * x, many + y + many * y
    return np.log1p(few) + np.log1p(many)


@exactly
def join(x, y, out, n):
    for i in range(n):
        out[i] = x[i] + y[i] + x[i] * y[i]


@exactly
def walk_gradient(z, y, valid, weights, out):
    """Write the gradient of Σ weights · found for a run of voxels; weights (6,) for the sums over voxels."""
    slope, curve = f32(weights[ALARMS]), f32(2.0 * weights[SQUARED_ALARMS])
    of_term = f32(weights[BACKGROUND_CE])
    for at in range(0, z.size, BLOCK):
        n = min(BLOCK, z.size - at)
        block, labels, place = z[at : at + n], y[at : at + n], out[at : at + n]
        background_gradient(block, slope, curve, of_term, place)
        if largest_label(labels) > 0:
            lesion_gradient(block, labels, weights, place)
        if valid.size:
            for i in range(n):
                place[i] = place[i] if valid[at + i] else f32(0.0)


@exactly
def largest_label(y):
    largest = np.uint8(0)
    for i in range(y.size):
        largest = max(largest, y[i])
    return largest


@exactly
def background_gradient(z, slope, curve, of_term, out):
    """p ((slope + curve p) (1 - p) + of_term)."""
    for i in range(z.size):
        x = z[i]
        small = exponential(-abs(x))
        high = f32(1.0) / (f32(1.0) + small)
        low = small * high
        p = high if x >= 0 else low
        rest = low if x >= 0 else high
        out[i] = p * ((slope + curve * p) * rest + of_term)


@exactly
def lesion_gradient(z, y, weights, out):
    for i in range(z.size):
        if y[i] > 0:
            x = np.float64(z[i])
            e = np.exp(-abs(x))
            p, q = (1.0 / (1.0 + e), e / (1.0 + e)) if x >= 0 else (e / (1.0 + e), 1.0 / (1.0 + e))
            slope = weights[MISSES] + 2.0 * weights[SQUARED_MISSES] * q
            out[i] = -q * (slope * p + weights[LESION_CE])

"""Machine code for the background voxels of one image, compiled by numba when this module is first used.

Single precision, in blocks that stay in the nearest cache. The exponential and the logarithms are written out, because
a loop that calls those of a library works on one number at a time. Only sums may be reordered by the compiler.
"""

# numba compiles these functions from their arguments: annotations would say nothing to it, and mypy can't see through.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, misc"

import numpy as np

from lesionloss.losses.kernels.blocks import (
    add,
    add_times,
    exponentials,
    maximum,
    raise_to,
    subtract,
    subtract_product,
    times,
    total,
)
from lesionloss.losses.kernels.numeric import BLOCK, exactly, exponential, f32, log_ratio, logarithm
from lesionloss.losses.kernels.term_loops import FOCAL, TAIL, add_term_slope, power_sum, term_sum

__all__ = ["FOCAL", "TAIL", "count", "find", "gradient", "sums"]


@exactly
def read_one(z, n, p, rest, ce, with_logs):
    """p, 1 - p and ce = -log(1 - p) of a sigmoid. Short loops: the compiler makes better code of them."""
    for i in range(n):
        ce[i] = exponential(-abs(z[i]))
    for i in range(n):
        high = f32(1.0) / (f32(1.0) + ce[i])
        low = ce[i] * high
        p[i] = high if z[i] >= 0 else low
        rest[i] = low if z[i] >= 0 else high
    if with_logs:
        for i in range(n):
            above = z[i] if z[i] > 0 else f32(0.0)
            ce[i] = above + log_ratio(ce[i] / (f32(2.0) + ce[i]))


@exactly
def far_or_near(q, sums, margin, ce, n):
    """-log(1 - q): from q where that is small, else from the logits; margin is the largest of them minus class 0's."""
    for i in range(n):
        half = q[i] if q[i] < f32(0.5) else f32(0.5)
        near = log_ratio(half / (f32(2.0) - half))
        far = logarithm(sums[i]) + margin[i]
        ce[i] = near if q[i] <= f32(0.5) else far


@exactly
def read_many(z, at, n, p, q, rest, ce, a, with_logs):
    """Softmax: p of the lesion classes, q their sum, 1 - q and ce = -log(1 - q); p[0] and a are scratch."""
    largest = p[0]
    largest[:n] = z[0, at : at + n]
    for c in range(1, z.shape[0]):
        maximum(z[c, at : at + n], largest, n)
    exponentials(z[0, at : at + n], largest, rest, n)
    q[:n] = f32(0.0)
    for c in range(1, z.shape[0]):
        exponentials(z[c, at : at + n], largest, p[c], n)
        add(p[c], q, n)
    a[:n] = f32(1.0) / (rest[:n] + q[:n])
    if with_logs:
        ce[:n] = rest[:n] + q[:n]
        largest[:n] -= z[0, at : at + n]
    for c in range(1, z.shape[0]):
        times(a, p[c], n)
    times(a, q, n)
    times(a, rest, n)
    if with_logs:
        far_or_near(q, ce, largest, ce, n)


@exactly
def leave_out(at, n, lesions, valid, p, q, ce, kept):
    """Zeros where a voxel is no background voxel; kept is scratch."""
    for k in range(np.searchsorted(lesions, at), lesions.size):
        i = lesions[k] - at
        if i >= n:
            break
        for c in range(1, p.shape[0]):
            p[c, i] = f32(0.0)
        q[i] = f32(0.0)
        ce[i] = f32(0.0)
    if valid.size:
        for i in range(n):
            kept[i] = f32(1.0) if valid[at + i] else f32(0.0)
        for c in range(1, p.shape[0]):
            times(kept, p[c], n)
        times(kept, q, n)
        times(kept, ce, n)


@exactly
def read(z, at, n, lesions, valid, p, q, rest, ce, a, with_logs):
    """With two classes, q is p[1]."""
    if z.shape[0] == 1:
        read_one(z[0, at : at + n], n, p[1], rest, ce, with_logs)
    else:
        read_many(z, at, n, p, q, rest, ce, a, with_logs)
    leave_out(at, n, lesions, valid, p, q, ce, a)


@exactly
def count(words):
    found = 0
    for word in words:
        found += word != 0
    return found


@exactly
def find(words, size, labels, out):
    """Write the positions of labels that are not 0, given words of so many labels each; their number."""
    found = 0
    for k in range(words.size):
        if words[k] != 0:
            for i in range(k * size, (k + 1) * size):
                if labels[i] != 0:
                    out[found] = i
                    found += 1
    return found


@exactly
def sums(z, start, stop, lesions, valid, counting, powers, terms, result):
    """Add the raw sums of the background voxels start to stop to result (see `lesionloss.losses.kernels.plan.Raw`)."""
    classes = max(2, z.shape[0])
    p, work = np.empty((classes, BLOCK), np.float32), np.empty((5, BLOCK), np.float32)
    q, rest, ce, a, b = work[0] if classes > 2 else p[1], work[1], work[2], work[3], work[4]
    for at in range(start, stop, BLOCK):
        n = min(BLOCK, stop - at)
        read(z, at, n, lesions, valid, p, q, rest, ce, a, len(terms) > 0)
        k = 0
        if counting:
            for c in range(1, classes):
                result[k] += total(p[c], n)
                k += 1
        for power in powers:
            for c in range(1, classes):
                result[k] += power_sum(p[c], power, a, n)
                k += 1
            result[k] += power_sum(q, power, a, n)
            k += 1
        for t in range(len(terms)):
            result[k] += term_sum(terms[t], ce, q, a, b, n)
            k += 1


@exactly
def gradient(z, start, stop, lesions, valid, counting, powers, terms, weights, out):
    """Write d(weights · raw sums) / d logits of voxels start to stop into out (C, V); of lesions, anything."""
    classes = max(2, z.shape[0])
    curved = False
    for t in range(len(terms)):
        curved = curved or terms[t, 0] == FOCAL
    p, work = np.empty((classes, BLOCK), np.float32), np.empty((6, BLOCK), np.float32)
    slopes = np.empty((classes, BLOCK), np.float32)
    q, rest, ce, a = work[0] if classes > 2 else p[1], work[1], work[2], work[3]
    b, common = work[4], work[5]
    for at in range(start, stop, BLOCK):
        n = min(BLOCK, stop - at)
        read(z, at, n, lesions, valid, p, q, rest, ce, a, curved)
        common[:n] = f32(0.0)
        k = classes - 1 if counting else 0
        for c in range(1, classes):
            slopes[c, :n] = f32(weights[c - 1]) if counting else f32(0.0)
        for power in powers:
            for c in range(1, classes):
                raise_to(p[c], power - 1, a, n)
                add_times(a, f32(power * weights[k + c - 1]), slopes[c], n)
            raise_to(q, power - 1, a, n)
            for c in range(1, classes):
                add_times(a, f32(power * weights[k + classes - 1]), slopes[c], n)
            k += classes
        for t in range(len(terms)):
            add_term_slope(terms[t], weights[k + t], ce, q, rest, a, b, common, n)
        if z.shape[0] == 1:
            write_one(p[1], slopes[1], rest, common, out[0, at : at + n], n)
        else:
            write_many(p, slopes, common, a, at, n, out)


@exactly
def write_one(p, slopes, rest, common, out, n):
    for i in range(n):
        out[i] = p[i] * (slopes[i] * rest[i] + common[i])


@exactly
def write_pull(p, slopes, common, out, n):
    for i in range(n):
        out[i] = p[i] * (slopes[i] + common[i])


@exactly
def write_many(p, slopes, common, of_background, at, n, out):
    for c in range(1, p.shape[0]):
        subtract_product(slopes[c], p[c], common, n)
    of_background[:n] = f32(0.0)
    for c in range(1, p.shape[0]):
        write_pull(p[c], slopes[c], common, out[c, at : at + n], n)
        subtract(out[c, at : at + n], of_background, n)
    out[0, at : at + n] = of_background[:n]

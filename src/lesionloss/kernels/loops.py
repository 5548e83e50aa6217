"""Machine code for the background voxels of one image, compiled by numba when this module is first used.

Single precision, in blocks that stay in the nearest cache. The exponential and the logarithms are written out, because
a loop that calls those of a library works on one number at a time. Only sums may be reordered by the compiler.
"""

# numba compiles these functions from their arguments: annotations would say nothing to it, and mypy can't see through.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, misc"

import numpy as np

from lesionloss.kernels.numeric import BLOCK, TINY, exactly, exponential, f32, log_ratio, logarithm, summing
from lesionloss.kernels.terms import SMALLEST_WRONG

CROSS_ENTROPY, FOCAL, TAIL = 0, 1, 2

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
def tail(ce, q, gamma, junction, terms, a, head, n):
    """a = Σ q^j / j from gamma on: by its first terms where q is small, else what the others, in head, leave of ce."""
    last = gamma + terms - 1
    a[:n] = f32(1.0 / last)
    for j in range(last - 1, gamma - 1, -1):
        multiply_add(q, f32(1.0 / j), a, n)
    head[:n] = f32(1.0 / (gamma - 1))
    for j in range(gamma - 2, -1, -1):
        multiply_add(q, f32(1.0 / j) if j else f32(0.0), head, n)
    for _ in range(gamma):
        times(q, a, n)
    for i in range(n):
        a[i] = a[i] if q[i] < junction else ce[i] - head[i]


@exactly
def term_sum(term, ce, q, a, b, n):
    """Σ of one term (kind, gamma, junction, number of terms) over a block; a and b are scratch."""
    kind, gamma = int(term[0]), term[1]
    if kind == CROSS_ENTROPY or (kind == FOCAL and gamma == 0) or (kind == TAIL and gamma == 1):
        return total(ce, n)
    if kind == FOCAL:
        clamped(q, gamma, a, n)
        raise_to(a, gamma, b, n)
        return dot(b, ce, n)
    tail(ce, q, int(gamma), f32(term[2]), int(term[3]), a, b, n)
    return total(a, n)


@exactly
def add_term_slope(term, weight, ce, q, rest, a, b, into, n):
    """into += weight · d term / d ce."""
    kind, gamma, w = int(term[0]), term[1], f32(weight)
    if kind == CROSS_ENTROPY or (kind == FOCAL and gamma == 0) or (kind == TAIL and gamma == 1):
        for i in range(n):
            into[i] += w
    elif kind == FOCAL:
        clamped(q, gamma, a, n)
        raise_to(a, gamma - 1 if gamma >= 1 else gamma, b, n)
        g = f32(gamma)
        if gamma >= 1:
            for i in range(n):
                into[i] += w * b[i] * (a[i] + g * rest[i] * ce[i])
        else:
            for i in range(n):
                into[i] += w * b[i] * (f32(1.0) + g * rest[i] * (ce[i] / a[i]))
    else:
        raise_to(q, gamma - 1, a, n)
        for i in range(n):
            into[i] += w * a[i]


@exactly
def power_sum(x, power, a, n):
    if power == 2:
        return dot(x, x, n)
    raise_to(x, power, a, n)
    return total(a, n)


@exactly
def sums(z, start, stop, lesions, valid, counting, powers, terms, result):
    """Add the raw sums of the background voxels start to stop to result (see `lesionloss.kernels.plan.Raw`)."""
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
def subtract_product(x, y, into, n):
    for i in range(n):
        into[i] -= x[i] * y[i]


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


@exactly
def subtract(x, into, n):
    for i in range(n):
        into[i] -= x[i]

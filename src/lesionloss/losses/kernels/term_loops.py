"""Terms of a block of background voxels, compiled: sums and slopes (see `lesionloss.losses.kernels.terms`)."""

# numba compiles these functions from their arguments: annotations would say nothing to it, and mypy can't see through.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, misc"

from lesionloss.losses.kernels.blocks import clamped, dot, multiply_add, raise_to, times, total
from lesionloss.losses.kernels.numeric import exactly, f32

CROSS_ENTROPY, FOCAL, TAIL = 0, 1, 2


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

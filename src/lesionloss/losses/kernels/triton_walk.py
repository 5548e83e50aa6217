"""The Triton programs of `on_cuda`. Columns as in `lesionloss.losses.kernels.columns`."""

# Triton compiles these functions itself: annotations would say nothing to it, and mypy can't see through.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, misc, import-not-found"

import triton
import triton.language as tl


@triton.jit
def voxel(z):
    """p, 1 - p, and log(1 + e^-|z|) with all its digits where e is small."""
    e = tl.exp(-tl.abs(z))
    u = 1.0 + e
    high = 1.0 / u
    low = e * high
    # log(u) e / (u - 1): the rounding of u cancels out (Kahan).
    gap = tl.where(u == 1.0, 1.0, u - 1.0)
    log = tl.where(u == 1.0, e, tl.log(u) * (e / gap))
    return tl.where(z >= 0, high, low), tl.where(z >= 0, low, high), log


@triton.jit
def sums(
    z_at, y_at, inside_at, out_at, voxels, blocks, HAS_VALID: tl.constexpr, FOUND: tl.constexpr, BLOCK: tl.constexpr
):
    block, row = tl.program_id(0), tl.program_id(1)
    at = block * BLOCK + tl.arange(0, BLOCK)
    there = at < voxels
    at = row.to(tl.int64) * voxels + at
    z = tl.load(z_at + at, mask=there, other=0.0)
    y = tl.load(y_at + at, mask=there, other=0)
    kept = there
    if HAS_VALID:
        kept = there & (tl.load(inside_at + at, mask=there, other=0) != 0)
    p, q, log = voxel(z)
    background, lesion = kept & (y == 0), kept & (y != 0)
    place = out_at + (row.to(tl.int64) * blocks + block) * FOUND
    tl.store(place + 0, tl.sum(tl.where(background, p, 0.0), axis=0))
    tl.store(place + 1, tl.sum(tl.where(background, p * p, 0.0), axis=0))
    tl.store(place + 2, tl.sum(tl.where(background, tl.maximum(z, 0.0) + log, 0.0), axis=0))
    tl.store(place + 3, tl.sum(tl.where(lesion, q, 0.0), axis=0))
    tl.store(place + 4, tl.sum(tl.where(lesion, q * q, 0.0), axis=0))
    tl.store(place + 5, tl.sum(tl.where(lesion, tl.maximum(-z, 0.0) + log, 0.0), axis=0))
    tl.store(place + 6, tl.sum(tl.where(lesion, 1.0, 0.0), axis=0))
    tl.store(place + 7, tl.sum(z, axis=0))


@triton.jit
def gradient(
    z_at,
    y_at,
    inside_at,
    weights_at,
    out_at,
    voxels,
    HAS_VALID: tl.constexpr,
    COLUMNS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    block, row = tl.program_id(0), tl.program_id(1)
    at = block * BLOCK + tl.arange(0, BLOCK)
    there = at < voxels
    at = row.to(tl.int64) * voxels + at
    z = tl.load(z_at + at, mask=there, other=0.0)
    y = tl.load(y_at + at, mask=there, other=0)
    p, q, _ = voxel(z)
    w = weights_at + row * COLUMNS
    of_background = p * ((tl.load(w) + 2.0 * tl.load(w + 1) * p) * q + tl.load(w + 2))
    of_lesion = -q * ((tl.load(w + 3) + 2.0 * tl.load(w + 4) * q) * p + tl.load(w + 5))
    out = tl.where(y == 0, of_background, of_lesion)
    if HAS_VALID:
        out = tl.where(tl.load(inside_at + at, mask=there, other=0) != 0, out, 0.0)
    tl.store(out_at + at, out, mask=there)

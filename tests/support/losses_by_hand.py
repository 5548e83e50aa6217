"""Every loss a second time, from the equations: plain loops over voxels in double precision. Shares no line with src.

An image is (p, t, n): p[c][i] probabilities, t[c][i] shares of the classes, over its valid voxels only.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

import lesionwise_by_hand
from lesionwise_by_hand import LESIONWISE

S = 1e-5  # smoothing


@dataclass(frozen=True)
class Image:
    """log_p, p, t: lists over classes of lists over valid voxels."""

    log_p: list[list[float]]
    p: list[list[float]]
    t: list[list[float]]

    @property
    def n(self) -> int:
        return max(1, len(self.p[0]))

    @property
    def classes(self) -> range:
        return range(len(self.p))

    @property
    def voxels(self) -> range:
        return range(len(self.p[0]))


def log_probabilities(z: list[float]) -> list[float]:
    """Log-softmax, or of a single logit the logs of (1 - σ, σ)."""
    z = [0.0, z[0]] if len(z) == 1 else z
    result = []
    for c in range(len(z)):
        rest = [z[k] - z[c] for k in range(len(z)) if k != c]
        top = max(rest)
        m = top + math.log(math.fsum(math.exp(r - top) for r in rest))  # log of the odds against class c
        result.append(-(max(m, 0.0) + math.log1p(math.exp(-abs(m)))))
    return result


def images(logits: np.ndarray, labels: np.ndarray, valid: np.ndarray | None, pooled: bool) -> list[Image]:
    """logits (B, C, V), labels (B, V) class numbers or (B, K, V) shares, valid (B, V)."""
    batch, channels, voxels = logits.shape
    classes = max(2, channels)
    columns: list[list[tuple[list[float], list[float]]]] = [[] for _ in range(1 if pooled else batch)]
    for b in range(batch):
        for i in range(voxels):
            if valid is not None and not valid[b, i]:
                continue
            share = [float(labels[b, c, i]) if labels.ndim == 3 else float(labels[b, i] == c) for c in range(classes)]
            columns[0 if pooled else b].append((log_probabilities([float(x) for x in logits[b, :, i]]), share))
    made = []
    for image in columns:
        log_p = [[lp[c] for lp, _ in image] for c in range(classes)]
        t = [[share[c] for _, share in image] for c in range(classes)]
        made.append(Image(log_p, [[math.exp(x) for x in row] for row in log_p], t))
    return made


# --- building blocks -------------------------------------------------------------------------------------------------


def wrong(log_p: float) -> float:
    return -math.expm1(log_p)


def tail(ce: float, q: float, gamma: int) -> float:
    """Σ_{j>=γ} q^j / j, by the series until nothing is added where that is quick, else by the closed form."""
    if q < 0.3:
        total, j = 0.0, gamma
        while q**j / j > 1e-18 * total:
            total += q**j / j
            j += 1
        return total
    return ce - math.fsum(q**j / j for j in range(1, gamma))


def voxel_sum(x: Image, term: Callable[[int, float, float], float]) -> float:
    """Σ over voxels and classes of t · term(class, ce, q)."""
    return math.fsum(
        x.t[c][i] * term(c, -x.log_p[c][i], wrong(x.log_p[c][i])) for c in x.classes for i in x.voxels if x.t[c][i]
    )


def counts(x: Image, c: int, gamma: float = 1.0) -> tuple[float, float, float]:
    tp = math.fsum(x.p[c][i] * x.t[c][i] for i in x.voxels)
    fp = math.fsum((x.p[c][i] * (1 - x.t[c][i])) ** gamma for i in x.voxels)
    fn = math.fsum((wrong(x.log_p[c][i]) * x.t[c][i]) ** gamma for i in x.voxels)
    return tp, fp, fn


def one_minus_index(x: Image, c: int, fp: float, fn: float, gamma: float = 1.0) -> float:
    true, false_positives, false_negatives = counts(x, c, gamma)
    weighted = fp * false_positives + fn * false_negatives
    # Added up in this order, because stored values are compared to the last digit.
    return weighted / (true + fp * false_positives + fn * false_negatives + S)


def squared_dice(x: Image, c: int, voxels: list[int]) -> float:
    halves = math.fsum(x.p[c][i] ** 2 + x.t[c][i] ** 2 for i in voxels) / 2
    errors = math.fsum((x.p[c][i] - x.t[c][i]) ** 2 for i in voxels) / 2
    return errors / (halves + S)


def log_cosh(x: float) -> float:
    return abs(x) + math.log1p(math.exp(-2 * abs(x))) - math.log(2)


def over_lesions(x: Image, background: bool, value: Callable[[int], float]) -> float:
    chosen = list(x.classes)[0 if background else 1 :]
    return math.fsum(value(c) for c in chosen) / len(chosen)


# --- the losses: f(image, background, **hyperparameters) -----------------------------------------------------------


def cross_entropy(x, background):
    return voxel_sum(x, lambda c, ce, q: ce) / x.n


def weighted_cross_entropy(x, background_too, lesion=0.9, background=0.1, normalise=True):
    def w(c):
        return background if c == 0 else lesion

    total = voxel_sum(x, lambda c, ce, q: w(c) * ce)
    return total / (voxel_sum(x, lambda c, ce, q: w(c)) if normalise else x.n)


def focal(x, background_too, gamma=2.0, lesion=0.25, background=0.75):
    return voxel_sum(x, lambda c, ce, q: (background if c == 0 else lesion) * q**gamma * ce) / x.n


def topk_cross_entropy(x, background, k=10.0):
    each = [math.fsum(-x.t[c][i] * x.log_p[c][i] for c in x.classes if x.t[c][i]) for i in x.voxels]
    kept = max(1, math.ceil(k * len(each) / 100 - 1e-9))
    return math.fsum(sorted(each)[::-1][:kept]) / kept


def logcosh(x, background):
    return over_lesions(x, background, lambda c: math.fsum(log_cosh(x.t[c][i] - x.p[c][i]) for i in x.voxels) / x.n)


def weighted_gradient(x, background, gamma=2, lesion=None):
    share = math.fsum(x.t[0]) / x.n if lesion is None else lesion
    return voxel_sum(x, lambda c, ce, q: (1 - share if c == 0 else share) * tail(ce, q, gamma)) / x.n


def dice(x, background, squared=False):
    if squared:
        return over_lesions(x, background, lambda c: squared_dice(x, c, list(x.voxels)))
    return over_lesions(x, background, lambda c: one_minus_index(x, c, 0.5, 0.5))


def jaccard(x, background):
    return over_lesions(x, background, lambda c: one_minus_index(x, c, 1, 1))


def tversky(x, background, fp=0.3, fn=0.7):
    return over_lesions(x, background, lambda c: one_minus_index(x, c, fp, fn))


def focal_tversky(x, background, fp=0.3, fn=0.7, exponent=0.75):
    return over_lesions(x, background, lambda c: one_minus_index(x, c, fp, fn) ** exponent)


def generalised_dice(x, background, power=2.0):
    sizes = [math.fsum(row) for row in x.t]
    raw = [size**-power if size else None for size in sizes]
    largest = max(w for w in raw if w is not None)
    weights = [1.0 if w is None else w / largest for w in raw]
    found = [counts(x, c) for c in x.classes]
    top = math.fsum(w * tp for w, (tp, _, _) in zip(weights, found, strict=True))
    errors = math.fsum(w * (fp + fn) / 2 for w, (_, fp, fn) in zip(weights, found, strict=True))
    return errors / (top + errors + S)


def log_cosh_dice(x, background):
    return over_lesions(x, background, lambda c: log_cosh(one_minus_index(x, c, 0.5, 0.5)))


def dice_plus_plus(x, background, gamma=2.0):
    return over_lesions(x, background, lambda c: one_minus_index(x, c, 0.5, 0.5, gamma))


def tversky_plus_plus(x, background, fp=0.3, fn=0.7, gamma=2.0):
    return over_lesions(x, background, lambda c: one_minus_index(x, c, fp, fn, gamma))


def focal_tversky_plus_plus(x, background, fp=0.3, fn=0.7, exponent=0.75, gamma=2.0):
    return over_lesions(x, background, lambda c: one_minus_index(x, c, fp, fn, gamma) ** exponent)


def topk_dice(x, background, k=50.0):
    def value(c):
        held = [i for i in x.voxels if x.t[c][i] > 0]
        hardest = sorted(held, key=lambda i: x.p[c][i])  # sorted is stable
        dropped = set(hardest[math.ceil(k * len(held) / 100 - 1e-9) :])
        return squared_dice(x, c, [i for i in x.voxels if i not in dropped])

    return over_lesions(x, background, value)


def combo(x, background, ce_share=0.5, lesion=0.5):
    ce = weighted_cross_entropy(x, background, lesion, 1 - lesion, normalise=False)
    return ce_share * ce + (1 - ce_share) * dice(x, background)


def combo_plus_plus(x, background, ce_share=0.5, lesion=0.5, gamma=2.0):
    ce = weighted_cross_entropy(x, background, lesion, 1 - lesion, normalise=False)
    return ce_share * ce + (1 - ce_share) * dice_plus_plus(x, background, gamma)


def hytver(x, background, fn=0.7, lesion=0.3, ce_share=0.5):
    ce = weighted_cross_entropy(x, background, lesion, 1 - lesion, normalise=False)
    return ce_share * ce + (1 - ce_share) * tversky(x, background, 1 - fn, fn)


def unified_focal_part(x, delta, gamma, focus_lesion):
    def term(c, ce, q):
        return ((1 - delta) if c == 0 else delta) * (q**gamma if c == 0 or focus_lesion else 1) * ce

    return voxel_sum(x, term) / x.n


def unified_tversky_part(x, delta, gamma, power_background, sharpen=1.0):
    def value(c):
        error = one_minus_index(x, c, 1 - delta, delta, sharpen)
        return error ** (1 - gamma) if c > 0 or power_background else error

    return over_lesions(x, True, value)


def symmetric_focal(x, background, delta=0.6, gamma=0.5):
    return unified_focal_part(x, delta, gamma, True)


def asymmetric_focal(x, background, delta=0.6, gamma=0.5):
    return unified_focal_part(x, delta, gamma, False)


def symmetric_focal_tversky(x, background, delta=0.6, gamma=0.5):
    return unified_tversky_part(x, delta, gamma, True)


def asymmetric_focal_tversky(x, background, delta=0.6, gamma=0.5):
    return unified_tversky_part(x, delta, gamma, False)


def unified(symmetric, x, share, delta, gamma, sharpen):
    overlap = unified_tversky_part(x, delta, gamma, symmetric, sharpen)
    return share * overlap + (1 - share) * unified_focal_part(x, delta, gamma, symmetric)


def symmetric_unified_focal(x, background, tversky_share=0.5, delta=0.6, gamma=0.5):
    return unified(True, x, tversky_share, delta, gamma, 1.0)


def asymmetric_unified_focal(x, background, tversky_share=0.5, delta=0.6, gamma=0.5):
    return unified(False, x, tversky_share, delta, gamma, 1.0)


def symmetric_unified_focal_plus_plus(x, background, tversky_share=0.5, delta=0.6, gamma=0.5, sharpen=2.0):
    return unified(True, x, tversky_share, delta, gamma, sharpen)


def asymmetric_unified_focal_plus_plus(x, background, tversky_share=0.5, delta=0.6, gamma=0.5, sharpen=2.0):
    return unified(False, x, tversky_share, delta, gamma, sharpen)


def dice_ce(x, background, squared=False):
    return dice(x, background, squared) + cross_entropy(x, background)


def dice_focal(x, background_too, squared=False, gamma=2.0, lesion=0.25, background=0.75):
    return dice(x, background_too, squared) + focal(x, background_too, gamma, lesion, background)


def dice_topk(x, background, squared=False, k=10.0):
    return dice(x, background, squared) + topk_cross_entropy(x, background, k)


def ce_topk_dice(x, background, k=50.0):
    return cross_entropy(x, background) + topk_dice(x, background, k)


def hytver_released(x, background):
    def clip(a):
        return min(max(a, 1e-3), 1 - 1e-3)

    p, t = x.p[1], x.t[1]
    term = math.fsum(
        -0.7 * clip(p[i]) * math.log(clip(t[i])) + 0.3 * (1 - clip(p[i])) * math.log(1 - clip(t[i])) for i in x.voxels
    )
    tp, fp, fn = counts(x, 1)
    return term / x.n / 2 - (tp + 1) / (tp + 0.7 * fp + 0.3 * fn + 1) / 2


ALWAYS_POOLED = ("hytver_released",)


def value(
    name: str,
    hyperparameters: dict[str, object],
    logits: np.ndarray,
    labels: np.ndarray,
    *,
    valid: np.ndarray | None = None,
    pooled: bool = False,
    background: bool = False,
    space: tuple[int, ...] = (),
) -> float:
    """The loss of a batch: logits (B, C, V), labels (B, V) or (B, K, V), valid (B, V); V voxels are `space`."""
    import grids_by_hand
    import ranked_by_hand  # which stand on this module

    if name in grids_by_hand.NAMES:
        shaped = [None if x is None else x.reshape(*x.shape[:-1], *space) for x in (logits, labels, valid)]
        return grids_by_hand.value(name, hyperparameters, grids_by_hand.grids(*shaped), pooled)
    if name in LESIONWISE:
        whole = logits.reshape(*logits.shape[:2], *space)
        known = None if valid is None else valid.reshape(-1, *space)
        return lesionwise_by_hand.value(
            name, hyperparameters, whole, labels.reshape(-1, *space), valid=known, pooled=pooled, background=background
        )
    rows = images(logits, labels, valid, pooled or name in ALWAYS_POOLED)
    function = globals().get(name) or getattr(ranked_by_hand, name)
    return math.fsum(function(row, background, **hyperparameters) for row in rows) / len(rows)

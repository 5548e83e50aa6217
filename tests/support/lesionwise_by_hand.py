"""The lesion-wise losses a second time, with NumPy and SciPy, lesion by lesion. Shares no line with src.

An image is one row of voxels with its space: logits (C, *space), labels (*space), valid (*space).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, label

S = 1e-5  # smoothing
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Image:
    """log_p (K, *space), labels (*space), 0 where masked, and valid (*space)."""

    log_p: Array
    labels: NDArray[np.int64]
    valid: NDArray[np.bool_]
    spacing_mm: tuple[float, ...]

    @property
    def classes(self) -> range:
        return range(1, len(self.log_p))

    @property
    def ce(self) -> Array:
        return -np.take_along_axis(self.log_p, self.labels[None], axis=0)[0]

    def p(self, c: int) -> Array:
        return np.exp(self.log_p[c])

    def lesions(self, c: int) -> list[NDArray[np.bool_]]:
        numbers, count = label(self.labels == c, np.ones((3,) * self.labels.ndim))
        return [numbers == n + 1 for n in range(count)]

    def cells(self, c: int) -> list[NDArray[np.bool_]]:
        numbers, count = label(self.labels == c, np.ones((3,) * self.labels.ndim))
        at = distance_transform_edt(self.labels != c, self.spacing_mm, return_distances=False, return_indices=True)
        return [numbers[tuple(at)] == n + 1 for n in range(count)]


def images(
    logits: Array, labels: NDArray[np.int64], valid: NDArray[np.bool_] | None, spacing_mm: tuple[float, ...]
) -> list[Image]:
    z = np.concatenate([np.zeros_like(logits), logits], axis=1) if logits.shape[1] == 1 else logits
    z = z - z.max(axis=1, keepdims=True)
    log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    known = np.ones(labels.shape, dtype=np.bool_) if valid is None else valid
    return [Image(log_p[b], np.where(known[b], labels[b], 0), known[b], spacing_mm) for b in range(len(labels))]


def index_loss(tp: float, fp: float, fn: float, of_fp: float = 0.5, of_fn: float = 0.5) -> float:
    errors = of_fp * fp + of_fn * fn
    return errors / (tp + errors + S)


def sums(x: Image, c: int, inside: NDArray[np.bool_]) -> Array:
    """TP, FP, FN, Σ ce and the number of voxels, inside a region."""
    region, t, p = inside & x.valid, x.labels == c, x.p(c)
    tp, fp, fn = p[region & t].sum(), p[region & ~t].sum(), -np.expm1(x.log_p[c][region & t]).sum()
    return np.array([tp, fp, fn, x.ce[region].sum(), region.sum()])


def mixed(sums: Array, ce_share: float) -> float:
    tp, fp, fn, ce, n = sums
    return ce_share * ce / max(n, S) + (1 - ce_share) * index_loss(tp, fp, fn)


def everywhere(x: Image) -> NDArray[np.bool_]:
    return np.ones(x.labels.shape, dtype=np.bool_)


def total(batch: list[Image], c: int) -> Array:
    found: Array = np.sum([sums(x, c, everywhere(x)) for x in batch], axis=0)
    return found


def overlap(batch: list[Image], background: bool, of_fp: float = 0.5, of_fn: float = 0.5) -> float:
    """Tversky loss of several images taken as one."""
    found = []
    for c in range(0 if background else 1, len(batch[0].log_p)):
        tp, fp, fn, _, _ = total(batch, c)
        found.append(index_loss(tp, fp, fn, of_fp, of_fn))
    return float(np.mean(found))


def blob(batch: list[Image], background: bool, main_share: float = 0.5, ce_share: float = 0.0) -> float:
    of_classes = []
    for c in batch[0].classes:
        each = []
        for number, x in enumerate(batch):
            for lesion in x.lesions(c):
                regions = [
                    (lesion if other == number else np.zeros_like(lesion)) | (y.labels != c)
                    for other, y in enumerate(batch)
                ]
                inside = np.sum([sums(y, c, region) for y, region in zip(batch, regions, strict=True)], axis=0)
                each.append(mixed(inside, ce_share))
        of_classes.append(np.mean(each) if each else mixed(total(batch, c), ce_share))
    _, _, _, ce, n = total(batch, 1)
    main = ce_share * ce / max(1, n) + (1 - ce_share) * overlap(batch, background)
    return float(main_share * main + (1 - main_share) * np.mean(of_classes))


def component_dice(batch: list[Image], background: bool, ce_share: float = 0.0) -> float:
    of_classes = []
    for c in batch[0].classes:
        each = [mixed(sums(x, c, cell), ce_share) for x in batch for cell in x.cells(c)]
        of_classes.append(np.mean(each) if each else mixed(total(batch, c), ce_share))
    return float(np.mean(of_classes))


def inverse_weighted(
    batch: list[Image],
    background: bool,
    ce_share: float = 1.0,
    gamma: float = 0.0,
    sharpen: float = 1.0,
) -> float:
    components = [(x, lesion) for x in batch for c in x.classes for lesion in x.lesions(c)]
    nothing = [(x.labels == 0) & x.valid for x in batch]
    n, kinds = sum(float(x.valid.sum()) for x in batch), len(components) + any(mask.any() for mask in nothing)
    weights = [np.zeros(x.labels.shape) for x in batch]
    for x, lesion in components:
        weights[next(k for k, y in enumerate(batch) if y is x)][lesion] = n / (kinds * lesion.sum())
    outside = sum(float(mask.sum()) for mask in nothing)
    for weight, mask in zip(weights, nothing, strict=True):
        weight[mask] = n / (kinds * outside)
    both = list(zip(batch, weights, strict=True))
    ce = sum(float((w * (-np.expm1(-x.ce)) ** gamma * x.ce).sum()) for x, w in both) / n
    of_classes = []
    for c in range(0 if background else 1, len(batch[0].log_p)):
        tp = sum(float((w * x.p(c))[x.labels == c].sum()) for x, w in both)
        wrong = sum(float((w * x.p(c) ** sharpen)[x.labels != c].sum()) for x, w in both)
        missed = sum(float((w * (-np.expm1(x.log_p[c])) ** sharpen)[x.labels == c].sum()) for x, w in both)
        of_classes.append(index_loss(tp, wrong, missed))
    return float(ce_share * ce + (1 - ce_share) * np.mean(of_classes))


def lesion_tversky(batch: list[Image], background: bool, fp: float = 0.5, fn: float = 0.5, power: float = 2.0) -> float:
    of_classes = []
    for c in batch[0].classes:
        found = [(x.p(c)[lesion] ** power).mean() ** (1 / power) for x in batch for lesion in x.lesions(c)]
        sizes = [lesion.sum() for x in batch for lesion in x.lesions(c)] or [1]
        _, wrong, _, _, _ = total(batch, c)
        of_classes.append(
            index_loss(float(np.sum(found)), wrong / float(np.mean(sizes)), float(np.sum(1 - np.array(found))), fp, fn)
        )
    return float(np.mean(of_classes))


LESIONWISE: dict[str, Callable[..., float]] = {
    function.__name__: function for function in (blob, component_dice, inverse_weighted, lesion_tversky)
}


def value(
    name: str,
    hyperparameters: dict[str, object],
    logits: Array,
    labels: NDArray[np.int64],
    *,
    valid: NDArray[np.bool_] | None = None,
    pooled: bool = False,
    background: bool = False,
    spacing_mm: tuple[float, ...] | None = None,
) -> float:
    """The loss of a batch: logits (B, C, *space), labels and valid (B, *space)."""
    found = images(logits, labels, valid, spacing_mm or (1.0,) * (labels.ndim - 1))
    groups = [found] if pooled else [[x] for x in found]
    return float(np.mean([LESIONWISE[name](group, background, **hyperparameters) for group in groups]))

"""The losses that depend on where voxels lie, a second time: NumPy and SciPy on one image and class after the other.

Shares no line with src: distances are found by comparing all voxels, erosions by filters of SciPy.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage, special

S = 1e-5  # smoothing

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Grid:
    """One image and one lesion class: p, t and w (*space); w is 0 in masked voxels, and so are p and t."""

    p: Array
    t: Array
    w: Array
    spacing: tuple[float, ...]


NAMES = ("boundary", "surface", "hausdorff_dt", "hausdorff_er", "cl_dice")


def grids(
    logits: Array,
    labels: Array,
    valid: Array | None,
    weight: Array | None = None,
    spacing: tuple[float, ...] = (1.0, 1.0, 1.0),
) -> list[list[Grid]]:
    """For each image the grids of its lesion classes; logits (B, C, *space), the others (B, *space).

    Labels may be shares (B, K, *space).
    """
    axes = logits.ndim - 2
    if logits.shape[1] == 1:
        logits = np.concatenate([logits * 0, logits], 1)
    p = special.softmax(logits, axis=1)
    t = labels if labels.ndim == logits.ndim else np.stack([labels == c for c in range(p.shape[1])], axis=1)
    found = []
    for b in range(len(logits)):
        kept = np.ones(p.shape[2:], bool) if valid is None else valid[b].astype(bool)
        w = kept * (1.0 if weight is None else weight[b])
        kept = w > 0
        of_classes = [(np.where(kept, p[b, c], 0.0), np.where(kept, t[b, c], 0.0)) for c in range(1, p.shape[1])]
        found.append([Grid(probability, lesion, w, spacing[:axes]) for probability, lesion in of_classes])
    return found


def distance_to_border(mask: Array, spacing: tuple[float, ...]) -> Array:
    """Distance of each voxel to the nearest one of the other kind, by comparing all; 0 where there is none."""
    places = np.moveaxis(np.indices(mask.shape), 0, -1).reshape(-1, mask.ndim) * np.array(spacing)
    kind = mask.reshape(-1) > 0
    if kind.all() or not kind.any():
        return np.zeros(mask.shape)
    apart = np.sqrt(((places[:, None] - places[None]) ** 2).sum(-1))
    apart[kind[:, None] == kind[None]] = np.inf
    return apart.min(1).reshape(mask.shape).astype(np.float32).astype(float)  # the precision of maps


def signed(g: Grid) -> Array:
    found = distance_to_border(g.t, g.spacing)
    return np.where(g.t > 0, -found, found)


def mean(images: list[Grid], of_voxels: Callable[[Grid], Array]) -> float:
    total = sum(g.w.sum() for g in images)
    return float(sum((g.w * of_voxels(g)).sum() for g in images) / (total if total > 0 else 1.0))


def boundary(images: list[Grid]) -> float:
    return mean(images, lambda g: signed(g) * (g.p - g.t))


def hausdorff_dt(images: list[Grid], alpha: float = 2.0, one_sided: bool = False) -> float:
    def voxels(g: Grid) -> Array:
        far = distance_to_border(g.t, g.spacing) ** alpha
        if not one_sided:
            far += distance_to_border(np.where(g.p > 0.5, 1.0, 0.0), g.spacing) ** alpha
        voxels: Array = (g.p - g.t) ** 2 * far
        return voxels

    return mean(images, voxels)


def hausdorff_er(images: list[Grid], alpha: float = 2.0, erosions: int = 10) -> float:
    def voxels(g: Grid) -> Array:
        cross = ndimage.generate_binary_structure(g.p.ndim, 1) / (2 * g.p.ndim + 1)
        eroded, total = np.where(g.w > 0, (g.p - g.t) ** 2, 0), np.zeros(g.p.shape)
        for k in range(1, erosions + 1):
            eroded = np.maximum(0, (ndimage.convolve(eroded, cross, mode="constant") - 0.5) / 0.5)
            total += eroded * k**alpha
        return total

    return mean(images, voxels)


def soft_skeleton(x: Array, iterations: int) -> Array:
    cross = ndimage.generate_binary_structure(x.ndim, 1)

    def erode(x: Array) -> Array:
        return ndimage.minimum_filter(x, footprint=cross, mode="constant", cval=np.inf)

    def opened(x: Array) -> Array:
        return ndimage.maximum_filter(erode(x), size=3, mode="constant", cval=-np.inf)

    found = np.maximum(0, x - opened(x))
    for _ in range(iterations):
        x = erode(x)
        added = np.maximum(0, x - opened(x))
        found = found + np.maximum(0, added - found * added)
    return found


def cl_dice(images: list[Grid], iterations: int = 3) -> float:
    sums = np.zeros(4)
    for g in images:
        lines, true_lines = soft_skeleton(np.where(g.w > 0, g.p, 0), iterations), soft_skeleton(g.t, 50)
        sums += [(g.w * x).sum() for x in (lines * g.t, lines, true_lines * g.p, true_lines)]
    precision, sensitivity = (sums[0] + S) / (sums[1] + S), (sums[2] + S) / (sums[3] + S)
    return float(1 - 2 * precision * sensitivity / (precision + sensitivity))


def surface(classes: list[list[Grid]], power: float = 1.0) -> float:
    """`classes`: for each lesion class its images."""
    sizes = [sum((g.w * g.t).sum() for g in images) for images in classes]
    rarest = min([size for size in sizes if size > 0], default=1.0)
    wrong = far = 0.0
    for size, images in zip(sizes, classes, strict=True):
        share = (rarest / size) ** power if size > 0 else 1.0
        for g in images:
            far += share * (g.w * signed(g) ** 2).sum()
            wrong += share * (g.w * (signed(g) ** 2 - (signed(g) * (1 - g.t - g.p)) ** 2)).sum()
    return float(wrong / (far + S))


def value(name: str, given: dict[str, Any], images: list[list[Grid]], pooled: bool) -> float:
    """The loss of a batch, the mean over its images or of all as one."""
    rows = [images] if pooled else [[image] for image in images]
    found = []
    for row in rows:
        classes = [list(of_class) for of_class in zip(*row, strict=True)]
        if name == "surface":
            found.append(surface(classes, **given))
        else:
            found.append(float(np.mean([globals()[name](of_class, **given) for of_class in classes])))
    return float(np.mean(found))

"""Lesions grown inside white matter: where they start, how they spread, what they leave."""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lesionloss.synth.anatomy import Anatomy
from lesionloss.synth.fields import Float
from lesionloss.synth.plan import LesionPlan

_TRIES = 30  # places tried before a lesion is given up
_LEAST_WM = 0.5  # a voxel with less white matter is no ground for a lesion
_SOFTNESS = 0.45  # how much weaker the last part of a lesion to grow is than its core
_PATCH_MM = 5.0  # room around the ball of the lesion's volume


@dataclass(frozen=True)
class Lesion:
    """One lesion as it lies in the reference frame (the follow-up's). Coordinates are world mm, RAS+."""

    number: int  # its value in the label map
    kind: str
    place: str
    centre_mm: tuple[float, float, float]
    volume_mm3: float  # of its voxels in the label map
    contrast: float
    baseline_contrast: float


@dataclass(frozen=True, eq=False)
class Lesions:
    """All lesions of a patient: label map int16 and signal above normal tissue at either visit float32, (X, Y, Z)."""

    found: tuple[Lesion, ...]
    labels: NDArray[np.int16]
    baseline_excess: Float
    followup_excess: Float

    def reference(self) -> NDArray[np.bool_]:
        """The voxels of new lesions."""
        new = [lesion.number for lesion in self.found if lesion.kind == "new"]
        return np.asarray(np.isin(self.labels, new))


@dataclass(frozen=True, eq=False)
class _Growth:
    """A lesion on its patch: share of each voxel, and the share weighted by the softness of the border."""

    window: tuple[slice, slice, slice]
    share: Float
    weight: Float


def grow_lesions(generator: np.random.Generator, anatomy: Anatomy, plans: tuple[LesionPlan, ...]) -> Lesions:
    """Grow the planned lesions one after the other, never touching each other; one that finds no room is left out."""
    labels = np.zeros(anatomy.brain.shape, np.int16)
    baseline, followup = (np.zeros(anatomy.brain.shape, np.float32) for _ in range(2))
    taken = np.zeros(anatomy.brain.shape, bool)
    chances = _starting_chances(anatomy)
    found: list[Lesion] = []
    for plan in plans:
        growth = _settle(generator, anatomy, plan, chances[plan.place], taken)
        if growth is None:
            continue
        body = _voxels(growth.share)
        baseline[growth.window] += np.float32(plan.baseline_contrast) * growth.weight
        followup[growth.window] += np.float32(plan.contrast) * growth.weight
        labels[growth.window][body] = len(found) + 1
        taken[growth.window] |= _fattened(growth.share > 0)
        found.append(_describe(len(found) + 1, plan, anatomy, growth.window, body))
    return Lesions(tuple(found), labels, baseline, followup)


def _starting_chances(anatomy: Anatomy) -> dict[str, NDArray[np.float64]]:
    """Cumulated chance that a lesion of each place starts at a voxel, over the flattened grid."""
    from scipy import ndimage

    ground = (anatomy.wm > 0.75) & anatomy.brain
    cortex = ndimage.gaussian_filter(anatomy.gm, 2.5 / anatomy.axes.spacing_mm)
    near, below = anatomy.ventricle_mm, anatomy.infratentorial
    above = ground & ~below
    lateral = np.abs(anatomy.axes.x)[:, None, None] > 10  # not in the septum between the ventricles
    chances = {
        "periventricular": above * lateral * np.exp(-near / 3.5) * (near > 1),
        "deep": above * (near > 9) * (cortex < 0.25),
        "juxtacortical": above * (near > 12) * (cortex > 0.35),
        "infratentorial": ground & below,
    }
    return {place: np.cumsum(chance.ravel(), dtype=np.float64) for place, chance in chances.items()}


def _settle(
    generator: np.random.Generator,
    anatomy: Anatomy,
    plan: LesionPlan,
    cumulated: NDArray[np.float64],
    taken: NDArray[np.bool_],
) -> _Growth | None:
    for _ in range(_TRIES):
        where = int(np.searchsorted(cumulated, generator.random() * cumulated[-1], side="right"))
        start = np.unravel_index(min(where, taken.size - 1), taken.shape)
        if not taken[start]:
            growth = _grow(generator, anatomy, plan, np.array(start), taken)
            if growth is not None:
                return growth
    return None


def _grow(
    generator: np.random.Generator,
    anatomy: Anatomy,
    plan: LesionPlan,
    start: NDArray[np.int_],
    taken: NDArray[np.bool_],
) -> _Growth | None:
    """Spread from `start` over half-voxels in order of cost until the volume is reached; None where there is no room.

    The cost is the distance in an ellipsoid's metric, roughened by smooth noise: lesions are compact but not round.
    """
    spacing = anatomy.axes.spacing_mm
    reach = round((1.4 * (plan.volume_mm3 * 0.239) ** (1 / 3) + _PATCH_MM) / spacing)
    window = tuple(slice(max(0, s - reach), min(n, s + reach + 1)) for s, n in zip(start, taken.shape, strict=True))
    first, second, third = window
    patch = (first, second, third)
    free = (anatomy.wm[patch] > _LEAST_WM) & anatomy.brain[patch] & ~taken[patch]
    for axis in range(3):
        free = free.repeat(2, axis)
    seed = 2 * (start - [part.start for part in patch]) + generator.integers(0, 2, 3)
    cost = _cost(generator, free.shape, seed, spacing / 2, _stretch(generator, anatomy, plan, start))
    wanted = max(1, round(plan.volume_mm3 / (spacing / 2) ** 3))
    order = list(_spread(cost, free, (int(seed[0]), int(seed[1]), int(seed[2])), wanted))
    if len(order) < 0.6 * wanted:
        return None
    cells = tuple(np.array(order).T)
    share, weight = (np.zeros(free.shape, np.float32) for _ in range(2))
    share[cells] = 1
    weight[cells] = 1 - _SOFTNESS * (np.arange(len(order)) / len(order)) ** 2
    return _Growth(patch, _pooled(share), _pooled(weight))


def _stretch(
    generator: np.random.Generator, anatomy: Anatomy, plan: LesionPlan, start: NDArray[np.int_]
) -> NDArray[np.float64]:
    """The ellipsoid's metric (3, 3): long axis away from the ventricle near it (Dawson's fingers), random elsewhere."""
    axis = generator.standard_normal(3)
    if plan.place == "periventricular":
        corner = tuple(slice(max(0, s - 1), s + 2) for s in start)
        slopes = np.gradient(anatomy.ventricle_mm[corner])
        axis = 0.3 * axis + np.array([float(slope.mean()) for slope in slopes])
    axis /= np.linalg.norm(axis)
    along = np.outer(axis, axis)
    return np.asarray(np.eye(3) - (1 - 1 / plan.elongation) * along)


def _cost(
    generator: np.random.Generator,
    shape: tuple[int, ...],
    seed: NDArray[np.int_],
    step_mm: float,
    metric: NDArray[np.float64],
) -> Float:
    from scipy import ndimage

    rough = ndimage.gaussian_filter(generator.standard_normal(shape).astype(np.float32), 1.8 / step_mm)
    rough /= rough.std() + np.float32(1e-6)
    offsets = np.stack(np.meshgrid(*(np.arange(n) - s for n, s in zip(shape, seed, strict=True)), indexing="ij"))
    distance = np.sqrt((np.einsum("ij,jxyz->ixyz", metric, offsets.astype(np.float64)) ** 2).sum(axis=0))
    return np.asarray(distance * np.exp(0.3 * rough), dtype=np.float32)


def _spread(
    cost: Float, free: NDArray[np.bool_], seed: tuple[int, int, int], wanted: int
) -> Iterator[tuple[int, int, int]]:
    """Cells in the order in which they are reached from `seed` through free face neighbours, cheapest first."""
    if not free[seed]:
        return
    seen = ~free
    seen[seed] = True
    border = [(0.0, seed)]
    while border and wanted > 0:
        _, cell = heapq.heappop(border)
        yield cell
        wanted -= 1
        for axis in range(3):
            for step in (-1, 1):
                x, y, z = (c + step * (a == axis) for a, c in enumerate(cell))
                inside = 0 <= x < seen.shape[0] and 0 <= y < seen.shape[1] and 0 <= z < seen.shape[2]
                if inside and not seen[x, y, z]:
                    seen[x, y, z] = True
                    heapq.heappush(border, (float(cost[x, y, z]), (x, y, z)))


def _pooled(fine: Float) -> Float:
    """Means over 2 x 2 x 2 half-voxels."""
    x, y, z = (n // 2 for n in fine.shape)
    return np.asarray(fine.reshape(x, 2, y, 2, z, 2).mean(axis=(1, 3, 5)), dtype=np.float32)


def _voxels(share: Float) -> NDArray[np.bool_]:
    """The largest piece of the voxels that are at least half lesion, or the fullest voxel if none is."""
    from scipy import ndimage

    pieces, count = ndimage.label(share >= 0.5, np.ones((3, 3, 3)))
    if count == 0:
        return np.asarray(np.arange(share.size).reshape(share.shape) == share.argmax())
    return np.asarray(pieces == 1 + np.bincount(pieces[pieces > 0] - 1).argmax())


def _fattened(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    from scipy import ndimage

    return np.asarray(ndimage.binary_dilation(mask, np.ones((3, 3, 3), bool)))


def _describe(
    number: int,
    plan: LesionPlan,
    anatomy: Anatomy,
    window: tuple[slice, slice, slice],
    body: NDArray[np.bool_],
) -> Lesion:
    centre = np.argwhere(body).mean(axis=0) + [part.start for part in window]
    return Lesion(
        number=number,
        kind=plan.kind,
        place=plan.place,
        centre_mm=anatomy.axes.world_mm(centre),
        volume_mm3=float(body.sum() * anatomy.axes.spacing_mm**3),
        contrast=plan.contrast,
        baseline_contrast=plan.baseline_contrast,
    )

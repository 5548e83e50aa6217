"""The lesions of a patient: where they start, their voxels at each visit, and which voxels changed because of them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lesionloss.core.components import largest_component
from lesionloss.synth.anatomy import Anatomy
from lesionloss.synth.fields import Axes, Float, Mask
from lesionloss.synth.growth import GrownLesion, LesionSeed, grow_lesion
from lesionloss.synth.patient_plan import KINDS, LesionPlan

_TRIES = 30  # places tried before a lesion is given up
_LEAST_WM = 0.5  # a voxel with less white matter is no ground for a lesion
_SMALLEST_VOXELS = 1.5  # a lesion smaller than this many voxels of the files is made that large
_FADED = 0.7  # a lesion whose signal falls below this share of what it was has changed as a whole


@dataclass(frozen=True)
class LesionRecord:
    """One lesion in the reference frame (the follow-up's); coordinates are world mm, RAS+.

    Attributes:
        number: Its value in the label maps.
        kind: One of `KINDS`.
        place: One of `PLACES`.
        centre_mm: Centre of its voxels.
        volume_mm3: Volume of the voxels that it has at either visit.
        volumes_mm3: Volume of its voxels at each visit.
        change_mm3: Volume of its voxels in the reference of change.
        contrasts: Signal that its core adds at each visit.
    """

    number: int  # its value in the label maps
    kind: str
    place: str
    centre_mm: tuple[float, float, float]
    volume_mm3: float  # of the voxels it has at either visit
    volumes_mm3: tuple[float, float]  # of its voxels at each visit
    change_mm3: float  # of its voxels in the reference of change
    contrasts: tuple[float, float]


@dataclass(frozen=True, eq=False)
class LesionMaps:
    """All lesions of a patient.

    Attributes:
        found: The lesions.
        labels: Numbers of the lesions at each visit (X, Y, Z), on the grid of the files.
        change: +1 where a lesion came, -1 where one went or faded (X, Y, Z), on the grid of the files.
        signals: What lesions add to the normal signal at each visit, float32 (X, Y, Z), on the patient's grid.
    """

    found: tuple[LesionRecord, ...]
    labels: tuple[NDArray[np.int16], NDArray[np.int16]]
    change: NDArray[np.int8]
    signals: tuple[Float, Float]

    def either(self) -> NDArray[np.int16]:
        """Combine the numbers of the lesions at either visit: (X, Y, Z)."""
        return np.maximum(*self.labels)

    def of_kind(self, kind: str) -> NDArray[np.int16]:
        """Keep the numbers of the lesions of one kind, 0 elsewhere: (X, Y, Z)."""
        numbers = [lesion.number for lesion in self.found if lesion.kind == kind]
        either = self.either()
        return np.where(np.isin(either, numbers), either, np.int16(0))

    def reference(self, wanted: str) -> Mask:
        """Make the mask (X, Y, Z) of "new" lesions, of "positive" change (new and enlarging), or of any "change"."""
        if wanted == "new":
            return self.of_kind("new") > 0
        return np.asarray(self.change > 0 if wanted == "positive" else self.change != 0)


@dataclass(frozen=True, eq=False)
class _Site:
    """Where lesions of a kind can start: flat indices of brain voxels and their cumulated probabilities."""

    voxels: NDArray[np.intp]
    cumulated: NDArray[np.float64]


def grow_lesions(
    generator: np.random.Generator,
    anatomy: Anatomy,
    plans: tuple[LesionPlan, ...],
    pool: tuple[int, int, int],
    brain: Mask,
) -> LesionMaps:
    """Grow the planned lesions one after the other; one that finds no room is left out.

    Old lesions may touch, new ones touch no other: each is one component.

    Args:
        generator: Draws places and shapes.
        anatomy: The person's tissue.
        plans: The lesions to grow.
        pool: Voxels of the grid along each axis that make one voxel of the files.
        brain: The visible brain on the grid of the files, the ground of all labels.

    Returns:
        The lesions and their maps.
    """
    ground = anatomy.spread(anatomy.maps["wm"]) > _LEAST_WM
    apart = ground.copy()
    ventricle = anatomy.spread(anatomy.maps["ventricle_mm"], 100.0)
    sites = _sites(anatomy)
    files = anatomy.axes.pooled(pool)
    labels = (np.zeros(files.shape, np.int16), np.zeros(files.shape, np.int16))
    change = np.zeros(files.shape, np.int8)
    signals = (np.zeros(ground.shape, np.float32), np.zeros(ground.shape, np.float32))
    found: list[LesionRecord] = []
    least_mm3 = _SMALLEST_VOXELS * files.voxel_mm3
    for plan in sorted(plans, key=lambda plan: KINDS.index(plan.kind) == 1):
        free = apart if plan.kind == "new" else ground
        volumes = tuple(max(volume, least_mm3) if volume > 0 else 0.0 for volume in plan.volumes_mm3)
        settled = _settle(generator, anatomy, plan, volumes, sites[plan.place], ventricle, free, pool)
        if settled is None:
            continue
        window, bodies = settled
        local = _pooled_window(window, pool)
        before, after = (_voxels(block_means(body.share, pool)) for body in bodies)
        before, after = _nested(before, after, volumes)
        for signal, body, contrast in zip(signals, bodies, plan.contrasts, strict=True):
            np.maximum(signal[window], np.float32(contrast) * body.signal, out=signal[window])
        moved = _change(before, after, plan.contrasts)
        free_voxels = brain[local] & (labels[0][local] + labels[1][local] == 0)
        before, after, moved = before & free_voxels, after & free_voxels, moved * free_voxels
        if not (before | after).any():
            continue
        for label, body_voxels in zip(labels, (before, after), strict=True):
            label[local][body_voxels] = len(found) + 1
        change[local] += moved
        taken = np.maximum(bodies[0].share, bodies[1].share) > 0.05
        ground[window] &= ~taken
        apart[window] &= ~_fattened(_blown_up(_fattened(before | after), pool) | taken)
        found.append(_describe(len(found) + 1, plan, files, local, before, after, moved))
    return LesionMaps(tuple(found), labels, change, signals)


def _sites(anatomy: Anatomy) -> dict[str, _Site]:
    maps, below = anatomy.maps, anatomy.infratentorial()
    near, cortex = maps["ventricle_mm"], maps["cortex"]
    above = (maps["wm"] > 0.75) & ~below
    lateral = np.abs(anatomy.points_mm[0]) > 8  # not in the septum between the ventricles
    chances = {
        "periventricular": above * lateral * np.exp(-near / 3.5) * (near > 1) * (1 + 2 * maps["caps"]),
        "deep": above * (near > 9) * (cortex < 0.25),
        "juxtacortical": above * (near > 12) * (cortex > 0.35),
        "infratentorial": (maps["wm"] > 0.55) & below,
    }
    voxels = np.flatnonzero(anatomy.brain)
    sites = {}
    for place, chance in chances.items():
        kept = np.flatnonzero(chance > 0)
        sites[place] = _Site(voxels[kept], np.cumsum(chance[kept], dtype=np.float64))
    return sites


def _settle(
    generator: np.random.Generator,
    anatomy: Anatomy,
    plan: LesionPlan,
    volumes_mm3: tuple[float, ...],
    site: _Site,
    ventricle: Float,
    ground: Mask,
    pool: tuple[int, int, int],
) -> tuple[tuple[slice, slice, slice], tuple[GrownLesion, ...]] | None:
    if not len(site.voxels):
        return None
    for _ in range(_TRIES):
        where = int(np.searchsorted(site.cumulated, generator.random() * site.cumulated[-1], side="right"))
        start = np.array(np.unravel_index(site.voxels[min(where, len(site.voxels) - 1)], ground.shape))
        if not ground[tuple(start)]:
            continue
        metric = _stretch(generator, plan, ventricle, start)
        centre = anatomy.axes.world_mm(start + generator.uniform(-0.45, 0.45, 3))
        seed = LesionSeed(centre, metric, plan.roughness)
        body = grow_lesion(generator, seed, volumes_mm3, plan.softness, ground, anatomy.axes, pool)
        if body is not None:
            return body
    return None


def _stretch(
    generator: np.random.Generator, plan: LesionPlan, ventricle: Float, start: NDArray[np.intp]
) -> NDArray[np.float64]:
    """Draw the metric (3, 3) of an ellipsoid: its long axis points away from a near ventricle (Dawson's fingers)."""
    axis = generator.standard_normal(3)
    if plan.place == "periventricular":
        corner = tuple(slice(max(0, s - 1), s + 2) for s in start)
        if min(ventricle[corner].shape) > 1:
            axis = 0.3 * axis + np.array([float(slope.mean()) for slope in np.gradient(ventricle[corner])])
    axis /= np.linalg.norm(axis)
    along = np.outer(axis, axis)
    return np.asarray(np.eye(3) - (1 - 1 / plan.elongation) * along)


def _pooled_window(window: tuple[slice, slice, slice], pool: tuple[int, int, int]) -> tuple[slice, slice, slice]:
    first, second, third = (
        slice(part.start // count, part.stop // count) for part, count in zip(window, pool, strict=True)
    )
    return first, second, third


def block_means(fine: Float, pool: tuple[int, int, int]) -> Float:
    """Average over blocks of voxels.

    Args:
        fine: Values (X, Y, Z).
        pool: Voxels of a block along each axis.

    Returns:
        Means float32, one per block.
    """
    if pool == (1, 1, 1):
        return fine
    (x, y, z), (a, b, c) = fine.shape, pool
    return np.asarray(fine.reshape(x // a, a, y // b, b, z // c, c).mean(axis=(1, 3, 5)), dtype=np.float32)


def _blown_up(mask: Mask, pool: tuple[int, int, int]) -> Mask:
    for axis, count in enumerate(pool):
        mask = mask.repeat(count, axis) if count > 1 else mask
    return mask


def _voxels(share: Float) -> Mask:
    """Keep the largest piece of the voxels that are at least half lesion, or the fullest voxel if none is."""
    half = share >= 0.5
    if not half.any():
        fullest = np.arange(share.size).reshape(share.shape) == share.argmax()
        return np.asarray(fullest & (share > 0))
    return largest_component(half, 26)


def _nested(before: Mask, after: Mask, volumes_mm3: tuple[float, ...]) -> tuple[Mask, Mask]:
    """Make the larger visit of a lesion hold the voxels of the smaller."""
    if volumes_mm3[0] > volumes_mm3[1] > 0:
        before = before | after
    if volumes_mm3[1] > volumes_mm3[0] > 0:
        after = after | before
    return before, after


def _change(before: Mask, after: Mask, contrasts: tuple[float, float]) -> NDArray[np.int8]:
    """Mark +1 where a lesion came, -1 where it went or faded as a whole."""
    went = before if contrasts[1] < _FADED * contrasts[0] else before & ~after
    return np.asarray((after & ~before).astype(np.int8) - went.astype(np.int8))


def _fattened(mask: Mask) -> Mask:
    from scipy import ndimage

    return np.asarray(ndimage.binary_dilation(mask, np.ones((3, 3, 3), bool)))


def _describe(
    number: int,
    plan: LesionPlan,
    files: Axes,
    window: tuple[slice, slice, slice],
    before: Mask,
    after: Mask,
    moved: NDArray[np.int8],
) -> LesionRecord:
    centre = np.argwhere(before | after).mean(axis=0) + [part.start for part in window]
    voxel = files.voxel_mm3
    return LesionRecord(
        number=number,
        kind=plan.kind,
        place=plan.place,
        centre_mm=files.world_mm(centre),
        volume_mm3=float((before | after).sum() * voxel),
        volumes_mm3=(float(before.sum() * voxel), float(after.sum() * voxel)),
        change_mm3=float(np.count_nonzero(moved) * voxel),
        contrasts=plan.contrasts,
    )

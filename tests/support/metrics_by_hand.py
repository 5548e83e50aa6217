"""Second implementations for the tests: written from the definitions, voxel by voxel, slow and without cleverness."""

import itertools
import math
from collections import Counter

import numpy as np

from lesionloss.core.randomness import numpy_generator


def sparse_mask(generator, shape):
    """Isolated voxels and boxes, some of them cut by the border of the image; never empty."""
    mask = generator.random(shape) < generator.choice([0.0, 0.005, 0.02])
    for _ in range(generator.integers(1, 4)):
        start = [generator.integers(-2, size) for size in shape]
        stop = [begin + generator.integers(1, 6) for begin in start]
        mask[tuple(slice(max(a, 0), max(b, 1)) for a, b in zip(start, stop, strict=True))] = True
    return mask


# First voxels of twelve cubes of 2 x 2 x 2 beside one of 15 x 15 x 15 that begins at (5, 5, 5).
M1_FALSE_POSITIVES = (
    *((30, 46, 51), (42, 40, 36), (37, 42, 40), (45, 34, 35), (41, 43, 44), (29, 36, 38)),
    *((33, 33, 43), (38, 36, 41), (41, 31, 32), (39, 37, 47), (35, 46, 57), (48, 38, 39)),
)


def m1():
    """An exact lesion and twelve false positives whose places were sought so that they have the published figures of
    three libraries at once; the places themselves aren't published."""
    ref = np.zeros((60, 60, 60), dtype=bool)
    ref[5:20, 5:20, 5:20] = True
    pred = ref.copy()
    for x, y, z in M1_FALSE_POSITIVES:
        pred[x : x + 2, y : y + 2, z : z + 2] = True
    return pred, ref


def random_pair(number):
    """Two sparse masks and a spacing, every time the same for the same number; a third of them are 2-D."""
    generator = numpy_generator("metric tests", number)
    shape = tuple(int(size) for size in generator.integers(5, 14, size=2 if number % 3 == 0 else 3))
    spacing = tuple(float(step) for step in generator.choice([0.5, 0.7, 0.9, 1.0, 1.2, 3.0], size=len(shape)))
    reference = sparse_mask(generator, shape)
    related = np.roll(reference, 1, axis=0) if number % 2 else sparse_mask(generator, shape)
    return related, reference, spacing


def neighbours(voxel, connectivity):
    """The 6, 18 or 26 voxels around one (4 or 8 in 2-D)."""
    reach = {6: 1, 18: 2, 26: 3}[connectivity]
    for step in itertools.product((-1, 0, 1), repeat=len(voxel)):
        if 0 < sum(map(abs, step)) <= reach:
            yield tuple(a + b for a, b in zip(voxel, step, strict=True))


def voxels_of(mask):
    return {tuple(int(i) for i in voxel) for voxel in np.argwhere(mask)}


def border(mask):
    inside = voxels_of(mask)
    return [voxel for voxel in sorted(inside) if any(other not in inside for other in neighbours(voxel, 6))]


def distance_mm(a, b, spacing):
    return math.sqrt(sum(((x - y) * step) ** 2 for x, y, step in zip(a, b, spacing, strict=True)))


def directed_mm(source, target, spacing):
    """From each border voxel of one mask to the nearest of the other, over all pairs."""
    one, other = np.array(border(source)) * spacing, np.array(border(target)) * spacing
    return np.sqrt(((one[:, None] - other[None]) ** 2).sum(axis=-1)).min(axis=1)


def percentile(values, percent):
    """Linear interpolation between order statistics, the first at 0 % and the last at 100 %."""
    ordered = sorted(values)
    place = (len(ordered) - 1) * percent / 100
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def components(mask, connectivity, fewest):
    """Lists of voxels, largest first, then in order of appearance."""
    left = dict.fromkeys(sorted(voxels_of(mask)))
    found = []
    while left:
        seed = next(iter(left))
        del left[seed]
        queue, lesion = [seed], []
        while queue:
            voxel = queue.pop()
            lesion.append(voxel)
            for other in neighbours(voxel, connectivity):
                if other in left:
                    del left[other]
                    queue.append(other)
        found.append(lesion)
    return sorted((lesion for lesion in found if len(lesion) >= fewest), key=len, reverse=True)


def anima_detected(lesion, others, counterparts, rule):
    """The rule of the MSSEG challenge for one lesion: `others` are the lesions of the other mask, `counterparts` all
    lesions of its own mask."""
    covered, counted, outside = rule
    own = Counter(voxel for each in counterparts for voxel in each)
    shared = [len(set(lesion) & set(other)) for other in others]
    total = sum(shared)
    if not total / len(lesion) > covered:
        return False
    taken = 0.0
    for index in sorted(range(len(others)), key=lambda i: -shared[i]):
        if taken >= counted:
            return True
        if sum(voxel not in own for voxel in others[index]) / len(others[index]) > outside:
            return False
        taken += shared[index] / total
    return True


def anima_f1(pred, ref, spacing, connectivity=6, rule=(0.10, 0.65, 0.70)):
    fewest = math.floor(3 / math.prod(spacing)) + 1
    p, r = components(pred, connectivity, fewest), components(ref, connectivity, fewest)
    sensitivity = [anima_detected(lesion, p, r, rule) for lesion in r]
    ppv = [anima_detected(lesion, r, p, rule) for lesion in p]
    if not r and not p:
        return math.nan, sensitivity, ppv
    if not any(sensitivity) or not any(ppv):
        return 0.0, sensitivity, ppv
    s, v = np.mean(sensitivity), np.mean(ppv)
    return 2 * s * v / (s + v), sensitivity, ppv

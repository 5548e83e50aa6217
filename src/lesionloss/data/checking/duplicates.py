"""Duplicates that would stand in training and in test: one image twice, or one patient under two names.

Images are compared by their content, not by the bytes of their files: another compression, number type, scale of
intensities or a mirror image makes a new file of the same image.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

# Voxels of a thumbnail along each axis, in three and in two dimensions.
SIDES = {3: 16, 2: 32}
# Correlation of thumbnails above which images of two patients are one: rescaling and 8 bits stay above it.
SAME = 0.9999
# The same for one patient, whose visits may be as alike as .9995.
SAME_VISIT = 0.99999
# Two visits of one head reach .995, two heads .97 (measured on the Ljubljana longitudinal set).
ALIKE = 0.99
ALIKE_RATIO = 0.15


@dataclass(frozen=True, eq=False)
class Thumbnail:
    """A small version of an image and of its mirror images, of mean 0 and unit length: (1 + axes, N)."""

    case: str
    patient: str
    path: Path
    views: npt.NDArray[np.float32]


def thumbnail(case: str, patient: str, path: Path, image: npt.NDArray[Any]) -> Thumbnail:
    """Reduce an image and its mirror images along each axis to block means.

    Args:
        case: Name of the case.
        patient: Name of the patient.
        path: The file.
        image: Intensities (*space).

    Returns:
        The thumbnail.
    """
    flips = [image, *(np.flip(image, axis) for axis in range(image.ndim))]
    return Thumbnail(case, patient, path, np.stack([_small(view) for view in flips]))


def _small(image: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    small = image.astype(np.float64)
    for axis, length in enumerate(image.shape):
        edges = np.linspace(0, length, min(SIDES[image.ndim], length) + 1).astype(np.int64)
        widths = np.diff(edges).reshape([-1 if other == axis else 1 for other in range(image.ndim)])
        small = np.add.reduceat(small, edges[:-1], axis=axis) / widths
    small = small.ravel() - small.mean()
    norm = float(np.linalg.norm(small))
    return np.asarray(small / norm if norm > 0 else small, dtype=np.float32)


def same_images(thumbnails: Sequence[Thumbnail]) -> tuple[list[str], list[str]]:
    """Find images that occur twice.

    A file that serves two cases of one patient (the visit that two pairs share) is no problem.

    Args:
        thumbnails: One for each image.

    Returns:
        Problems, one line for each image that occurs twice; warnings about images of two patients that look like one
        head.
    """
    problems: list[str] = []
    warnings: list[str] = []
    for group in _of_one_size(thumbnails):
        plain = np.stack([one.views[0] for one in group])
        alike = plain @ plain.T
        best = np.max([plain @ np.stack([one.views[k] for one in group]).T for k in range(len(group[0].views))], axis=0)
        best = np.maximum(best, best.T)
        pairs = [(i, j) for i, j in np.argwhere(np.triu(best > SAME, 1))]
        named: set[tuple[str, str]] = set()
        for i, j in pairs:
            one, other = group[i], group[j]
            if one.patient == other.patient and (one.path == other.path or best[i, j] <= SAME_VISIT):
                continue
            named.add((one.patient, other.patient))
            problems.append(_same(one, other, mirrored=bool(alike[i, j] <= SAME)))
        warnings += _alike(group, alike, named)
    return problems, warnings


def _same(one: Thumbnail, other: Thumbnail, mirrored: bool) -> str:
    how = "the same image as, but mirrored," if mirrored else "the same image as"
    if one.patient == other.patient:
        return f"{other.path} is {how} {one.path}, of the same patient: remove one, or supply the right file"
    return (
        f"{other.path} is {how} {one.path}, of another patient: {one.patient} and {other.patient} would be one patient "
        "under two names, in training and in test; remove one of them or give both one name"
    )


def _alike(group: list[Thumbnail], alike: npt.NDArray[np.float32], named: set[tuple[str, str]]) -> list[str]:
    """Write a line for each two patients whose images are more similar than those of different heads are."""
    owners = np.array([one.patient for one in group])
    across = owners[:, None] != owners[None, :]
    if len(set(owners.tolist())) < 3:
        return []
    limit = max(ALIKE, 1 - ALIKE_RATIO * (1 - float(np.median(alike[across]))))
    lines: list[str] = []
    for i, j in np.argwhere(np.triu((alike > limit) & across, 1)):
        pair = (group[i].patient, group[j].patient)
        if pair not in named and pair[::-1] not in named:
            named.add(pair)
            lines.append(
                f"{group[i].path} and {group[j].path} look like one head (correlation {alike[i, j]:.4f}): "
                f"are {pair[0]} and {pair[1]} one patient? if so give both one name"
            )
    return lines


def image_numbers(thumbnails: Sequence[Thumbnail]) -> list[int]:
    """Number the thumbnails, with equal numbers for those that show the same image, mirrored or not."""
    numbers = list(range(len(thumbnails)))
    places: dict[tuple[int, ...], list[int]] = {}
    for index, one in enumerate(thumbnails):
        places.setdefault(one.views.shape, []).append(index)
    for indices in places.values():
        plain = np.stack([thumbnails[index].views[0] for index in indices])
        for row, index in enumerate(indices):
            best = (thumbnails[index].views @ plain[: row + 1].T).max(0)
            numbers[index] = numbers[indices[int(np.argmax(best > SAME))]] if best.max() > SAME else index
    return numbers


def _of_one_size(thumbnails: Iterable[Thumbnail]) -> list[list[Thumbnail]]:
    groups: dict[tuple[int, ...], list[Thumbnail]] = {}
    for one in thumbnails:
        groups.setdefault(one.views.shape, []).append(one)
    return list(groups.values())


def same_names(patients: Iterable[str]) -> list[str]:
    """Find patient names that differ only by case, separators, leading zeros or a prefix such as `sub-`."""
    spelled: dict[str, list[str]] = {}
    for name in sorted(set(patients)):
        spelled.setdefault(plain_name(name), []).append(name)
    return [
        f"patients {' and '.join(names)} look like one patient under {len(names)} names; give them one name"
        for names in spelled.values()
        if len(names) > 1
    ]


def plain_name(name: str) -> str:
    """Reduce a name: no case, separators, leading zeros or prefix sub, subject, patient, pat or case."""
    words = re.findall(r"[a-z]+|\d+", name.lower())
    if len(words) > 1 and words[0] in ("sub", "subject", "patient", "pat", "case"):
        words = words[1:]
    return " ".join(word.lstrip("0") or "0" for word in words)


def shared_references(masks: Sequence[tuple[str, str, Path, bytes]]) -> list[str]:
    """Write a line for each lesion mask that two patients share; `masks` are case, patient, file, digest."""
    return [
        f"{b[2]} marks the very same voxels as {a[2]}, of another patient: {a[1]} and {b[1]} would be one patient "
        "under two names; remove one of them or supply the right mask"
        for a, b in combinations(masks, 2)
        if a[3] == b[3] and a[1] != b[1]
    ]

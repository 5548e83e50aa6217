"""The table of lesions: one row each, from the largest on."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lesionloss.core.files import atomic_file
from lesionloss.data.volume import Affine
from lesionloss.inference.masks import numbered_lesions

COLUMNS = (
    *("lesion", "class", "voxels", "volume_mm3", "centre_r_mm", "centre_a_mm", "centre_s_mm"),
    *("mean_probability", "max_probability"),
)


@dataclass(frozen=True)
class FoundLesion:
    """A lesion of a prediction. `centre_mm`: mean position of its voxels, in mm to the right, front and top (RAS)."""

    number: int
    kind: str
    voxels: int
    volume_mm3: float
    centre_mm: tuple[float, float, float]
    mean_probability: float
    max_probability: float


def find_lesions_in(
    mask: NDArray[np.uint8],
    probability: NDArray[np.float32],
    affine: Affine,
    classes: Sequence[str],
    *,
    voxel_mm3: float,
    connectivity: int = 6,
) -> list[FoundLesion]:
    """Find the lesions of a mask.

    Args:
        mask: Class numbers (*space), 0 for background.
        probability: Of any lesion, (*space).
        affine: From voxel indices to mm.
        classes: Names of the classes; that of a lesion is the class of most of its voxels.
        voxel_mm3: Volume of a voxel in mm3.
        connectivity: 6, 18 or 26 neighbours, which make one lesion.

    Returns:
        The lesions, the largest first.
    """
    numbers = numbered_lesions(mask > 0, connectivity)
    inside = numbers > 0
    places = np.argwhere(inside)
    label = numbers[inside]
    found = []
    for number in range(1, int(label.max(initial=0)) + 1):
        own = label == number
        index = places[own]
        kind = int(np.bincount(mask[tuple(index.T)]).argmax())
        values = probability[tuple(index.T)].astype(np.float64)
        found.append(
            FoundLesion(
                number=number,
                kind=classes[kind - 1],
                voxels=len(index),
                volume_mm3=len(index) * voxel_mm3,
                centre_mm=_in_mm(index.mean(axis=0), affine),
                mean_probability=float(values.mean()),
                max_probability=float(values.max()),
            )
        )
    return found


def _in_mm(index: NDArray[np.float64], affine: Affine) -> tuple[float, float, float]:
    x, y, z = (affine[:3, : len(index)] @ index + affine[:3, 3]).tolist()
    return float(x), float(y), float(z)


def write_lesions(path: Path, lesions: Sequence[FoundLesion]) -> None:
    """Write the table with a header line; tabs between columns if the name ends in .tsv, else commas."""
    with atomic_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, delimiter="\t" if path.suffix == ".tsv" else ",", lineterminator="\n")
        writer.writerow(COLUMNS)
        for lesion in lesions:
            centre = (f"{place:.2f}" for place in lesion.centre_mm)
            numbers = (f"{lesion.mean_probability:.4f}", f"{lesion.max_probability:.4f}")
            writer.writerow([lesion.number, lesion.kind, lesion.voxels, f"{lesion.volume_mm3:.3f}", *centre, *numbers])

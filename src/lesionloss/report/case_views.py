"""A prepared case in radiological view: planes from below, rows from the front, columns from the patient's right.

A two-dimensional image is a volume of one plane whose rows and columns are those of the picture.
"""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesionloss.core.errors import DataError
from lesionloss.core.slice_pictures import WINDOW_PERCENT, plane_spacing_mm, upright
from lesionloss.runs.results import Results

_VISITS = {"baseline": "Baseline", "followup": "Follow-up"}


@dataclass(frozen=True, eq=False)
class CaseViews:
    """Arrays (planes, rows, columns); `counted` holds 1 for lesion, 0 for background, 2 for ignored voxels.

    `images`: title and array of each picture that is shown; `window`: the values shown as black and white; `labels`:
    class numbers of the reference, 0 in ignored voxels; `classes`: their names; `spacing_mm`: of planes, rows and
    columns; `space`: the shape of the case.
    """

    case: str
    patient: str
    images: tuple[tuple[str, NDArray[np.float32]], ...]
    window: tuple[float, float]
    counted: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    classes: tuple[str, ...]
    brain: NDArray[np.bool_]
    spacing_mm: tuple[float, float, float]
    affine: NDArray[np.float64]
    space: tuple[int, ...]

    @property
    def reference(self) -> NDArray[np.bool_]:
        """Where the reference is lesion (planes, rows, columns)."""
        return np.asarray(self.counted == 1)

    @property
    def flat(self) -> bool:
        """Whether the case is a two-dimensional picture."""
        return len(self.space) == 2

    @property
    def plane_mm(self) -> tuple[float, float]:
        """The size of a pixel of a plane: row, column."""
        return self.spacing_mm[1:]

    def turned(self, array: NDArray[Any]) -> NDArray[Any]:
        """An array on the grid of the case, (*space), as (planes, rows, columns)."""
        return upright(array, self.affine)


def views_of(results: Results, name: str) -> CaseViews:
    """The views of a case.

    Raises:
        DataError: Its file is absent or damaged.
    """
    arrays = results.case(name)
    try:
        affine = np.asarray(arrays["affine"], dtype=np.float64)
        reference = arrays["reference"] > 0
        ignore = arrays["ignore"] if arrays.get("ignore") is not None and arrays["ignore"].shape else None
        shown = {title: upright(image, affine) for title, image in _images(arrays).items()}
        brain = upright(arrays["brain"].astype(bool), affine)
    except (KeyError, IndexError) as error:
        raise DataError(f"{results.folder}/cohort/{name}.npz: no array {error}; prepare the cohort again") from error
    counted = reference.astype(np.uint8)
    if ignore is not None:
        counted[ignore.astype(bool)] = 2
    last = list(shown.values())[-1]
    inside = last[brain] if brain.any() else last.ravel()
    low, high = (float(level) for level in np.percentile(inside, WINDOW_PERCENT))
    return CaseViews(
        case=name,
        patient=next(case.patient for case in results.cohort if case.name == name),
        images=tuple(shown.items()),
        window=(low, high),
        counted=upright(counted, affine),
        labels=upright(np.where(counted == 1, arrays["reference"], 0).astype(np.uint8), affine),
        classes=tuple(json.loads(str(arrays["classes"]))),
        brain=brain,
        spacing_mm=_spacing_mm(affine, reference.ndim),
        affine=affine,
        space=reference.shape,
    )


def _images(arrays: dict[str, NDArray[Any]]) -> dict[str, NDArray[np.float32]]:
    """The two visits if there are two, else the first contrast; the channels of a picture as one grey image."""
    image = arrays["image"]
    names = json.loads(str(arrays["channels"])) if "channels" in arrays else []
    if not names and len(image) == 3 and image.ndim == 4:
        names = ["baseline", "followup", "difference"]
    visits: dict[str, NDArray[np.float32]] = {}
    for name, channel in zip(map(str, names), image, strict=False):
        title = _VISITS.get(name.partition(":")[0])
        if title:
            visits.setdefault(title, channel)
    if len(visits) == len(_VISITS):
        return visits
    return {"Image": image.mean(axis=0) if image.ndim == 3 else image[0]}


def _spacing_mm(affine: NDArray[np.float64], axes: int) -> tuple[float, float, float]:
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    if axes == 2:
        return 1.0, float(lengths[1]), float(lengths[0])
    row, column = plane_spacing_mm(affine)
    return float(np.prod(lengths)) / (row * column), row, column

"""A case on its way from a subject to a prepared case: what every step of a preparation takes and gives."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from lesionloss.data.resample import Grid
from lesionloss.data.subject import Image, Labels, Mask
from lesionloss.data.volume import Affine


@dataclass(frozen=True, eq=False)
class Work:
    """`visits` are float32 (C, *space), one entry per visit; `reference` class numbers (*space), 0 background.

    `grid` is where the arrays are now, `original` where the reference came from and results go back to; `motion` (4, 4)
    takes points of the first to points of the second, in mm. `cut` is the first voxel kept of a grid of shape `uncut`.
    `brain_from` says who made the brain mask: "file", "threshold", "tool NAME" or "" while there is none.
    `record` collects what the steps did, as plain values, and `repairs` what they mended, one line each.
    """

    name: str
    patient: str
    visits: tuple[Image, ...]
    reference: Labels | None
    brain: Mask | None
    ignore: Mask | None
    classes: tuple[str, ...]
    grid: Grid
    original: Grid
    motion: Affine
    brain_from: str = ""
    cut: tuple[int, ...] = ()
    uncut: tuple[int, ...] = ()
    cropped: bool = False
    difference: bool = False
    record: dict[str, Any] = field(default_factory=dict)
    repairs: tuple[str, ...] = ()

    @property
    def moved(self) -> bool:
        """Whether voxels are no longer voxels of the original grid."""
        shift = np.linalg.inv(self.original.affine) @ self.motion @ self.grid.affine
        whole = np.eye(4)
        whole[:3, 3] = np.rint(shift[:3, 3])
        return not np.allclose(shift, whole, atol=1e-5)

    def noted(self, step: str, facts: dict[str, Any], *repairs: str) -> "Work":
        """The same with what a step did."""
        return replace(self, record={**self.record, step: facts}, repairs=(*self.repairs, *repairs))

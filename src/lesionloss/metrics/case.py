"""One prediction with its reference: the input of every metric. Counts, surfaces and lesions are computed once."""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lesionloss.core.errors import DataError
from lesionloss.metrics.array_checks import (
    Mask,
    as_array,
    as_mask,
    as_probability,
    as_spacing,
    as_threshold,
    same_shape,
)
from lesionloss.metrics.thresholds import is_lesion

if TYPE_CHECKING:
    from lesionloss.metrics.borders import Box, SurfaceDistances
    from lesionloss.metrics.lesion_components import LesionComponents, LesionOverlap
    from lesionloss.metrics.surfels import SurfelDistances


class CaseStatus(StrEnum):
    """Which of the two masks is empty."""

    OK = "ok"
    PRED_EMPTY = "pred_empty"
    REF_EMPTY = "ref_empty"
    BOTH_EMPTY = "both_empty"


@dataclass(frozen=True)
class VoxelCounts:
    """Voxels that both masks hold (tp), only the prediction (fp), only the reference (fn), neither (tn)."""

    tp: int
    fp: int
    fn: int
    tn: int


class Case:
    """A prediction and its reference on one grid. Treat it as a constant: its quantities are computed once and kept.

    A volume of one slice has borders within the slice only, as a 2-D image.

    Args:
        prediction: A mask (bool, or integers 0 and 1), or a map of floats in [0, 1]; `*space`, 2-D or 3-D, an array or
            a tensor on the CPU.
        reference: A mask of the same shape.
        spacing_mm: Voxel size in mm along each axis.
        brain: A mask; the metrics of calibration over the brain are restricted to it, all others are not.
        ignore: A mask; these voxels are ignored in every metric.
        threshold: A voxel of a map is lesion where its probability is at least this.
        probability: The map of a prediction that is a mask, for the metrics of calibration.

    Raises:
        DataError: for shapes, values or a spacing that are invalid.
    """

    def __init__(
        self,
        prediction: Any,
        reference: Any,
        *,
        spacing_mm: Sequence[float],
        brain: Any = None,
        ignore: Any = None,
        threshold: float = 0.5,
        probability: Any = None,
    ) -> None:
        """Check all arrays, see the class."""
        given = as_array("prediction", prediction)
        is_map = given.dtype.kind == "f"
        self.shape: tuple[int, ...] = given.shape
        self.spacing_mm = as_spacing(spacing_mm, given.ndim)
        self.threshold = as_threshold(threshold)
        if is_map and probability is not None:
            raise DataError("probability: the prediction is a map of floats itself; pass one map, or a mask and a map")
        self.probability = as_probability("prediction", given) if is_map else self._map_beside(probability)
        self.ignore = self._mask_beside("ignore", ignore)
        self.brain = self._mask_beside("brain", brain)
        self.prediction = self._counted(is_lesion(given, self.threshold) if is_map else as_mask("prediction", given))
        same_shape("reference", as_array("reference", reference), self.shape)
        self.reference = self._counted(as_mask("reference", reference))

    def _map_beside(self, value: Any) -> NDArray[Any] | None:
        if value is None:
            return None
        given = as_array("probability", value)
        same_shape("probability", given, self.shape)
        return as_probability("probability", given)

    def _mask_beside(self, name: str, value: Any) -> Mask | None:
        if value is None:
            return None
        mask = as_mask(name, value)
        same_shape(name, mask, self.shape)
        return mask

    def _counted(self, mask: Mask) -> Mask:
        return mask if self.ignore is None else mask & ~self.ignore

    @property
    def voxel_mm3(self) -> float:
        """Volume of a voxel in mm3 (area in mm2 for a 2-D image)."""
        return math.prod(self.spacing_mm)

    @property
    def diagonal_mm(self) -> float:
        """Diagonal of the image in mm: no distance inside it is longer."""
        return math.hypot(*(size * step for size, step in zip(self.shape, self.spacing_mm, strict=True)))

    @cached_property
    def in_voxels(self) -> "Case":
        """The same case with voxels whose edges are all 1, so that its distances are in voxels."""
        twin = copy.copy(self)
        for measured in ("distances", "surfels", "_near"):
            twin.__dict__.pop(measured, None)
        twin.spacing_mm = (1.0,) * len(self.shape)
        return twin

    @cached_property
    def counts(self) -> VoxelCounts:
        """Voxel counts outside `ignore`."""
        pred = int(np.count_nonzero(self.prediction))
        ref = int(np.count_nonzero(self.reference))
        box = self.box
        tp = int(np.count_nonzero(self.prediction[box] & self.reference[box])) if box else 0
        ignored = 0 if self.ignore is None else int(np.count_nonzero(self.ignore))
        total = self.prediction.size - ignored
        return VoxelCounts(tp=tp, fp=pred - tp, fn=ref - tp, tn=total - pred - ref + tp)

    @cached_property
    def status(self) -> CaseStatus:
        """Which of the two masks is empty."""
        if self._pred_box is None:
            return CaseStatus.BOTH_EMPTY if self._ref_box is None else CaseStatus.PRED_EMPTY
        return CaseStatus.REF_EMPTY if self._ref_box is None else CaseStatus.OK

    @cached_property
    def _pred_box(self) -> "Box | None":
        from lesionloss.metrics.borders import bounding_box

        return bounding_box(self.prediction)

    @cached_property
    def _ref_box(self) -> "Box | None":
        from lesionloss.metrics.borders import bounding_box

        return bounding_box(self.reference)

    @cached_property
    def box(self) -> "Box | None":
        """The smallest box that holds both masks; None if both are empty."""
        from lesionloss.metrics.borders import union

        return union(self._pred_box, self._ref_box)

    @cached_property
    def distances(self) -> "SurfaceDistances":
        """Distances in mm between the borders; only where `status` is ok."""
        from lesionloss.metrics.borders import surface_distances

        if self._pred_box is None or self._ref_box is None:
            raise ValueError(f"no surface distances: the status of this case is {self.status}")
        (pred, ref), axes = self._without_slice_axis
        boxes = (tuple(box[axis] for axis in axes) for box in (self._pred_box, self._ref_box))
        return surface_distances(pred, ref, tuple(self.spacing_mm[axis] for axis in axes), *boxes)

    @cached_property
    def surfels(self) -> "SurfelDistances":
        """Distances in mm between the surface elements, with their areas; only where `status` is ok."""
        from lesionloss.metrics.surfels import surfel_distances

        if self.box is None or self.status is not CaseStatus.OK:
            raise ValueError(f"no surface distances: the status of this case is {self.status}")
        (pred, ref), axes = self._without_slice_axis
        box = tuple(self.box[axis] for axis in axes)
        return surfel_distances(pred[box], ref[box], tuple(self.spacing_mm[axis] for axis in axes))

    @property
    def _without_slice_axis(self) -> tuple[tuple[Mask, Mask], tuple[int, ...]]:
        """Both masks without the axis of a volume of one slice, and the axes that are left."""
        axes = tuple(axis for axis, size in enumerate(self.shape) if size > 1)
        if len(axes) != 2:
            return (self.prediction, self.reference), tuple(range(len(self.shape)))
        shape = tuple(self.shape[axis] for axis in axes)
        return (self.prediction.reshape(shape), self.reference.reshape(shape)), axes

    @cached_property
    def _near(self) -> dict[float, Mask]:
        return {}

    def near_reference(self, radius_mm: float) -> Mask:
        """Voxels whose centre lies within `radius_mm` of a voxel of the reference; none if the reference is empty."""
        from lesionloss.metrics.lesion_neighbourhood import neighbourhood

        if radius_mm not in self._near:
            self._near[radius_mm] = neighbourhood(self.reference, self._ref_box, self.spacing_mm, radius_mm)
        return self._near[radius_mm]

    @cached_property
    def _overlaps(self) -> "dict[tuple[int, int], tuple[LesionComponents, LesionComponents, LesionOverlap]]":
        return {}

    def lesions(self, connectivity: int, min_voxels: int) -> "tuple[LesionComponents, LesionComponents, LesionOverlap]":
        """Lesions of prediction and reference inside `box`, and how they overlap; kept for each pair of rules."""
        from lesionloss.metrics.lesion_components import find_lesions, overlap

        key = (connectivity, min_voxels)
        if key not in self._overlaps:
            box = self.box or tuple(slice(0, 1) for _ in self.shape)
            pred = find_lesions(self.prediction[box], connectivity, min_voxels)
            ref = find_lesions(self.reference[box], connectivity, min_voxels)
            self._overlaps[key] = (pred, ref, overlap(pred, ref))
        return self._overlaps[key]

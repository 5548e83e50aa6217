"""Maps that depend on the reference only, by name: which lesion a voxel belongs to, how far it is from the lesions.

A map is a function of one image and one class, registered once. They are computed on the CPU, by whoever makes the
batches or by the loss itself. A whole batch of them is one operation of torch, which `torch.compile`, `torch.export`
and `vmap` leave as it is.
"""

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lesionloss.core.catalogue import Catalogue, defined_again
from lesionloss.core.components import label_components
from lesionloss.core.errors import UsageError
from lesionloss.core.extras import MissingExtraError, missing_extra

Mask = npt.NDArray[np.bool_]
Spacing = tuple[float, ...]
MapFunction = Callable[[Mask, Spacing], npt.NDArray[Any]]

CONNECTIVITY = 26  # voxels that touch at a corner are of one lesion, as in the code of blob loss and of CC-Metrics
_NUMBERS: dict[np.dtype[Any], torch.dtype] = {np.dtype(np.int32): torch.int32, np.dtype(np.float32): torch.float32}


@dataclass(frozen=True)
class ReferenceMap:
    """A registered map; `dtype` is that of its numbers."""

    name: str
    title: str
    dtype: torch.dtype
    function: MapFunction


MAPS: Catalogue[ReferenceMap] = Catalogue("reference map")


def reference_map(name: str, dtype: npt.DTypeLike = np.float32) -> Callable[[MapFunction], MapFunction]:
    """Register a function as a map of the reference, for losses that name it in `maps=`.

    Args:
        name: how losses name it.
        dtype: of its numbers, int32 or float32.

    Returns:
        A decorator of `f(lesion, spacing_mm)`: a bool array (*space), the voxels of one class in one image without
        masked ones, and the edge lengths of a voxel, to an array of the same shape. The first line of the docstring is
        the title.

    Raises:
        UsageError: the name is taken, the docstring is missing, or there is no such type of numbers.
    """

    def register(function: MapFunction) -> MapFunction:
        title = (inspect.getdoc(function) or "").split("\n", 1)[0].strip()
        if not title:
            raise UsageError(f"reference map {name!r} has no docstring; its first line becomes the title")
        numbers = _NUMBERS.get(np.dtype(dtype))
        if numbers is None:
            raise UsageError(f"reference map {name!r}: dtype must be int32 or float32, got {np.dtype(dtype)}")
        again = name in MAPS and defined_again(function, MAPS.get(name).function)
        MAPS.add(name, ReferenceMap(name, title, numbers, function), again=again)
        return function

    return register


@reference_map("lesions", np.int32)
def lesions(lesion: Mask, spacing_mm: Spacing) -> npt.NDArray[np.int32]:
    """Number of the lesion that a voxel belongs to, from 1 on; 0 outside."""
    return label_components(lesion, CONNECTIVITY)[0]


@reference_map("lesion_voxels")
def lesion_voxels(lesion: Mask, spacing_mm: Spacing) -> npt.NDArray[np.float32]:
    """Number of voxels of the lesion that a voxel belongs to; 0 outside."""
    numbers, _ = label_components(lesion, CONNECTIVITY)
    sizes = np.bincount(numbers.reshape(-1)).astype(np.float32)
    sizes[0] = 0
    return sizes[numbers]


@reference_map("nearest_lesion", np.int32)
def nearest_lesion(lesion: Mask, spacing_mm: Spacing) -> npt.NDArray[np.int32]:
    """Number of the lesion that is nearest to a voxel, by the distance in mm; 0 where there is no lesion."""
    numbers, count = label_components(lesion, CONNECTIVITY)
    if count < 2:
        return np.full_like(numbers, count)
    from scipy.ndimage import distance_transform_edt

    nearest = distance_transform_edt(~lesion, sampling=spacing_mm, return_distances=False, return_indices=True)
    return np.asarray(numbers[tuple(nearest)])


@reference_map("distance_mm")
def distance_mm(lesion: Mask, spacing_mm: Spacing) -> npt.NDArray[np.float32]:
    """Distance to the nearest voxel of the lesions, in lesions minus that to the nearest voxel outside; else 0."""
    if not lesion.any() or lesion.all():
        return np.zeros(lesion.shape, dtype=np.float32)
    from scipy.ndimage import distance_transform_edt

    outside, inside = (distance_transform_edt(side, sampling=spacing_mm) for side in (~lesion, lesion))
    return (outside - inside).astype(np.float32)


def compute(name: str, lesion: Tensor, spacing_mm: Tensor) -> Tensor:
    """Compute a map of each image and class.

    Args:
        name: the map.
        lesion: (R, L, *space) bool, the voxels of L classes in R images.
        spacing_mm: (R, axes) or (1, axes), on the CPU.

    Returns:
        (R, L, *space), on the device of `lesion`. A GPU is waited for.

    Raises:
        UsageError: there is no such map, or its function fails.
    """
    MAPS.get(name)
    here = lesion if lesion.is_meta else lesion.detach().cpu()
    found: Tensor = _operation(here, spacing_mm.to(here.device), name)
    return found.to(lesion.device)


@torch.library.custom_op("lesionloss::reference_map", mutates_args=())
def _operation(lesion: Tensor, spacing_mm: Tensor, name: str) -> Tensor:
    record, masks = MAPS.get(name), lesion.numpy()
    spacings = np.broadcast_to(spacing_mm.numpy(), (len(masks), masks.ndim - 2)).tolist()
    found = torch.empty(lesion.shape, dtype=record.dtype, device="cpu")
    for image, spacing in enumerate(spacings):
        for number, mask in enumerate(masks[image]):
            found[image, number] = torch.from_numpy(_computed(record, mask, tuple(spacing)))
    return found


@_operation.register_fake
def _shape_of_map(lesion: Tensor, spacing_mm: Tensor, name: str) -> Tensor:
    return torch.empty_like(lesion, dtype=MAPS.get(name).dtype, memory_format=torch.contiguous_format)


@_operation.register_vmap
def _map_of_many(
    info: object, places: tuple[int | None, ...], lesion: Tensor, spacing_mm: Tensor, name: str
) -> tuple[Tensor, int]:
    many = info.batch_size  # type: ignore[attr-defined]
    parts = [
        x.movedim(place, 0) if place is not None else x.expand(many, *x.shape)
        for x, place in zip((lesion, spacing_mm), places[:2], strict=True)
    ]
    shape, edges = parts[0].shape, parts[1].expand(many, parts[0].shape[1], -1)
    return _operation(parts[0].flatten(0, 1), edges.flatten(0, 1), name).view(shape), 0


def _computed(record: ReferenceMap, mask: Mask, spacing_mm: Spacing) -> npt.NDArray[Any]:
    try:
        found = record.function(mask, spacing_mm)
    except ModuleNotFoundError as error:
        raise missing_extra(error, f"reference map {record.name}", "metrics") or error from error
    except MissingExtraError:
        raise
    if not isinstance(found, np.ndarray) or found.shape != mask.shape:
        got = found.shape if isinstance(found, np.ndarray) else type(found).__name__
        raise UsageError(f"reference map {record.name!r} must give an array {mask.shape}, got {got}")
    return np.ascontiguousarray(found)


def needed_by(names: Iterable[str]) -> tuple[str, ...]:
    """The names of maps, each once.

    Raises:
        UsageError: there is no such map.
    """
    return tuple(MAPS.get(name).name for name in dict.fromkeys(names))

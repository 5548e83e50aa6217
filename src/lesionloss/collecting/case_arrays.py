"""Read the arrays of one case: its reference and image, and a prediction with its map, all on one grid."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesionloss.collecting.found_predictions import ClassLabels, Prediction, Source
from lesionloss.core.errors import DataError
from lesionloss.core.npz_files import read_npz
from lesionloss.data.nifti import read_labels, read_mask, read_probability, read_volume
from lesionloss.data.prepared import PreparedCase
from lesionloss.data.volume import Volume, same_grid
from lesionloss.metrics.array_checks import as_array, as_mask, as_probability, as_spacing
from lesionloss.metrics.case_from_files import predicted_mask
from lesionloss.metrics.thresholds import is_lesion

DIFFERING = 0.01  # share of the marked voxels in which a mask and its map may differ, by rounding
NNUNET_MAPS = "probabilities"  # the array in nnU-Net's .npz


@dataclass(frozen=True, eq=False)
class ReadPrediction:
    """A prediction on the grid of its reference.

    Attributes:
        labels: The class numbers uint8 (*space); 0: background.
        maps: The probability of each class float32 (classes, *space), None where there are masks alone.
    """

    labels: NDArray[np.uint8]
    maps: NDArray[np.float32] | None

    @property
    def lesion(self) -> NDArray[np.float32]:
        """The probability of any lesion (*space); 0 and 1 where there are masks alone."""
        if self.maps is None:
            return (self.labels > 0).astype(np.float32)
        return np.asarray(self.maps.sum(axis=0).clip(0, 1), dtype=np.float32)


def read_reference(prediction: Prediction, labels: ClassLabels) -> PreparedCase:
    """Read reference and image of a case, on the whole grid.

    Without an image, the pictures show masks alone, on black.

    Raises:
        DataError: A file or array is damaged, or they are not on one grid.
    """
    volume = _labels(prediction.reference, f"reference of {prediction.case}", prediction, labels, read_mask)
    numbers, ignore = _class_numbers(volume.array, labels)
    image = np.zeros(numbers.shape, dtype=np.float32)
    if prediction.image is not None:
        found = _image(prediction.image, prediction)
        _on_grid(found, prediction.image, volume)
        image = found.array
    return PreparedCase(
        name=prediction.case,
        patient=prediction.patient or prediction.case,
        image=image[None],
        channels=("image",),
        reference=numbers,
        brain=np.ones(numbers.shape, dtype=np.bool_),
        affine=volume.affine,
        offset=(0,) * numbers.ndim,
        original_shape=numbers.shape,
        ignore=ignore,
        classes=labels.names,
    )


def read_prediction(
    prediction: Prediction, case: PreparedCase, labels: ClassLabels, threshold: float | None
) -> ReadPrediction:
    """Read a prediction.

    Args:
        prediction: The prediction.
        case: Its case.
        labels: What is lesion.
        threshold: The threshold of maps; None: the prediction is a mask, and that of a map beside it is 0.5.

    Raises:
        DataError: A file or array is damaged, not on the grid of the reference, or mask and map do not belong together.
    """
    grid = Volume(case.reference, case.affine, _name(prediction.reference, f"reference of {prediction.case}"))
    level = 0.5 if threshold is None else threshold
    if threshold is not None and prediction.probability is None:
        volume = _map(prediction.prediction, f"prediction of {prediction.case}", prediction)
        _on_grid(volume, prediction.prediction, grid)
        return ReadPrediction(is_lesion(volume.array, level).astype(np.uint8), volume.array[None])
    found = _labels(prediction.prediction, f"prediction of {prediction.case}", prediction, labels, predicted_mask)
    _on_grid(found, prediction.prediction, grid)
    numbers, _ = _class_numbers(found.array, replace(labels, ignore=None))
    if prediction.probability is None:
        return ReadPrediction(numbers, None)
    maps, winner = _maps(prediction, prediction.probability, grid, labels, level)
    _check_belonging(prediction, numbers, winner)
    return ReadPrediction(numbers, maps)


def _class_numbers(array: NDArray[Any], labels: ClassLabels) -> tuple[NDArray[np.uint8], NDArray[np.bool_] | None]:
    """Label numbers as class numbers from 1 on; labels of no class are background."""
    numbers = np.zeros(array.shape, dtype=np.uint8)
    for number, label in enumerate(labels.numbers.values() or (1,), 1):
        numbers[array == label] = number
    ignore = None if labels.ignore is None else array == labels.ignore
    return numbers, ignore if ignore is not None and ignore.any() else None


def _maps(
    prediction: Prediction, source: Source, grid: Volume[np.uint8], labels: ClassLabels, level: float
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """The maps of the classes, and the class numbers that they give.

    Raises:
        DataError: They are not on the grid, or of other classes.
    """
    if not (isinstance(source, Path) and source.suffix == ".npz"):
        volume = _map(source, f"probabilities of {prediction.case}", prediction)
        _on_grid(volume, source, grid)
        return volume.array[None], is_lesion(volume.array, level).astype(np.uint8)
    found = read_nnunet_maps(source)
    count = len(labels.names)
    if found.shape[1:] != grid.array.shape:
        raise DataError(f"{source}: shape {found.shape[1:]}, its reference has {grid.array.shape}; predict it again")
    if len(found) != count + 1:
        raise DataError(
            f"{source}: {len(found)} maps, expected {count + 1}, of the background and of {', '.join(labels.names)}; "
            "collect without probabilities where training was by regions"
        )
    return found[1:], found.argmax(axis=0).astype(np.uint8)


def read_nnunet_maps(path: Path) -> NDArray[np.float32]:
    """Read the maps that nnU-Net writes with `--npz`, as (classes, X, Y, Z): it stores the axes in reverse.

    Raises:
        DataError: The file is damaged, or holds no such maps.
    """
    try:
        arrays = read_npz(path, lambda name: name == NNUNET_MAPS)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is damaged: {error}; predict it again") from error
    maps = arrays.get(NNUNET_MAPS, np.zeros(0))
    if maps.ndim != 4 or maps.dtype.kind != "f":
        raise DataError(f"{path}: no array {NNUNET_MAPS!r} of shape (classes, Z, Y, X); write it with nnU-Net's --npz")
    return np.ascontiguousarray(maps.transpose(0, 3, 2, 1), dtype=np.float32)


def _check_belonging(prediction: Prediction, mask: NDArray[np.uint8], from_maps: NDArray[np.uint8]) -> None:
    """Raise DataError where a mask is not the one that its maps give."""
    marked = int(((mask > 0) | (from_maps > 0)).sum())
    differing = int((mask != from_maps).sum())
    if differing > DIFFERING * marked:
        given = ((prediction.prediction, "prediction"), (prediction.probability, "probabilities"))
        mask_name, maps_name = (
            source if isinstance(source, Path) else f"the {kind} of {prediction.case}" for source, kind in given
        )
        raise DataError(
            f"{mask_name} is not the mask that {maps_name} gives: {differing} of {marked} marked voxels differ; give "
            "the threshold that made the masks with --threshold, or the probabilities of these masks, in the same "
            "order of classes"
        )


def _on_grid(volume: Volume[Any], source: Source, grid: Volume[Any]) -> None:
    """Raise DataError unless both are on one grid; of an array, only the shape is known."""
    if isinstance(source, Path) and grid.array.ndim == 3:
        same_grid(volume, grid)
    elif volume.array.shape != grid.array.shape:
        raise DataError(
            f"{volume.path}: shape {volume.array.shape}, its reference has {grid.array.shape}; make them one grid"
        )


def _name(source: Source, words: str) -> Path:
    return source if isinstance(source, Path) else Path(words)


def _volume(array: NDArray[Any], words: str, prediction: Prediction) -> Volume[Any]:
    """An array with its place: axes along those of the patient, the first voxel at 0."""
    spacing = as_spacing(prediction.spacing_mm, array.ndim)
    affine = np.diag([*spacing, *(1.0,) * (4 - array.ndim)]).astype(np.float64)
    return Volume(array, affine, Path(words))


def _labels(
    source: Source,
    words: str,
    prediction: Prediction,
    labels: ClassLabels,
    read: Callable[[Path], Volume[Any]],
) -> Volume[Any]:
    """A mask or label map; a file of a mask is read by `read`."""
    if isinstance(source, Path):
        return read_labels(source) if labels.numbers or labels.ignore is not None else read(source)
    array = as_array(words, source)
    if labels.numbers and array.dtype.kind not in "iub":
        raise DataError(f"{words}: expected integer labels, got dtype {array.dtype}; take the argmax first")
    return _volume(array if labels.numbers else as_mask(words, array), words, prediction)


def _map(source: Source, words: str, prediction: Prediction) -> Volume[np.float32]:
    if isinstance(source, Path):
        return read_probability(source)
    array = as_probability(words, as_array(words, source))
    return _volume(np.asarray(array, dtype=np.float32), words, prediction)


def _image(source: Source, prediction: Prediction) -> Volume[np.float32]:
    if isinstance(source, Path):
        return read_volume(source)
    words = f"image of {prediction.case}"
    return _volume(np.asarray(as_array(words, source), dtype=np.float32), words, prediction)

"""Read the NIfTI files of a case and check that they lie on one grid."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lesionloss.core.errors import DataError
from lesionloss.metrics.case import Case
from lesionloss.metrics.file_matching import EvaluatedFiles
from lesionloss.metrics.several_classes import class_cases
from lesionloss.metrics.thresholds import ThresholdCounts, count_thresholds

if TYPE_CHECKING:
    from lesionloss.data.volume import Volume


def _beside(beside: Mapping[str, Path], reference: "Volume[Any]") -> dict[str, Any]:
    """The arrays beside the masks, as arguments of Case."""
    from lesionloss.data.nifti import read_mask, read_probability
    from lesionloss.data.volume import same_grid

    arrays: dict[str, Any] = {}
    for kind, path in beside.items():
        volume = read_probability(path) if kind == "probabilities" else read_mask(path)
        same_grid(volume, reference)
        arrays["probability" if kind == "probabilities" else kind] = volume.array
    return arrays


def predicted_mask(path: Path) -> "Volume[Any]":
    """A mask; a map in its place gets the advice that helps here.

    Raises:
        DataError: for a file that is no mask of 0 and 1.
    """
    from lesionloss.data.nifti import read_mask, read_probability

    try:
        return read_mask(path)
    except DataError as as_mask:
        try:
            read_probability(path)
        except DataError:
            raise as_mask from None
        raise DataError(
            f"{path}: not a mask of 0 and 1, these look like probabilities; add --threshold 0.5, or give masks as "
            "predictions and these as --probabilities"
        ) from None


def read_case(files: EvaluatedFiles, threshold: float | None) -> Case:
    """Read a case of two masks, or of a probability map and a mask.

    Raises:
        DataError: for a file that is invalid or lies on another grid.
    """
    from lesionloss.data.nifti import read_mask, read_probability
    from lesionloss.data.volume import same_grid

    reference, beside = read_mask(files.reference), dict(files.beside)
    if threshold is None:
        prediction: Volume[Any] = predicted_mask(files.prediction)
    else:
        prediction = read_probability(beside.pop("probabilities", files.prediction))
    same_grid(prediction, reference)
    level = 0.5 if threshold is None else threshold
    arrays = _beside(beside, reference)
    return Case(prediction.array, reference.array, spacing_mm=reference.spacing_mm, threshold=level, **arrays)


def read_classes(files: EvaluatedFiles, classes: Sequence[int]) -> dict[str, Case]:
    """Read a case of two label maps, as one for each label.

    Raises:
        DataError: as `read_case`.
    """
    from lesionloss.data.nifti import read_labels
    from lesionloss.data.volume import same_grid

    prediction, reference = read_labels(files.prediction), read_labels(files.reference)
    same_grid(prediction, reference)
    ignore = _beside(files.beside, reference).get("ignore")
    spacing = reference.spacing_mm
    cases = class_cases(prediction.array, reference.array, spacing_mm=spacing, classes=classes, ignore=ignore)
    return {str(label): case for label, case in cases.items()}


def count_case(files: EvaluatedFiles, thresholds: tuple[float, ...]) -> ThresholdCounts:
    """Counts of one case at all thresholds; the map is that in "probabilities" if given, or else the prediction.

    Raises:
        DataError: as `read_case`.
    """
    from lesionloss.data.nifti import read_mask, read_probability
    from lesionloss.data.volume import same_grid

    reference = read_mask(files.reference)
    probability = read_probability(files.beside.get("probabilities", files.prediction))
    same_grid(probability, reference)
    ignore = _beside(files.beside, reference).get("ignore")
    return count_thresholds(probability.array, reference.array, thresholds, ignore=ignore)

"""What nnU-Net writes beside its results: folds in splits_final.json, labels in dataset.json."""

import json
import os
from pathlib import Path
from typing import Any

from lesionloss.collecting.found_predictions import ClassLabels
from lesionloss.core.errors import DataError

PREPROCESSED = "nnUNet_preprocessed"  # nnU-Net's variable, and the usual name of its folder
SIDES = ("train", "val")
ENDING = ".nii.gz"


def read_splits(results: Path) -> dict[int, dict[str, list[str]]]:
    """Return the folds of splits_final.json, where it is found.

    Raises:
        DataError: The file is damaged.
    """
    roots = [os.environ.get(PREPROCESSED, ""), str(results.resolve().parent.parent / PREPROCESSED)]
    for root in filter(None, roots):
        path = Path(root) / results.resolve().name / "splits_final.json"
        if path.is_file():
            try:
                read = json.loads(path.read_text(encoding="utf-8"))
                return {fold: {side: list(map(str, each[side])) for side in SIDES} for fold, each in enumerate(read)}
            except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
                raise DataError(f"{path}: not nnU-Net's list of train and val ({error!r}); copy it again") from error
    return {}


def read_labels(paths: list[Path]) -> ClassLabels:
    """Return the labels of dataset.json, which all trainers must share.

    Raises:
        DataError: They do not, a file is damaged, or predictions have another ending.
    """
    records = [read_record(path) for path in paths]
    first = records[0].get("labels", {})
    for path, record in zip(paths, records, strict=True):
        if record.get("labels") != first:
            raise DataError(f"{path} has other labels than {paths[0]}; collect them apart")
        ending = record.get("file_ending", ENDING)
        if ending != ENDING:
            raise DataError(f"{path}: file_ending {ending}; predictions are read as {ENDING}, so convert them first")
    return labels_of(first)


def labels_of(labels: dict[str, Any]) -> ClassLabels:
    """The classes of a dataset.json. Of regions, each of their labels is a class of its own, called `label 1`."""
    ignore = labels.get("ignore")
    numbers: dict[str, int] = {}
    for name, value in labels.items():
        if name in ("background", "ignore"):
            continue
        if isinstance(value, list):
            numbers |= {f"label {label}": int(label) for label in value}
        else:
            numbers[name] = int(value)
    return ClassLabels(numbers, None if ignore is None else int(ignore))


def read_record(path: Path) -> dict[str, Any]:
    """Return a JSON file that holds a record.

    Raises:
        DataError: It can't be read, or holds something else.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} can't be read ({error}); copy it again from nnU-Net's results") from error
    if not isinstance(record, dict):
        raise DataError(f"{path}: expected a JSON object, got {type(record).__name__}")
    return record

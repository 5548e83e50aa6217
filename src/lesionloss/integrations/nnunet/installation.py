"""nnU-Net as it is installed here: its version, its folders, its data sets, and its commands with our trainers."""

import json
import os
import re
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lesionloss.core.catalogue import nearest
from lesionloss.core.errors import DataError, UsageError
from lesionloss.core.extras import require

EXTERNAL = Path(__file__).parent / "external"
VARIABLE, RAW = "nnUNet_extTrainer", "nnUNet_raw"
LOWEST = (2, 8)  # the first version that looks for trainers outside of its package


def check_installed() -> None:
    """Check that nnU-Net is there and finds trainers outside of its package.

    Raises:
        UsageError: It is missing or too old.
    """
    require("nnunet", "nnunet")
    found = version("nnunetv2")
    if tuple(map(int, re.findall(r"\d+", found)[:2])) < LOWEST:
        raise UsageError(
            f"nnunetv2 {found} finds no trainers outside of its package; "
            f'needed is {LOWEST[0]}.{LOWEST[1]} or newer: pip install "lesionloss[nnunet]"'
        )


def folder_of(variable: str) -> Path:
    """Return one of nnU-Net's folders.

    Args:
        variable: `nnUNet_raw`, `nnUNet_preprocessed` or `nnUNet_results`.

    Raises:
        UsageError: The environment variable is not set.
    """
    value = os.environ.get(variable)
    if not value:
        raise UsageError(f"the environment variable {variable} is not set; export {variable}=FOLDER, as for nnU-Net")
    return Path(value)


def trainers_path(environment: Mapping[str, str]) -> str:
    """Return the value of `nnUNet_extTrainer` with our trainers in front of what it holds."""
    others = [path for path in environment.get(VARIABLE, "").split(os.pathsep) if path and Path(path) != EXTERNAL]
    return os.pathsep.join([str(EXTERNAL), *others])


def dataset_name(dataset: str) -> str:
    """Return the full name of a data set that is preprocessed, such as `Dataset501_MS` for `501`.

    Raises:
        UsageError: There is none, or several have this number.
    """
    folder = folder_of("nnUNet_preprocessed")
    there = sorted(path.name for path in folder.glob("Dataset*") if path.is_dir())
    found = [name for name in there if name == dataset or (dataset.isdecimal() and _number(name) == int(dataset))]
    if len(found) != 1:
        many = f"{', '.join(found)} have number {dataset}" if found else f"no data set {dataset}"
        advice = "give the full name" if found else f"{nearest(dataset, there)}; nnUNetv2_plan_and_preprocess makes it"
        raise UsageError(f"{folder}: {many}; {advice}")
    return found[0]


def configuration_of(dataset: str, plans: str, configuration: str) -> dict[str, Any]:
    """Return a configuration of a data set's plans, checked to be preprocessed.

    Args:
        dataset: Its full name.
        plans: The name of the plans, such as `nnUNetPlans`.
        configuration: Such as `3d_fullres`.

    Raises:
        UsageError: The plans, the configuration or its preprocessed cases are missing.
        DataError: The plans are damaged.
    """
    folder = folder_of("nnUNet_preprocessed") / dataset
    file = folder / f"{plans}.json"
    if not file.is_file():
        there = [path.stem for path in folder.glob("*Plans*.json")]
        raise UsageError(
            f"{folder} has no plans {plans!r}; {nearest(plans, there)}; nnUNetv2_plan_and_preprocess makes them"
        )
    record = _json(file)
    found = record.get("configurations") if isinstance(record, dict) else None
    if not isinstance(found, dict):
        raise DataError(f"{file} has no configurations; run nnUNetv2_plan_and_preprocess again")
    if configuration not in found:
        raise UsageError(f"{file} has no configuration {configuration!r}; {nearest(configuration, list(found))}")
    chosen: dict[str, Any] = found[configuration]
    identifier = chosen.get("data_identifier")
    if identifier is not None and not (folder / str(identifier)).is_dir():
        raise UsageError(
            f"{folder / str(identifier)} does not exist; "
            f"nnUNetv2_preprocess -d {_number(dataset)} -c {configuration} makes it"
        )
    return chosen


def trained_folder(dataset: str, model: str) -> Path:
    """Return the folder of results of a trainer, plans and configuration.

    Args:
        dataset: Number or full name.
        model: `TRAINER__PLANS__CONFIGURATION`.

    Raises:
        UsageError: Nothing is trained under this name.
    """
    folder = folder_of("nnUNet_results")
    there = sorted(
        path
        for path in folder.glob("Dataset*/*")
        if path.parent.name == dataset or dataset == str(_number(path.parent.name))
    )
    found = next((path for path in there if path.name == model), None)
    if found is None:
        trained = [path.name for path in there if path.is_dir()]
        raise UsageError(f"{folder}: data set {dataset} has no trained {model}; {nearest(model, trained)}")
    return found


def file_ending(dataset: str) -> str:
    """Return the ending of a data set's files.

    Raises:
        DataError: Its dataset.json is damaged.
    """
    file = folder_of("nnUNet_preprocessed") / dataset / "dataset.json"
    record = _json(file)
    if not isinstance(record, dict) or "file_ending" not in record:
        raise DataError(f"{file} has no file_ending; run nnUNetv2_plan_and_preprocess again")
    return str(record["file_ending"])


def raw_images(dataset: str) -> Path | None:
    """Return the folder of a data set's training images, where nnU-Net's raw data are at hand."""
    raw = os.environ.get(RAW)
    folder = Path(raw or "") / dataset / "imagesTr"
    return folder if raw and folder.is_dir() else None


def number_of_folds(file: Path) -> int:
    """Return the number of folds in nnU-Net's splits_final.json.

    Raises:
        DataError: The file is no list of folds.
    """
    folds = _json(file)
    if not isinstance(folds, list) or not folds:
        raise DataError(f"{file}: expected a list of folds, got {type(folds).__name__}")
    return len(folds)


def call(command: str, words: list[str]) -> None:
    """Run `nnUNetv2_train` or `nnUNetv2_predict` in this process, with our trainers.

    Args:
        command: `train` or `predict`.
        words: Its arguments.
    """
    os.environ[VARIABLE] = trainers_path(os.environ)
    sys.argv = [f"nnUNetv2_{command}", *words]
    if command == "train":
        from nnunetv2.run.run_training import run_training_entry

        run_training_entry()
    else:
        from nnunetv2.inference.predict_from_raw_data import predict_entry_point

        predict_entry_point()


def _json(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{file} can't be read as JSON: {error}") from error


def _number(name: str) -> int:
    digits = re.match(r"Dataset(\d+)_", name)
    return int(digits[1]) if digits else -1

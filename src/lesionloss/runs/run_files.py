"""Small files of a run folder, read with one clear line where they are damaged."""

import json
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from lesionloss.core.errors import DataError, UsageError, shown
from lesionloss.core.npz_files import read_npz

Kind = type | list[type]

FORMER_TRIAL_LIST = "agenda.json"  # how version 0.1 called trial_list.json


def refuse_former_run(folder: Path) -> None:
    """Stop at a run folder of version 0.1.

    Raises:
        UsageError: The folder was made by version 0.1.
    """
    if (folder / FORMER_TRIAL_LIST).is_file():
        raise UsageError(
            f"{folder} was made by lesionloss 0.1, and this version can't read it; run the plan again in a new --out"
        )


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file. Raises DataError naming it."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(
            f"{path} can't be read: {str(error).splitlines()[0]}; remove its folder and bench again"
        ) from error


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; empty where there is no file. Raises DataError naming it."""
    if not path.is_file():
        return {}
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} is not valid JSON: {error}; remove its folder and bench again") from error
    if not isinstance(value, dict):
        raise DataError(f"{path}: expected a JSON object, got {type(value).__name__}")
    return value


def check_types(record: Mapping[str, Any], expected: Mapping[str, Kind], path: Path) -> None:
    """Check the types of those values that are there; a type in a list stands for a list of it.

    Raises:
        DataError: A value has another one; names file and key.
    """
    for key, kind in expected.items():
        value = record.get(key)
        if value is not None and not _is_a(value, kind):
            what = f"a list of {kind[0].__name__}" if isinstance(kind, list) else kind.__name__
            raise DataError(f"{path}: {key} must be {what}, got {shown(value)}; restore the file, or bench again")


def _is_a(value: object, kind: Kind) -> bool:
    if isinstance(kind, list):
        return isinstance(value, list) and all(_is_a(each, kind[0]) for each in value)
    if isinstance(value, bool):
        return kind is bool
    if kind is float:
        return isinstance(value, int | float) and abs(value) <= sys.float_info.max
    return isinstance(value, kind)


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """All arrays of an .npz file, without pickles. Raises DataError naming it."""
    try:
        return read_npz(path)
    except FileNotFoundError as error:
        raise DataError(f"{path} is absent; bench again to make it") from error
    except ValueError as error:
        raise DataError(f"{path} is damaged: {error}; remove it and bench again") from error

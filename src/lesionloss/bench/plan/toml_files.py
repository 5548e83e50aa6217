"""The TOML text of a plan: presets, plans based on a preset, and names that changed since version 0.1."""

import tomllib
from collections.abc import Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

from lesionloss.core.catalogue import nearest
from lesionloss.core.errors import UsageError, expect_type

BASED_ON = "based_on"
EXCLUSIVE_KEYS = (("steps", "epochs"), ("network", "networks"), ("data", "datasets"))
FORMER_NAMES = {  # keys and names of 0.1: present ones
    "stop_after": "patience",
    "inner_share": "validation_share",
    "decay": "poly_power",
    "lesion_share": "foreground_share",
    "difference": "subtract",
}


def _preset_folder() -> Traversable:
    return resources.files("lesionloss.bench") / "presets"


def list_presets() -> list[str]:
    """Return the names of the plans that come with the package."""
    return sorted(file.name.removesuffix(".toml") for file in _preset_folder().iterdir() if file.name.endswith(".toml"))


def read_preset(name: str) -> dict[str, Any]:
    """Return the values of a preset.

    Raises:
        UsageError: No preset has this name.
    """
    expect_type(name, str, "preset", "give a name")
    if name not in list_presets():
        raise UsageError(f"no preset is named {name!r}; {nearest(name, list_presets())}")
    return read_plan_text(_preset_folder().joinpath(f"{name}.toml").read_text(encoding="utf-8"), f"preset {name}")


def read_plan_text(text: str, where: str) -> dict[str, Any]:
    """Return the values of a plan's text, with those of the preset that it is `based_on`.

    Raises:
        UsageError: The text is not TOML, or the preset does not exist; the message begins with `where`.
    """
    try:
        record = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{where} is not valid TOML: {error}") from error
    base = record.pop(BASED_ON, None)
    return record if base is None else merge(read_preset(str(base)), record)


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with the values of `changes`: tables are merged key by key, all else is replaced as a whole.

    Where two keys exclude each other, such as steps and epochs, the changed one is kept.
    """
    merged = dict(base)
    for pair in EXCLUSIVE_KEYS:
        for key, other in (pair, pair[::-1]):
            if key in changes and other not in changes:
                merged.pop(other, None)
    for key, value in changes.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = merge(merged[key], value) if both else value
    return merged

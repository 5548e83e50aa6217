"""From TOML to checked values: presets, plans based on others, and errors that name the key and what is near it."""

import tomllib
from collections.abc import Mapping
from importlib import resources
from typing import Any

from pydantic import BaseModel, ValidationError

from lesionloss.core.catalogue import nearest
from lesionloss.core.errors import UsageError

BASED_ON = "based_on"
INSTEAD = (("steps", "epochs"), ("network", "networks"), ("data", "datasets"))


def preset_folder() -> Any:
    return resources.files("lesionloss.bench") / "presets"


def presets() -> list[str]:
    """Names of the plans that come with the package."""
    return sorted(file.name.removesuffix(".toml") for file in preset_folder().iterdir() if file.name.endswith(".toml"))


def preset_record(name: str) -> dict[str, Any]:
    """The values of a preset. Raises UsageError for an unknown name."""
    if name not in presets():
        raise UsageError(f"no preset is named {name!r}; {nearest(name, presets())}")
    return read(preset_folder().joinpath(f"{name}.toml").read_text(encoding="utf-8"), f"preset {name}")


def read(text: str, where: str) -> dict[str, Any]:
    """The values of a plan's text, those of the preset that it is `based_on` included. Raises UsageError."""
    try:
        record = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{where} is not valid TOML: {error}") from error
    base = record.pop(BASED_ON, None)
    return record if base is None else merged(preset_record(str(base)), record)


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The base with other values: tables key by key, everything else as a whole.

    Of two keys that stand instead of each other, such as steps and epochs, the one that is changed stays.
    """
    kept = dict(base)
    for pair in INSTEAD:
        for key, other in (pair, pair[::-1]):
            if key in changes and other not in changes:
                kept.pop(other, None)
    for key, value in changes.items():
        both = isinstance(value, Mapping) and isinstance(kept.get(key), Mapping)
        kept[key] = merged(kept[key], value) if both else value
    return kept


def explained(error: ValidationError, model: type[BaseModel], where: str) -> str:
    """All errors of a plan in one line, each with its key."""
    return f"{where}: " + "; ".join(_explain(dict(item), model) for item in error.errors())


def _explain(item: Mapping[str, Any], model: type[BaseModel]) -> str:
    """One error of pydantic as `key: what is wrong`, with the nearest known key for an unknown one."""
    path = [part for part in item["loc"] if not str(part).startswith("tuple[")]
    key = ".".join(str(part) for part in path)
    if item["type"] == "extra_forbidden":
        return f"unknown key {key}; {nearest(str(path[-1]), _known(path[:-1], model))}"
    if item["type"] == "missing":
        return f"{key}: missing"
    message = str(item["msg"]).removeprefix("Value error, ")
    value = f", got {item['input']!r}" if item["type"] != "value_error" else ""
    return f"{key}: {message}{value}" if key else message + value


def _known(path: list[Any], model: type[BaseModel]) -> list[str]:
    """The keys of the part that a path leads to."""
    for name in path:
        if isinstance(name, int):
            continue
        fields = {field.alias or key: field.annotation for key, field in model.model_fields.items()}
        model = next(iter(_models_in(fields.get(name))), model)
    return [field.alias or key for key, field in model.model_fields.items()] + ([] if path else [BASED_ON])


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    """The records that a type mentions: itself, or what stands inside `tuple[...]` and `... | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for inner in getattr(annotation, "__args__", ()) for found in _models_in(inner)]

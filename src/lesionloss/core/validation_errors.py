"""Errors of pydantic in one line: which file and key, what was expected, what came, and the nearest known name."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from lesionloss.core.catalogue import nearest

NO_NAMES: Mapping[str, str] = {}


def explain_validation_error(
    error: ValidationError,
    model: type[BaseModel],
    where: str,
    *,
    former_names: Mapping[str, str] = NO_NAMES,
    other_keys: Iterable[str] = (),
) -> str:
    """All errors of a record in one line, each with its key.

    Args:
        error: What pydantic raised.
        model: The model that refused the record.
        where: The file, preset or option that the record is from.
        former_names: Keys and names of version 0.1 and their present names.
        other_keys: Keys of the whole record that are read before `model` sees it.

    Returns:
        The message of an error of ours, without a line break.
    """
    items = _of_one_branch([dict(item) for item in error.errors()], model)
    lines = [_explain(item, model, former_names, tuple(other_keys)) for item in items]
    return f"{where}: " + "; ".join(dict.fromkeys(lines))


def _of_one_branch(items: list[dict[str, Any]], model: type[BaseModel]) -> list[dict[str, Any]]:
    """The errors without those of other types that a value might have had: of these, the one that got furthest counts.

    pydantic reports a value that may be, say, three numbers, two or none, once for each of the three types.
    """
    branches: dict[tuple[Any, ...], dict[Any, list[dict[str, Any]]]] = {}
    for item in items:
        key, branch = (item["loc"], None) if item["type"] == "extra_forbidden" else _branch(item["loc"], model)
        branches.setdefault(key, {}).setdefault(branch, []).append(item)
    return [item for each in branches.values() for item in max(each.values(), key=_depth)]


def _branch(place: tuple[Any, ...], model: type[BaseModel]) -> tuple[tuple[Any, ...], Any]:
    """Where the value of an error lies, and the type, of several, that it was tried as; None if there is one."""
    for length, part in enumerate(place):
        annotations = _annotations(model)
        if part in annotations:
            model = next(iter(_models_in(annotations[part])), model)
        elif not isinstance(part, int) and "[" in str(part):
            return place[:length], part
    return place, None


def _depth(items: list[dict[str, Any]]) -> int:
    return max(len(item["loc"]) for item in items)


def keys_of(model: type[BaseModel]) -> list[str]:
    """The keys that a record of this model may have."""
    return list(_annotations(model))


def _explain(
    item: Mapping[str, Any], model: type[BaseModel], former_names: Mapping[str, str], other_keys: tuple[str, ...]
) -> str:
    """One error as `key: what was expected, got what came`."""
    if item["type"] == "extra_forbidden":
        *place, last = item["loc"]
        path, part = _path_and_model(place, model)
        key = ".".join([*path, str(last)])
        known = keys_of(part) + ([] if path else list(other_keys))
        if former_names.get(str(last)) in known:
            return f"{key} is called {former_names[str(last)]} since 0.2"
        return f"unknown key {key}; {nearest(str(last), known)}"
    path, _ = _path_and_model(item["loc"], model)
    return ": ".join([*([".".join(path)] if path else []), _reason(item, former_names)])


def _reason(item: Mapping[str, Any], former_names: Mapping[str, str]) -> str:
    came = item["input"]
    if item["type"] == "missing":
        return "missing"
    if item["type"] == "value_error":
        return str(item["msg"]).removeprefix("Value error, ")
    known = re.findall(r"'([^']*)'", str(item.get("ctx", {}).get("expected", "")))
    if item["type"] == "literal_error" and isinstance(came, str) and known:
        if former_names.get(came) in known:
            return f"{came!r} is called {former_names[came]!r} since 0.2"
        return f"unknown name {came!r}; {nearest(came, known)}"
    return f"{item['msg']}, got {came!r}"


def _path_and_model(place: Iterable[str | int], model: type[BaseModel]) -> tuple[list[str], type[BaseModel]]:
    """The keys and positions that lead to an error, without the names that pydantic gives to parts of a union."""
    path: list[str] = []
    for part in place:
        annotations = _annotations(model)
        if isinstance(part, int):
            path.append(str(part))
        elif part in annotations:
            path.append(part)
            model = next(iter(_models_in(annotations[part])), model)
    return path, model


def _annotations(model: type[BaseModel]) -> dict[str, Any]:
    return {field.alias or name: field.annotation for name, field in model.model_fields.items()}


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    """The models that a type mentions: itself, or what stands inside `tuple[...]` and `... | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for inner in getattr(annotation, "__args__", ()) for found in _models_in(inner)]

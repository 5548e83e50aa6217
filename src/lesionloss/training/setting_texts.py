"""Settings written as text, such as `sgd(momentum=0.99)`: the name of a frozen record and its checked values."""

import typing
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from lesionloss.core.call_text import format_call, parse_call
from lesionloss.core.catalogue import nearest
from lesionloss.core.errors import UsageError
from lesionloss.core.parameters import check_keywords, parameter


def read_setting(text: str, kinds: Mapping[str, type[Any]], noun: str) -> Any:
    """Return the record that `text` names.

    Args:
        text: NAME or NAME(key=value, ...).
        kinds: Dataclasses by name; annotations of their fields give the ranges.
        noun: What the records are, for messages.

    Raises:
        UsageError: Unknown name or setting (the message has the nearest known one), or a value out of range.
    """
    name, values = parse_call(text, noun)
    if name not in kinds:
        raise UsageError(f"no {noun} is named {name!r}; {nearest(name, list(kinds))}")
    kind = kinds[name]
    hints = typing.get_type_hints(kind, include_extras=True)
    defaults: dict[str, Any] = {field.name: field.default for field in fields(kind)}
    settings = {key: parameter(key, hints[key], default) for key, default in defaults.items()}
    check_keywords(values, settings, f"{noun} {name}", "setting")
    return kind(**values)


def format_setting(record: Any, kinds: Mapping[str, type[Any]]) -> str:
    """Return the text that `read_setting` reads back, with the settings that differ from their defaults."""
    name = next(name for name, kind in kinds.items() if kind is type(record))
    values = {field.name: getattr(record, field.name) for field in fields(record)}
    defaults = {field.name: field.default for field in fields(record)}
    return format_call(name, {key: value for key, value in values.items() if value != defaults[key]})

"""One call written as text, such as `unet3d(filters=8)`: a name and keyword literals, never code."""

import ast
from collections.abc import Mapping
from typing import Any

from lesionloss.core.errors import UsageError


def parse_call(text: str, noun: str) -> tuple[str, dict[str, Any]]:
    """Name and keywords of `name` or `name(key=literal, ...)`.

    Raises UsageError for anything else: positional values, expressions, several calls.
    """
    wanted = f"write NAME or NAME(key=value, ...) with plain values, got {text!r}"
    try:
        node = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError) as error:
        raise UsageError(f"{noun}: {wanted}") from error
    if isinstance(node, ast.Name):
        return node.id, {}
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or node.args:
        raise UsageError(f"{noun}: {wanted}")
    keywords = {}
    for keyword in node.keywords:
        if keyword.arg is None:
            raise UsageError(f"{noun}: {wanted}")
        try:
            keywords[keyword.arg] = ast.literal_eval(keyword.value)
        except ValueError as error:
            raise UsageError(
                f"{noun}: the value of {keyword.arg!r} must be a plain number or word, in {text!r}"
            ) from error
    return node.func.id, keywords


def format_call(name: str, keywords: Mapping[str, object]) -> str:
    """The text that `parse_call` reads back."""
    if not keywords:
        return name
    return f"{name}({', '.join(f'{key}={value!r}' for key, value in keywords.items())})"

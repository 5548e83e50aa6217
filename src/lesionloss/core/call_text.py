"""One call written as text, such as `unet3d(filters=8)`: a name and keyword literals, never code."""

import ast
from collections.abc import Mapping
from typing import Any

from lesionloss.core.errors import UsageError, expect_type

FORM = "write NAME or NAME(key=value, ...) with plain values"

# What ast raises for text that is no Python, or is nested too deeply.
_SYNTAX_ERRORS = (SyntaxError, ValueError, TypeError, MemoryError, RecursionError)


def parse_call(text: str, noun: str) -> tuple[str, dict[str, Any]]:
    """Read `name` or `name(key=literal, ...)`.

    Args:
        text: what the user wrote.
        noun: the kind of thing it names ("network", "metric"); messages begin with it.

    Returns:
        The name and its keywords.

    Raises:
        UsageError: for anything else: positional values, expressions, a keyword given twice, several calls.
    """
    return read_call(parse_expression(text, noun), text, noun)


def parse_expression(text: str, noun: str, form: str = FORM) -> ast.expr:
    """The syntax tree of a text. Nothing is executed.

    Raises:
        UsageError: for text that is no expression; `form` says what to write instead.
    """
    expect_type(text, str, noun, form)
    try:
        return ast.parse(text.strip(), mode="eval").body
    except _SYNTAX_ERRORS as error:
        raise unreadable(text, noun, "it does not parse", form) from error


def read_call(node: ast.expr, text: str, noun: str, form: str = FORM) -> tuple[str, dict[str, Any]]:
    """Name and keywords of one call in the syntax tree of `text`; see `parse_call`.

    Raises:
        UsageError: for a node that is neither a name nor a call with plain keywords.
    """
    if isinstance(node, ast.Name):
        return node.id, {}
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
        raise unreadable(text, noun, f"{ast.unparse(node)!r} is no {noun}", form)
    if node.args:
        raise unreadable(text, noun, f"the values of {node.func.id} have no names", form)
    keywords: dict[str, Any] = {}
    for keyword in node.keywords:
        if keyword.arg is None:
            raise unreadable(text, noun, "** is not allowed", form)
        if keyword.arg in keywords:
            raise unreadable(text, noun, f"{keyword.arg!r} is given twice", form)
        keywords[keyword.arg] = _literal(keyword.value, keyword.arg, text, noun, form)
    return node.func.id, keywords


def _literal(node: ast.expr, key: str, text: str, noun: str, form: str) -> Any:
    try:
        return ast.literal_eval(node)
    except _SYNTAX_ERRORS as error:
        raise unreadable(text, noun, f"the value of {key!r} must be a plain number or word", form) from error


def unreadable(text: str, noun: str, reason: str, form: str = FORM) -> UsageError:
    """The error for a text that is no call: what came, why it can't be read, and what to write."""
    return UsageError(f"{noun} {text!r} can't be read: {reason}; {form}")


def format_call(name: str, keywords: Mapping[str, object]) -> str:
    """The text that `parse_call` reads back."""
    if not keywords:
        return name
    return f"{name}({', '.join(f'{key}={value!r}' for key, value in keywords.items())})"

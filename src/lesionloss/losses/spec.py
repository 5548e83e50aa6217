"""Losses as text, and their weighted sums: "0.5*dice + 0.5*focal(gamma=2)". Parsed as a syntax tree, never executed."""

import ast
import math
from collections.abc import Mapping
from dataclasses import dataclass

from lesionloss.core.call_text import format_call, parse_expression, read_call, unreadable
from lesionloss.core.errors import UsageError
from lesionloss.core.parameters import Value, check_keywords
from lesionloss.core.user_files import UserFile, user_files_with
from lesionloss.losses import registry
from lesionloss.losses.foreign_arguments import foreign_hint

_NOUN = "loss"
_FORM = 'write a sum such as "0.5*dice + 0.5*focal(gamma=2)"'

TermWeight = float | tuple[float, float]  # two numbers: at the first and at the last step of a training run


@dataclass(frozen=True)
class SpecTerm:
    """One summand: weight * name(hyperparameters as they were given)."""

    weight: TermWeight
    name: str
    given: tuple[tuple[str, Value], ...] = ()

    def __str__(self) -> str:
        """The text that gives this summand."""
        call = format_call(self.name, dict(self.given))
        return call if self.weight == 1 else f"{self.weight!r}*{call}"


@dataclass(frozen=True)
class Spec:
    """A weighted sum of registered losses; its text is `str(spec)`."""

    terms: tuple[SpecTerm, ...]

    def __str__(self) -> str:
        """The text that `parse` reads back."""
        return " + ".join(map(str, self.terms))


def parse(text: str) -> Spec:
    """Read a loss from text.

    Args:
        text: a registered loss, or a sum with weights: "dice", "0.5*dice + 0.5*focal(gamma=2)". A
            weight of two numbers goes linearly from the first step to the last: "dice + (0.01, 1)*boundary".

    Returns:
        The summands, with their hyperparameters checked.

    Raises:
        UsageError: for text that is no sum of losses, an unknown loss or hyperparameter (with the nearest known
            name), and a hyperparameter or weight that is out of range.
    """
    if not isinstance(text, str) or not text.strip():
        raise UsageError(f'a loss is given as text, e.g. "dice + cross_entropy"; got {text!r}')
    tree = parse_expression(text, _NOUN, _FORM)
    return Spec(tuple(_term(node, text) for node in _summands(tree)))


def _unreadable(text: str, reason: str) -> UsageError:
    return unreadable(text, _NOUN, reason, _FORM)


def _summands(node: ast.expr) -> list[ast.expr]:
    summands = []
    while isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        summands.append(node.right)
        node = node.left
    return [node, *reversed(summands)]


def _term(node: ast.expr, text: str) -> SpecTerm:
    weight: TermWeight = 1.0
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        if not isinstance(node.left, ast.Constant | ast.UnaryOp | ast.Tuple):
            raise _unreadable(text, "write a weight before its loss, as in 2*dice")
        weight, node = _weight(node.left, text), node.right
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub):
        raise _unreadable(text, "losses are added, not subtracted")
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
        record = registry.get(node.func.id)
        wanted = format_call(record.name, record.defaults)
        raise _unreadable(text, f"name the hyperparameters of {record.name}: {wanted}")
    name, given = read_call(node, text, _NOUN, _FORM)
    check_hyperparameters(registry.get(name).name, given)
    return SpecTerm(weight, name, tuple(given.items()))


def _weight(node: ast.expr, text: str) -> TermWeight:
    try:
        value = ast.literal_eval(node)
    except (ValueError, TypeError):
        value = None
    if not isinstance(value, tuple):
        if not _is_number(value) or not 0 < value < math.inf:
            raise _unreadable(text, f"the weight {ast.unparse(node)!r} is no positive number")
        number: float = value
        return number
    if len(value) != 2 or not all(_is_number(end) and 0 <= end < math.inf for end in value) or not any(value):
        words = "must be two numbers >= 0, not both 0: at the first and at the last step"
        raise _unreadable(text, f"the weight {ast.unparse(node)} {words}")
    first, last = value
    return first, last


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def weight_at(progress: float, weight: TermWeight) -> float:
    """The weight of a summand when training has come so far, from 0 at its first to 1 at its last step."""
    if not isinstance(weight, tuple):
        return weight
    first, last = weight
    return first + (last - first) * progress


def check_hyperparameters(name: str, given: Mapping[str, Value]) -> None:
    """Compare hyperparameters with those that the loss `name` declares.

    Raises:
        UsageError: for a hyperparameter that the loss does not have, or a value that is not allowed.
    """
    known = registry.get(name).hyperparameters
    try:
        check_keywords(given, known, f"loss {name}", "hyperparameter")
    except UsageError as error:
        hint = foreign_hint([key for key in given if key not in known], known)
        if not hint:
            raise
        raise UsageError(f"{error}. {hint}") from None


def user_files_of(text: str) -> list[UserFile]:
    """The loaded files whose losses a text names, in the order of loading.

    Raises:
        UsageError: as `parse`.
    """
    return user_files_with(registry.LOSSES, [term.name for term in parse(text).terms])

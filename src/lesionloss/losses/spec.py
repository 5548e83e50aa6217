"""Text and weighted sums: "0.5*dice + 0.5*focal(gamma=2)". Parsed as a syntax tree, with literals only."""

import ast
import math
from dataclasses import dataclass

from lesionloss.core.catalogue import nearest
from lesionloss.core.errors import UsageError
from lesionloss.core.ranges import Value
from lesionloss.losses import registry


@dataclass(frozen=True)
class SpecTerm:
    """One summand: weight * name(hyperparameters as they were given)."""

    weight: float
    name: str
    given: tuple[tuple[str, Value], ...] = ()

    def __str__(self) -> str:
        inside = ", ".join(f"{key}={value!r}" for key, value in self.given)
        call = f"{self.name}({inside})" if inside else self.name
        return call if self.weight == 1 else f"{self.weight!r}*{call}"


@dataclass(frozen=True)
class Spec:
    """A weighted sum of registered losses; its text is `str(spec)`."""

    terms: tuple[SpecTerm, ...]

    def __str__(self) -> str:
        return " + ".join(map(str, self.terms))


def parse(text: str) -> Spec:
    """Read a loss from text.

    Raises UsageError for text that is no sum of losses, an unknown loss or hyperparameter (with the nearest known
    name), and a hyperparameter or weight out of range.
    """
    if not isinstance(text, str) or not text.strip():
        raise UsageError(f'a loss is given as text, e.g. "dice + cross_entropy"; got {text!r}')
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise _unreadable(text, "it does not parse") from error
    return Spec(tuple(_term(node, text) for node in _summands(tree)))


def _unreadable(text: str, why: str) -> UsageError:
    return UsageError(f'can\'t read {text!r} as a loss: {why}. Write a sum such as "0.5*dice + 0.5*focal(gamma=2)"')


def _summands(node: ast.expr) -> list[ast.expr]:
    summands = []
    while isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        summands.append(node.right)
        node = node.left
    return [node, *reversed(summands)]


def _term(node: ast.expr, text: str) -> SpecTerm:
    weight = 1.0
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        if not isinstance(node.left, ast.Constant | ast.UnaryOp):
            raise _unreadable(text, "a weight stands before its loss, as in 2*dice")
        weight, node = _weight(node.left, text), node.right
    if isinstance(node, ast.Name):
        return SpecTerm(weight, registry.get(node.id).name)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return SpecTerm(weight, registry.get(node.func.id).name, _given(node, node.func.id, text))
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub):
        raise _unreadable(text, "losses are added, not subtracted")
    raise _unreadable(text, f"{ast.unparse(node)!r} is no loss")


def _weight(node: ast.expr, text: str) -> float:
    value = _literal(node, text)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise _unreadable(text, f"the weight {ast.unparse(node)!r} is no positive number")
    return value


def _literal(node: ast.expr, text: str) -> Value:
    try:
        value = ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError) as error:
        raise _unreadable(text, f"{ast.unparse(node)!r} is no number, True, False or None") from error
    if not isinstance(value, bool | int | float | None):
        raise _unreadable(text, f"{ast.unparse(node)!r} is no number, True, False or None")
    return value


def _given(call: ast.Call, name: str, text: str) -> tuple[tuple[str, Value], ...]:
    if call.args:
        raise _unreadable(text, f"name the hyperparameters of {name}: {_signature(name)}")
    given = []
    for keyword in call.keywords:
        if keyword.arg is None:
            raise _unreadable(text, "** is not understood")
        given.append((keyword.arg, _literal(keyword.value, text)))
    check_hyperparameters(name, dict(given))
    return tuple(given)


def _signature(name: str) -> str:
    defaults = registry.get(name).defaults
    return f"{name}({', '.join(f'{key}={value}' for key, value in defaults.items())})"


def check_hyperparameters(name: str, given: dict[str, Value]) -> None:
    """Raises UsageError for a hyperparameter that the loss does not have, or a value that it can't take."""
    known = registry.get(name).hyperparameters
    for key, value in given.items():
        if not known:
            raise UsageError(f"{name} has no hyperparameters; got {key}={value!r}")
        if key not in known:
            raise UsageError(f"{name} has no hyperparameter {key!r}; {nearest(key, list(known))}")
        known[key].check(value, name)


def user_files_of(text: str) -> list[registry.UserFile]:
    """The loaded files whose losses a text names, in the order of loading."""
    return registry.user_files_with([term.name for term in parse(text).terms])

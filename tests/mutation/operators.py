"""The small faults that are put into a module, one at a time.

Annotations, texts, what stands in a `raise`, and `strict=` of zip are left as they are: no number follows from them.
"""

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass

_PAIRS: tuple[tuple[type[ast.AST], type[ast.AST]], ...] = (
    *((ast.Add, ast.Sub), (ast.Mult, ast.Div), (ast.BitAnd, ast.BitOr), (ast.And, ast.Or), (ast.Lt, ast.LtE)),
    *((ast.Gt, ast.GtE), (ast.Eq, ast.NotEq), (ast.Is, ast.IsNot), (ast.In, ast.NotIn), (ast.Break, ast.Continue)),
)
SWAPPED = dict(_PAIRS) | {second: first for first, second in _PAIRS}
SWAPPED |= {ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.BitXor: ast.BitAnd}
_NAMES = "min max, amin amax, minimum maximum, argmin argmax, floor ceil, any all, sum mean, ones zeros"
NAMES = {name: pair[1 - place] for pair in map(str.split, _NAMES.split(",")) for place, name in enumerate(pair)}
DROPPED = {"abs", "clip", "clamp", "clamp_min", "clamp_max", "square", "sqrt", "log", "exp", "round", "rint", "sorted"}
KEPT_KEYWORDS = {"strict", "out", "dtype", "device", "doc", "axis", "dim"}  # without them nothing changes, or all fails


@dataclass(frozen=True)
class Site:
    """A place in a module."""

    node: ast.AST
    function: ast.FunctionDef | None  # the innermost around it
    inside: bool  # whether it is in the body of that function, so that importing the module doesn't execute it
    condition: bool  # whether it decides a branch


def sites(
    node: ast.AST, function: ast.FunctionDef | None = None, inside: bool = False, condition: bool = False
) -> Iterator[Site]:
    """All places from a node on that may be mutated, in the order of the file."""
    if isinstance(node, ast.Raise | ast.JoinedStr) or (isinstance(node, ast.keyword) and node.arg == "strict"):
        return
    yield Site(node, function, inside, condition)
    typing_only = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns") or (field == "decorator_list" and isinstance(node, ast.ClassDef)):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(node, ast.FunctionDef) and isinstance(child, ast.AST):
                yield from sites(child, node, field == "body")
            elif isinstance(child, ast.AST) and (field == "orelse" or not typing_only):
                yield from sites(child, function, inside, field == "test")


def variants(site: Site) -> Iterator[ast.AST]:
    """The mutated copies of a place."""
    node = site.node
    if site.condition and not isinstance(node, ast.Compare | ast.BoolOp | ast.UnaryOp):
        yield ast.UnaryOp(ast.Not(), node)
    if isinstance(node, ast.BinOp | ast.BoolOp | ast.AugAssign) and type(node.op) in SWAPPED:
        if site.function is not None or not isinstance(node.op, ast.BitOr):  # outside of functions: a union of types
            yield _changed(node, op=SWAPPED[type(node.op)]())
    elif isinstance(node, ast.Compare):
        for place, op in enumerate(node.ops):
            yield _changed(node, ops=[*node.ops[:place], SWAPPED[type(op)](), *node.ops[place + 1 :]])
    elif isinstance(node, ast.UnaryOp):
        yield node.operand
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield ast.Constant(not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        yield ast.Constant(node.value + 1 if isinstance(node.value, int) else 2 * node.value or 1.0)
    elif isinstance(node, ast.Call):
        yield from _calls(node)
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        yield ast.Pass()
    elif isinstance(node, ast.Break | ast.Continue):
        yield SWAPPED[type(node)]()


def _calls(node: ast.Call) -> Iterator[ast.AST]:
    """Another function of a pair, the argument instead of the call, the call without one of its keywords."""
    function = node.func
    if isinstance(function, ast.Name):
        if function.id in NAMES:
            yield _changed(node, func=ast.Name(NAMES[function.id], ast.Load()))
        elif function.id in DROPPED and node.args:
            yield node.args[0]
    elif isinstance(function, ast.Attribute):
        if function.attr in NAMES:
            yield _changed(node, func=_changed(function, attr=NAMES[function.attr]))
        elif function.attr in DROPPED:
            yield node.args[0] if ast.unparse(function.value) in ("np", "torch", "math") else function.value
        for keyword in node.keywords:
            if keyword.arg and keyword.arg not in KEPT_KEYWORDS:
                yield _changed(node, keywords=[other for other in node.keywords if other is not keyword])


def _changed(node: ast.AST, **fields: object) -> ast.AST:
    changed = copy.copy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed


class Swap(ast.NodeTransformer):
    """Puts one node in the place of another."""

    def __init__(self, old: ast.AST, new: ast.AST) -> None:
        self.old, self.new = old, new

    def visit(self, node: ast.AST) -> ast.AST:
        """The tree below a node, with the new node."""
        return self.new if node is self.old else self.generic_visit(node)

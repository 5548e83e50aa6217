"""The losses by name: each is registered once, with a title, a source and defaults."""

import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor

from lesionloss.core.catalogue import Catalogue, defined_again
from lesionloss.core.errors import UsageError, expect_type
from lesionloss.core.parameters import Parameter, Value
from lesionloss.core.user_files import note_registration
from lesionloss.losses import reference_maps
from lesionloss.losses.hyperparameters import keywords_of, read_hyperparameters

if TYPE_CHECKING:
    from lesionloss.losses.voxels import Voxels

LossFunction = Callable[..., Tensor]
F = TypeVar("F", bound=LossFunction)

# Spelling of the words of a name in the name of its class.
_SPELLING = {"ce": "CE", "hytver": "HyTver", "topk": "TopK", "logcosh": "LogCosh", "dt": "DT", "er": "ER"}


@dataclass(frozen=True)
class LossRecord:
    """A registered loss. `function(voxels, **hyperparameters)` returns (I,) per image or (I, K) per image and class."""

    name: str
    title: str
    source: str
    defaults: dict[str, Value]
    function: LossFunction
    hyperparameters: dict[str, Parameter]
    doc: str
    text: str | None = None  # of an alias: the sum that it abbreviates
    maps: tuple[str, ...] = ()  # of the reference that it uses
    geometric: bool = False  # whether it depends on where voxels lie
    unasked: Mapping[str, str] = field(default_factory=dict)  # laws that can't be asked of it, and why

    @property
    def class_name(self) -> str:
        """The name of the nn.Module that is made from this record, e.g. FocalTverskyLoss."""
        words = (_SPELLING.get(word, word.capitalize()) for word in self.name.split("_"))
        return "".join(words) + "Loss"


LOSSES: Catalogue[LossRecord] = Catalogue("loss")


def loss(name: str, *, source: str, maps: Sequence[str] = (), geometric: bool = False) -> Callable[[F], F]:
    """Register a loss function `f(v: Voxels, *, hyperparameter=default) -> Tensor` under a name.

    Args:
        name: how the loss is written in texts, such as "dice".
        source: the paper and the equation, or whose idea it is.
        maps: the maps of the reference that it uses, see `reference_map`; a loss with maps is geometric.
        geometric: whether it depends on where voxels lie, as one that uses `space` of `Voxels` does; the laws then move
            whole images instead of single voxels.

    Returns:
        A decorator. The function must return one value per image, (I,), or per image and class, (I, K). The first line
        of its docstring becomes the title in lists, cards and reports. A function of the same name and module, as from
        a notebook's cell that runs again, replaces the loss.

    Raises:
        UsageError: if the name is taken or is no identifier, the docstring or the source is missing, or a
            hyperparameter has no default or is not keyword-only, or there is no such map.
    """

    def decorate(function: F) -> F:
        register(name, source, function, maps=maps, geometric=geometric)
        return function

    return decorate


def register(
    name: str,
    source: str,
    function: LossFunction,
    *,
    maps: Sequence[str] = (),
    geometric: bool = False,
    unasked: Mapping[str, str] | None = None,
) -> None:
    """Register a loss function; see `loss`. `unasked`: laws that can't be asked of it, and why.

    Raises:
        UsageError: as `loss`.
    """
    if not function.__module__.startswith("lesionloss.losses.families"):
        load_built_in()  # so that a clash of names is reported here
    again = name in LOSSES and defined_again(function, LOSSES.get(name).function)
    used = reference_maps.needed_by(maps)
    record = replace(make_record(name, source, function), maps=used, geometric=geometric or bool(used))
    LOSSES.add(name, replace(record, unasked=unasked or {}), again=again)
    note_registration(LOSSES, name, function)


def make_record(name: str, source: str, function: LossFunction, text: str | None = None) -> LossRecord:
    """A record of a loss function.

    Raises:
        UsageError: as `loss`.
    """
    expect_type(name, str, "name of a loss", "write a text")
    expect_type(source, str, f"source of loss {name!r}", "write a text")
    if not name.isidentifier() or name != name.lower():
        raise UsageError(f"the name of a loss must be a Python identifier in small letters; got {name!r}")
    if not source.strip():
        raise UsageError(f"loss {name!r} has no source; give the paper and the equation, or say whose idea it is")
    doc = inspect.getdoc(function) or ""
    title = doc.split("\n", 1)[0].strip()
    if not title:
        raise UsageError(f"loss {name!r} has no docstring; its first line becomes the title of the loss")
    hyperparameters = read_hyperparameters(name, function)
    defaults = {h.name: h.default for h in hyperparameters.values()}
    return LossRecord(name, title, source, defaults, function, hyperparameters, doc, text)


def alias(name: str, parts: Sequence[LossFunction], *, title: str, source: str) -> LossFunction:
    """Register a name for a sum of registered losses; it has the hyperparameters of its parts.

    Raises:
        UsageError: as `loss`, and if two parts share a hyperparameter.
    """
    records = [next(record for record in LOSSES if record.function is part) for part in parts]
    keywords = [keyword for part in parts for keyword in keywords_of(part)]
    if len({keyword.name for keyword in keywords}) < len(keywords):
        raise UsageError(f"alias {name!r}: its parts share a hyperparameter")

    def total(v: "Voxels", **given: Value) -> Tensor:
        summands = []
        for record in records:
            value = record.function(v, **{key: given[key] for key in record.defaults if key in given})
            summands.append(v.class_mean(value) if value.dim() == 2 else value)
        return torch.stack(summands).sum(0)

    voxels = inspect.Parameter("v", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    total.__signature__ = inspect.Signature([voxels, *keywords])  # type: ignore[attr-defined]
    total.__annotations__ = {keyword.name: keyword.annotation for keyword in keywords}
    total.__name__, total.__qualname__, total.__doc__ = name, name, title
    record = make_record(name, source, total, " + ".join(part.name for part in records))
    maps = reference_maps.needed_by(used for part in records for used in part.maps)
    LOSSES.add(name, replace(record, maps=maps, geometric=any(part.geometric for part in records)))
    return total


def list_losses() -> list[LossRecord]:
    """All registered losses, in the order of registration.

    Returns:
        Records with name, title, defaults, source and class name; those of your own are behind those of the package.
    """
    load_built_in()
    return list(LOSSES)


def get(name: str) -> LossRecord:
    """The record of a loss.

    Raises:
        UsageError: if no loss has that name, with the nearest known one.
    """
    load_built_in()
    return LOSSES.get(name)


def load_built_in() -> None:
    """Register the losses of the package, in the order of the documentation."""
    importlib.import_module("lesionloss.losses.families")

"""Networks of the user's: registered by a decorator, or named by module and class, `package.module:Class(...)`."""

import importlib
import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from torch import nn

from lesionloss.core.catalogue import defined_again, nearest
from lesionloss.core.errors import UsageError, expect_type
from lesionloss.core.files import sha256_of
from lesionloss.core.user_files import note_registration
from lesionloss.networks.designs import NETWORKS
from lesionloss.networks.foreign_networks import ForeignDesign

K = TypeVar("K", bound=Callable[..., nn.Module])

_allowed: set[str] = set()  # modules that a plan, a call or an option named in this process


def network(name: str, *, source: str) -> Callable[[K], K]:
    """Register a network under a name: a class, or a function that gives an `nn.Module`.

    Its parameters are keywords with plain values. Those for the channels, such as `in_channels` and `out_channels`, are
    taken from the data unless a text states them. The forward takes images (B, C, *space) and gives logits
    (B, outputs, *space), a list of maps, or `Outputs`.

    Args:
        name: How the network is written in texts, such as "my_unet".
        source: The paper, or whose idea it is.

    Returns:
        A decorator; the first line of the docstring is the title in lists. A class of the same name and module, as from
        a notebook's cell that runs again, replaces the network.

    Raises:
        UsageError: The name is taken or is no identifier, or the docstring or the source is missing.
    """
    expect_type(name, str, "name of a network", "write a text")
    if not name.isidentifier() or not isinstance(source, str) or not source.strip():
        raise UsageError(f"a network needs a name that is a Python identifier, and a source; got {name!r}, {source!r}")

    def register(kind: K) -> K:
        title = (inspect.getdoc(kind) or "").partition("\n")[0].strip()
        if not title:
            raise UsageError(f"network {name!r} has no docstring; its first line becomes the title in lists")
        known = NETWORKS.get(name) if name in NETWORKS else None
        again = isinstance(known, ForeignDesign) and defined_again(kind, known.kind)
        NETWORKS.add(name, ForeignDesign(name, kind, title, source), again=again)
        note_registration(NETWORKS, name, kind)
        return kind

    return register


def imported_design(module: str, name: str) -> ForeignDesign:
    """Import a module, which runs its code, and return the network of one of its classes.

    Raises:
        UsageError: The module can't be imported, or the name is no class of an `nn.Module` in it.
    """
    text = f"{module}:{name}"
    found = vars(_imported(module, text))
    kind = found.get(name)
    if not inspect.isclass(kind) or not issubclass(kind, nn.Module):
        classes = sorted(key for key, each in found.items() if inspect.isclass(each) and issubclass(each, nn.Module))
        raise UsageError(f"network {text}: {module} has no class {name!r} of an nn.Module; {nearest(name, classes)}")
    title = (inspect.getdoc(kind) or name).partition("\n")[0].strip()
    return ForeignDesign(text, kind, title, module)


def _imported(module: str, what: str) -> object:
    if not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", module):
        raise UsageError(f"{what}: {module!r} is no name of a module; write package.module:Class(...)")
    _allowed.add(module)
    try:
        return importlib.import_module(module)
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else ""
        raise UsageError(
            f"{what}: importing {module} fails ({type(error).__name__}: {reason}); install or mend it, or put the "
            "network into a file and name that with --with FILE.py"
        ) from error


def allow_module(module: str) -> None:
    """Import a module, so that a model whose record names one of its classes as its network can be used.

    Raises:
        UsageError: It can't be imported.
    """
    _imported(module, f"--with {module}")


def is_allowed(module: str) -> bool:
    """Return whether a plan, a call or an option named this module in this process: only then may a model name it."""
    return module in _allowed


def digest_of_class(design: ForeignDesign) -> str:
    """Return the SHA-256 of the file that defines the class of a network; empty where there is none."""
    try:
        file = inspect.getsourcefile(inspect.unwrap(design.kind))
    except TypeError:
        return ""
    return sha256_of(Path(file)) if file and Path(file).is_file() else ""

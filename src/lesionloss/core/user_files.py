"""Python files of the user's: executed once, with what they register remembered by the hash of their content."""

import importlib.machinery
import types
from collections.abc import Callable, Collection
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lesionloss.core.catalogue import Catalogue
from lesionloss.core.errors import LesionLossError, UsageError
from lesionloss.core.files import sha256_of

PREFIX = "lesionloss_user_"  # of the module's name
Registered = tuple[Catalogue[Any], str]

_noted: ContextVar[list[Registered] | None] = ContextVar("noted", default=None)
_files: dict[str, "UserFile"] = {}  # by content


@dataclass(frozen=True, eq=False)
class UserFile:
    """A file that was loaded, the hash of its content, and the catalogue and name of all that it registered."""

    path: Path
    sha256: str
    registered: tuple[Registered, ...]

    def names(self, catalogue: Catalogue[Any]) -> tuple[str, ...]:
        """What it registered in a catalogue."""
        return tuple(name for where, name in self.registered if where is catalogue)


def note_registration(catalogue: Catalogue[Any], name: str, made: Callable[..., Any]) -> None:
    """Note that a function or class was registered, if a file of the user's is being executed and it is not ours."""
    noted = _noted.get()
    if noted is not None and not made.__module__.startswith("lesionloss."):
        noted.append((catalogue, name))


def load_user_file(path: Path) -> UserFile:
    """Execute a Python file that registers losses, networks or metrics.

    Args:
        path: the file. It is executed once; the same content again is not.

    Returns:
        What it registered.

    Raises:
        UsageError: if there is no such file, it fails, or it registers nothing; nothing of it stays registered then.
    """
    path = Path(path)
    if not path.is_file():
        raise UsageError(f"no file {path} with losses or networks; give the path of a Python file")
    digest = sha256_of(path)
    known = _files.get(digest)
    if known is not None and all(name in catalogue for catalogue, name in known.registered):
        return known
    noted: list[Registered] = []
    token = _noted.set(noted)
    try:
        _execute(path)
        if not noted:
            raise UsageError(
                f'{path} registers no loss, network or metric; decorate a function with @loss("name", source="...")'
            )
    except BaseException:
        for catalogue, name in dict.fromkeys(noted):
            catalogue.remove(name)
        raise
    finally:
        _noted.reset(token)
    _files[digest] = UserFile(path.resolve(), digest, tuple(dict.fromkeys(noted)))
    return _files[digest]


def user_files_with(catalogue: Catalogue[Any], names: Collection[str]) -> list[UserFile]:
    """The loaded files that registered these names in a catalogue last, in the order of loading."""
    last = {name: file for file in _files.values() for name in file.names(catalogue)}
    used = [last[name] for name in names if name in last]
    return [file for file in _files.values() if file in used]


def _execute(path: Path) -> None:
    name = f"{PREFIX}{path.stem}"
    loader = importlib.machinery.SourceFileLoader(name, str(path))  # whatever the file's ending
    module = types.ModuleType(name)
    module.__file__ = str(path)
    try:
        loader.exec_module(module)
    except LesionLossError as error:
        raise UsageError(f"{path}: {error}") from error
    except SyntaxError as error:
        raise UsageError(f"{path}, line {error.lineno}: {error.msg}") from error
    except Exception as error:
        raise UsageError(f"{path}{_line_in(path, error)}: {type(error).__name__}: {error}") from error


def _line_in(path: Path, error: BaseException) -> str:
    """The line of the file at which the error occurred."""
    line, trace = "", error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            line = f", line {trace.tb_lineno}"
        trace = trace.tb_next
    return line

"""Work for the very threads that torch's own operations use.

After an operation these threads wait busily for the next one. The threads of another pool would have to share the
processors with them, which cost compiled losses up to half of their time.
"""

import ctypes
import itertools
import os
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import TypeVar

import torch

T = TypeVar("T")

_MEMBER = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_forked = False


def _in_child() -> None:
    global _forked
    _forked = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)


@cache
def _library() -> ctypes.CDLL | None:
    """GNU's OpenMP as torch brings it along, already loaded; None on systems where torch uses another one."""
    for path in sorted((Path(torch.__file__).parent / "lib").glob("libgomp*.so*")):
        try:
            library = ctypes.CDLL(str(path))
            library.GOMP_parallel.argtypes = (_MEMBER, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)
            library.GOMP_parallel.restype = None
        except (OSError, AttributeError):
            continue
        return library
    return None


def has_team() -> bool:
    """Whether `by_team` can be called: torch's threads do not survive a fork."""
    return not _forked and _library() is not None


def by_team(tasks: Sequence[Callable[[], T]]) -> list[T]:
    """The results of all tasks, in their order. An error of a task is raised when all have ended."""
    library = _library()
    if library is None:
        raise RuntimeError("torch does not use GNU's OpenMP here")
    done: dict[int, T] = {}
    failed: list[BaseException] = []
    numbers = itertools.count()

    def member(_: object) -> None:
        while (number := next(numbers)) < len(tasks):
            try:
                done[number] = tasks[number]()
            except BaseException as error:
                failed.append(error)

    library.GOMP_parallel(_MEMBER(member), None, torch.get_num_threads(), 0)
    if failed:
        raise failed[0]
    return [done[number] for number in range(len(tasks))]

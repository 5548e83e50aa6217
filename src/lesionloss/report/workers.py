"""Parts of a report made by other processes while this one goes on."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Help:
    """Without a pool, everything is made at once and here."""

    pool: ProcessPoolExecutor | None = None

    def later(self, make: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        """What `make` gives, to be asked for by `result()`. It and its arguments must be of use in another process."""
        if self.pool is not None:
            return self.pool.submit(make, *args, **kwargs)
        done: Future[T] = Future()
        done.set_result(make(*args, **kwargs))
        return done


@contextmanager
def help_of(workers: int) -> Iterator[Help]:
    """Help of so many processes, this one counted; those that were not waited for are waited for at the end."""
    if workers < 2:
        yield Help()
        return
    with ProcessPoolExecutor(workers - 1, mp_context=get_context("spawn")) as pool:
        yield Help(pool)

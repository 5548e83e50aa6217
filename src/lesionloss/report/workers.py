"""Parts of a report are made by other processes while this one continues."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from lesionloss.core.processes import process_pool

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class ReportWorkers:
    """Other processes that make parts of a report; without a pool this process makes them."""

    pool: ProcessPoolExecutor | None = None

    def later(self, make: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        """The result of `make`, as a future. Function and arguments must be picklable."""
        if self.pool is not None:
            return self.pool.submit(make, *args, **kwargs)
        done: Future[T] = Future()
        done.set_result(make(*args, **kwargs))
        return done


@contextmanager
def report_workers(workers: int) -> Iterator[ReportWorkers]:
    """So many processes, including this one; at the end, wait for all of them."""
    if workers < 2:
        yield ReportWorkers()
        return
    with process_pool(workers - 1) as pool:
        yield ReportWorkers(pool)

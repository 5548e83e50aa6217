"""Do the same for many things in several processes, with a bar of progress."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from typing import Protocol, TypeVar

from lesionloss.core.errors import DataError
from lesionloss.core.processes import process_pool

Task = TypeVar("Task")
Outcome = TypeVar("Outcome")


class Progress(Protocol):
    """Shows how many of `total` steps are done while they are taken from it."""

    def __call__(self, title: str, total: int, steps: Iterable[Outcome]) -> Iterable[Outcome]:
        """Wrap the steps."""
        ...


def no_progress(title: str, total: int, steps: Iterable[Outcome]) -> Iterable[Outcome]:
    """Show nothing."""
    return steps


def side_by_side(
    work: Callable[[Task], Outcome], tasks: Sequence[Task], title: str, jobs: int, progress: Progress
) -> Iterator[Outcome]:
    """Yield `work(task)` for each task, in their order, as soon as it is there.

    Args:
        work: A function at the top of a module.
        tasks: What it gets.
        title: The title of the bar.
        jobs: Number of processes.
        progress: Shows the bar.

    Raises:
        DataError: A process was killed.
    """
    workers = min(jobs, len(tasks))
    if workers <= 1:
        yield from progress(title, len(tasks), map(work, tasks))
        return
    try:
        with process_pool(workers) as pool:
            yield from progress(title, len(tasks), pool.map(work, tasks))
    except BrokenProcessPool as error:
        raise DataError(
            f"one of {workers} processes was killed, most likely because memory ran out; try again with --jobs 1: what "
            "is done is kept"
        ) from error

"""Two stages of work on one item after the other: the second stage in a thread, beside the first one of the next."""

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
M = TypeVar("M")
R = TypeVar("R")


def overlapped(items: Iterable[T], make: Callable[[T], M], use: Callable[[T, M], R]) -> list[R]:
    """Make something of each item, and use it while that of the next item is made; at most two are there at a time.

    Args:
        items: The items.
        make: The first stage, in this thread.
        use: The second stage, in another thread, one item at a time.

    Returns:
        What `use` returned, in order. The first error in the order of the items is raised, as without threads.
    """
    results: list[R] = []
    before: Future[R] | None = None
    with ThreadPoolExecutor(1) as thread:
        for item in items:
            try:
                made = make(item)
            finally:  # an error of the item before comes first
                if before is not None:
                    results.append(before.result())
            before = thread.submit(use, item, made)
    return results if before is None else [*results, before.result()]

"""Voxels shared among threads; compiled code lets go of the interpreter's lock."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from typing import TypeVar

import torch

from lesionloss.losses.kernels.team import by_team, has_team

T = TypeVar("T")

WORTH_A_THREAD = 1 << 15  # numbers: less than that is done before another thread has woken up
SEAM = 1024  # voxels: rows are cut at multiples of that


@dataclass(frozen=True)
class Piece:
    """Voxels start to stop of one of the images."""

    image: int
    start: int
    stop: int


def in_parts(sizes: list[int], channels: int, work: Callable[[list[Piece]], T]) -> list[T]:
    """Give each thread its share of the voxels of all images, whose sizes are given, and wait for all."""
    parts = max(1, min(torch.get_num_threads(), channels * sum(sizes) // WORTH_A_THREAD))
    share = -(-sum(sizes) // parts // SEAM) * SEAM
    pieces: list[list[Piece]] = [[] for _ in range(parts)]
    part, left = 0, share
    for image, size in enumerate(sizes):
        start = 0
        while start < size:
            stop = size if part == parts - 1 else min(size, start + left)
            pieces[part].append(Piece(image, start, stop))
            left -= -(-(stop - start) // SEAM) * SEAM
            start = stop
            if left <= 0 and part < parts - 1:
                part, left = part + 1, share
    first, *others = [partial(work, some) for some in pieces if some] or [partial(work, [])]
    if others and has_team():
        return by_team([first, *others])
    waiting = [_threads().submit(other) for other in others]
    return [first(), *(other.result() for other in waiting)]


def side_by_side(tasks: Sequence[Callable[[], T]]) -> list[T]:
    """The results of tasks that call NumPy for long, which lets go of the lock, on the threads of torch if they can."""
    if len(tasks) > 1 and torch.get_num_threads() > 1 and has_team():
        return by_team(tasks)
    return [task() for task in tasks]


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(thread_name_prefix="lesionloss")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_threads.cache_clear)  # threads do not survive a fork

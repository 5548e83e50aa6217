"""Work that is shared among threads: by torch's own where they are at hand, by a pool where they are not."""

import multiprocessing
import os
import threading

import numpy as np
import pytest
import torch

from lesionloss.losses.kernels import sharing, team
from lesionloss.losses.kernels.sharing import Piece, in_parts, side_by_side

needs_team = pytest.mark.skipif(not team.has_team(), reason="torch does not use GNU's OpenMP on this system")


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def voxels_of(pieces: list[Piece]) -> list[tuple[int, int]]:
    return [(piece.image, voxel) for piece in pieces for voxel in range(piece.start, piece.stop)]


@needs_team
@pytest.mark.parametrize("number", [1, 2, 7])
def test_results_come_in_the_order_of_the_tasks(number, two_threads):
    assert team.by_team([lambda i=i: i * i for i in range(number)]) == [i * i for i in range(number)]


@needs_team
def test_tasks_run_on_threads_of_torch_at_the_same_time(two_threads):
    both = threading.Barrier(2, timeout=30)  # passed only if two threads come to it
    names = team.by_team([lambda: (both.wait(), threading.get_ident())[1] for _ in range(2)])
    assert len(set(names)) == 2


@needs_team
def test_an_error_of_a_task_is_raised_after_all_have_ended(two_threads):
    ended = []

    def fails():
        raise ZeroDivisionError("planted")

    with pytest.raises(ZeroDivisionError, match="planted"):
        team.by_team([fails, lambda: ended.append(1)])
    assert ended == [1]
    assert team.by_team([lambda: 5]) == [5]


@pytest.mark.parametrize("with_team", [pytest.param(True, marks=needs_team), False])
@pytest.mark.parametrize("sizes", [[0], [5], [100_000], [70_000, 3, 0, 90_001]])
def test_each_voxel_is_given_out_once(with_team, sizes, two_threads, monkeypatch):
    monkeypatch.setattr(sharing, "has_team", lambda: with_team)
    found = [voxel for part in in_parts(sizes, 1, voxels_of) for voxel in part]
    assert found == [(image, voxel) for image, size in enumerate(sizes) for voxel in range(size)]


@pytest.mark.parametrize("with_team", [pytest.param(True, marks=needs_team), False])
def test_side_by_side_keeps_the_order(with_team, two_threads, monkeypatch):
    monkeypatch.setattr(sharing, "has_team", lambda: with_team)
    assert side_by_side([lambda i=i: np.arange(i).sum() for i in range(5)]) == [0, 0, 1, 3, 6]
    assert side_by_side([]) == []


def _sum_in_child(connection) -> None:
    parts = in_parts([1 << 18], 1, lambda pieces: np.sum([piece.stop - piece.start for piece in pieces]))
    connection.send((team.has_team(), int(sum(parts)), len(parts)))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_makes_threads_of_its_own(two_threads):
    in_parts([1 << 18], 1, len)  # the parent's threads are awake
    here, there = multiprocessing.Pipe()
    child = multiprocessing.get_context("fork").Process(target=_sum_in_child, args=(there,))
    child.start()
    assert here.poll(60), "the child hangs"
    assert here.recv() == (False, 1 << 18, 2)
    child.join(30)
    assert child.exitcode == 0

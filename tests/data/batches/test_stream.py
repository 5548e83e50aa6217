"""Batches: the same for any number of workers and any start, and workers that end cleanly."""

import gc
import itertools
import threading
import time

import numpy as np
import pytest

from lesionloss.core.errors import DataError, UsageError
from lesionloss.data.batches.augmentation import CHEAP, parse_augmentation
from lesionloss.data.batches.augmentation_presets import Steps
from lesionloss.data.batches.patch_samplers import (
    Cases,
    Draws,
    PositiveNegative,
    Sampler,
    WeightedCrop,
    WholeImages,
    Window,
)
from lesionloss.data.batches.patches import Stream
from lesionloss.data.batches.sliding_grid import SlidingGrid
from lesionloss.data.batches.stream import BatchStream, make_batch
from lesionloss.data.prepared import PreparedCase
from patch_cases import random_case

CASES = [random_case(name, lesions=n, ignored=n > 4) for name, n in (("a", 5), ("b", 0), ("c", 9))]
FLAT = [random_case(name, shape) for name, shape in (("d", (30, 20)), ("e", (17, 33)))]
SETUPS: list[tuple[list[PreparedCase], Sampler, Steps]] = [
    (CASES, WeightedCrop((10, 12, 8), jitter=3), CHEAP),
    (CASES, WeightedCrop((30, 12, 8), padding_counts=False), parse_augmentation(["hytver", "noise", "bias_field"])),
    (CASES, SlidingGrid((8, 8, 8), overlap=4), ()),
    (CASES, PositiveNegative((9, 9, 9)), parse_augmentation(["topk"])),
    (FLAT, WholeImages(), parse_augmentation(["dscpp"])),
]


def digests(
    cases: list[PreparedCase], sampler: Sampler, steps: Steps, *, start: int = 1, workers: int = 0, n: int = 8
) -> list[str]:
    with BatchStream(cases, sampler, steps, ("pair", 1), batch=3, start_step=start, workers=workers) as stream:
        return [batch.digest() for batch in itertools.islice(stream, n)]


@pytest.mark.parametrize("setup", range(len(SETUPS)))
def test_batches_are_the_same_for_any_number_of_workers_and_any_start(setup: int) -> None:
    cases, sampler, steps = SETUPS[setup]
    alone = digests(cases, sampler, steps)
    assert len(set(alone)) == 8
    for workers in (0, 2, 4):
        assert digests(cases[::-1], sampler, steps, workers=workers) == alone
        for start in (2, 6):
            assert digests(cases, sampler, steps, start=start, workers=workers, n=9 - start) == alone[start - 1 :]


def test_another_stream_gives_other_batches() -> None:
    def first(stream: Stream) -> str:
        return next(BatchStream(CASES, WeightedCrop((8, 8, 8)), (), stream, batch=2)).digest()

    assert len({first(("pair", 1)), first(("pair", 2)), first(("pair", "1"))}) == 3


def test_the_stream_gives_what_make_batch_makes() -> None:
    sampler = WeightedCrop((10, 12, 8), jitter=3, foreground_share=0.8)
    named = {case.name: case for case in CASES}
    draws = sampler.over(named)
    stream = BatchStream(CASES, sampler, CHEAP, ("pair",), batch=4)
    for step, batch in zip(range(1, 6), stream, strict=False):
        assert batch.digest() == make_batch(named, draws, CHEAP, ("pair",), step, 4).digest()


def test_position_is_all_that_a_checkpoint_needs() -> None:
    cases, sampler, steps = SETUPS[2]
    with BatchStream(cases, sampler, steps, ("pair", 1), batch=3, workers=2) as stream:
        assert stream.position == 1
        for _ in range(5):
            next(stream)
        stored = stream.position
        following = next(stream).digest()
    assert stored == 6
    assert digests(cases, sampler, steps, start=stored, n=1) == [following]


def test_valid_is_none_where_every_voxel_counts_and_else_marks_what_does_not() -> None:
    whole = next(BatchStream([CASES[1]], WeightedCrop((8, 8, 8)), CHEAP, (), batch=2))
    assert whole.valid is None
    marked = next(BatchStream([CASES[0]], WeightedCrop((24, 20, 18)), (), (), batch=2))
    assert marked.valid is not None
    assert CASES[0].ignore is not None
    np.testing.assert_array_equal(marked.valid[1], ~CASES[0].ignore)
    padded = next(BatchStream(FLAT, WholeImages(), (), (), batch=2))
    assert padded.valid is not None
    assert sorted(padded.valid.sum(axis=(1, 2)).tolist()) == [17 * 33, 30 * 20]
    assert (padded.images.dtype, padded.references.dtype, padded.valid.dtype) == (np.float32, np.uint8, np.bool_)


class Breaks(dict[str, PreparedCase]):
    """Cases of which one can't be had."""

    def __getitem__(self, name: str) -> PreparedCase:
        if name == "c":
            raise OSError("the disk is gone")
        return super().__getitem__(name)


class InTurn:
    """A sampler that takes the cases in turn."""

    def over(self, cases: Cases) -> Draws:
        names = sorted(cases)

        def window(stream: Stream, step: int, place: int, batch: int) -> Window:
            return Window(names[(step - 1) % len(names)], (0, 0, 0))

        return Draws((4, 4, 4), window)


@pytest.mark.parametrize("workers", [0, 2, 4])
def test_an_error_of_a_worker_is_raised_where_its_batch_was_due(workers: int) -> None:
    cases = Breaks({case.name: case for case in CASES})
    before = threading.active_count()
    stream = BatchStream(cases, InTurn(), (), (), batch=2, workers=workers)
    assert [next(stream).names[0], next(stream).names[0]] == ["a", "b"]
    with pytest.raises(DataError, match="c: no patch for step 3: OSError: the disk is gone"):
        next(stream)
    assert stream.position == 3
    assert threading.active_count() == before


def test_workers_end_when_the_stream_is_closed_or_forgotten() -> None:
    before = threading.active_count()
    stream = BatchStream(CASES, WeightedCrop((8, 8, 8)), CHEAP, (), batch=2, workers=3)
    next(stream)
    assert threading.active_count() > before
    stream.close()
    stream.close()
    assert threading.active_count() == before
    forgotten = BatchStream(CASES, WeightedCrop((8, 8, 8)), CHEAP, (), batch=2, workers=3)
    next(forgotten)
    del forgotten
    gc.collect()
    deadline = time.monotonic() + 10
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.02)
    assert threading.active_count() == before


def test_a_closed_stream_says_so() -> None:
    stream = BatchStream(CASES, WeightedCrop((8, 8, 8)), (), (), batch=2, workers=2)
    next(stream)
    stream.close()
    with pytest.raises(UsageError, match="closed"):
        next(stream)


@pytest.mark.parametrize("setting", [{"batch": 0}, {"batch": 1, "workers": -1}, {"batch": 1, "start_step": 0}])
def test_settings_without_sense_are_refused(setting: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="is a whole number of"):
        BatchStream(CASES, WeightedCrop((8, 8, 8)), (), (), **setting)


def test_cases_must_fit_together() -> None:
    twice = [random_case("a"), random_case("a", seed=1)]
    with pytest.raises(UsageError, match="two cases are named 'a'"):
        BatchStream(twice, WeightedCrop((8, 8, 8)), (), (), batch=1)
    with pytest.raises(UsageError, match="no cases"):
        BatchStream([], WeightedCrop((8, 8, 8)), (), (), batch=1)

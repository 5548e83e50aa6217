"""Batches that a thread hashes and pins: the same batches and digests, and nothing of it in the main thread."""

import threading
from collections.abc import Iterator
from contextlib import closing
from itertools import islice

import pytest
import torch

from example_trials import TRIAL
from lesionloss.core.errors import DataError
from lesionloss.data.batches.patch_samplers import WeightedCrop
from lesionloss.data.batches.stream import BatchStream, TrainingBatch
from lesionloss.training import loaded_batches
from lesionloss.training.batch_source import place_cohort
from lesionloss.training.loaded_batches import digest_after, load_ahead
from lesionloss.training.training_step import StepBatch
from patch_cases import random_case

CASES = [random_case("a", ignored=True), random_case("b")]


def stream() -> BatchStream:
    return BatchStream(CASES, WeightedCrop((16, 16, 16)), (), ("pair",), batch=2)


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The threads that pin and hash."""
    seen: list[str] = []

    def pin(tensor: torch.Tensor) -> torch.Tensor:
        seen.append(threading.current_thread().name)
        return tensor

    def digest(before: str, batch: TrainingBatch) -> str:
        seen.append(threading.current_thread().name)
        return digest_after(before, batch)

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)
    monkeypatch.setattr(loaded_batches, "digest_after", digest)
    return seen


def test_a_thread_hashes_and_pins_the_same_batches(threads: list[str]) -> None:
    before, running = "before", threading.active_count()
    with closing(load_ahead(stream(), before)) as loaded:
        for batch, expected in zip(islice(loaded, 4), stream(), strict=False):
            assert batch.digests == (before, digest_after(before, expected))
            before = batch.digests[1]
            assert batch.images.numpy().tobytes() == expected.images.tobytes()
            assert (batch.step, batch.names) == (expected.step, expected.names)
            assert batch.class_numbers() == expected.class_numbers()
            step = StepBatch(batch, TRIAL, "cpu")
            assert step.digest_after(batch.digests[0]) == before
            assert step.digest_after("other") == digest_after("other", expected)
    assert {name.startswith("loading") for name in threads} == {True}
    assert threading.active_count() == running


def test_an_error_is_raised_where_its_batch_was_due(threads: list[str]) -> None:
    def broken() -> Iterator[TrainingBatch]:
        yield from islice(stream(), 2)
        raise DataError("no patch")

    loaded = load_ahead(broken(), "")
    assert [next(loaded).step, next(loaded).step] == [1, 2]
    with pytest.raises(DataError, match="no patch"):
        next(loaded)


def test_on_a_cpu_the_cohort_is_in_main_memory() -> None:
    place = place_cohort(CASES, TRIAL, [""], "cpu")
    assert (place.on_device, place.why) == (False, "no")

"""Batches of cases that stand on a GPU: those of the CPU, without a wait and with few operations."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
import pytest
import torch

from example_trials import RECIPE, TRIAL
from lesionloss.data.batches.augmentation import parse_augmentation
from lesionloss.data.batches.device_batches import DrawnStream, make_device_batch
from lesionloss.data.batches.device_cohort import DeviceCohort, cohort_bytes
from lesionloss.data.batches.patch_samplers import WeightedCrop
from lesionloss.data.batches.stream import BatchStream
from lesionloss.data.prepared import PreparedCase
from lesionloss.training.batch_source import place_cohort
from lesionloss.training.loop import train

INTENSITIES = ("rescale", "brightness", "contrast", "gamma", "noise", "blur", "bias_field")
MOST_OPERATIONS = {(): 40, ("hytver",): 115, ("topk",): 135, INTENSITIES: 130}  # of a batch of any number of patches


@pytest.mark.parametrize("texts", MOST_OPERATIONS)
def test_a_batch_is_that_of_the_cpu_without_a_wait_and_with_few_operations(
    gpu: Any, cases: list[PreparedCase], texts: tuple[str, ...]
) -> None:
    steps = parse_augmentation(texts)
    sampler = WeightedCrop((16, 16, 12), padding_counts=False)
    drawn = DrawnStream(cases, sampler, steps, ("pair",), batch=4)
    cohort = DeviceCohort(drawn.cases, gpu.name)
    for batch, numbers in islice(zip(BatchStream(cases, sampler, steps, ("pair",), batch=4), drawn, strict=True), 3):
        with gpu.log() as log:
            made = make_device_batch(cohort, drawn.draws, numbers)
        assert log.waits == []
        assert log.operations.total() <= MOST_OPERATIONS[texts]
        assert {str(each.device) for each in (made.images, made.references)} == {gpu.name}
        np.testing.assert_allclose(gpu.values(made.images).numpy(), batch.images, atol=1e-4)
        assert (gpu.values(made.references).numpy() != batch.references).mean() < 1e-4


def test_every_hundredth_batch_is_read_for_the_proof_of_the_pairing(gpu: Any, cases: list[PreparedCase]) -> None:
    drawn = DrawnStream(cases, WeightedCrop((8, 8, 8)), (), ("pair",), batch=2, start_step=100)
    cohort = DeviceCohort(drawn.cases, gpu.name)
    made = [make_device_batch(cohort, drawn.draws, numbers) for numbers in islice(drawn, 3)]
    with gpu.log() as log:
        parts = [len(batch.hashed()) for batch in made]
    assert parts == [1, 3, 1]
    assert {wait.function for wait in log.waits} == {"data.batches.device_batches.DeviceBatch.hashed"}


def test_a_cohort_stands_on_the_gpu_where_it_fits(
    gpu: Any, cases: list[PreparedCase], monkeypatch: pytest.MonkeyPatch
) -> None:
    fits = place_cohort(cases, TRIAL, [""], gpu.name)
    assert (fits.on_device, fits.why) == (True, f"yes, {cohort_bytes(cases) / 1e9:.2f} GB")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (2**20, 2**34))
    full = place_cohort(cases, TRIAL, [""], gpu.name)
    assert (full.on_device, full.why) == (False, f"no, {cohort_bytes(cases) / 1e9:.2f} GB where 0.00 GB are left")
    assert train(TRIAL, cases, device=gpu.name).batches_hash == train(TRIAL, cases).batches_hash


def test_training_goes_on_as_it_began(gpu: Any, cases: list[PreparedCase]) -> None:
    assert place_cohort(cases, TRIAL, ["gpu-1", "gpu-1", ""], gpu.name).on_device
    assert place_cohort(cases, TRIAL, ["1", "gpu-1"], gpu.name).why == "no, training began without it"
    mixed: Sequence[PreparedCase] = [cases[0], replace(cases[1], channels=("a", "b", "c"))]
    assert place_cohort(mixed, TRIAL, [""], gpu.name).why == "no, the cases have different channels"


def test_slices_and_masks_train_as_on_the_cpu(gpu: Any, cases: list[PreparedCase]) -> None:
    ignore = np.zeros(cases[0].shape, bool)
    ignore[:, 8:] = True
    some = [replace(cases[0], ignore=ignore), *cases[1:]]
    recipe = replace(RECIPE, patch=(32, 32, 1), window=(32, 32), sampler="slices", augment=("topk",), accumulate=2)
    trial = replace(TRIAL, network="unet2d(filters=2)", recipe=recipe)
    found, expected = train(trial, some, device=gpu.name), train(trial, some)
    assert [step.loss for step in found.history] == pytest.approx([step.loss for step in expected.history], rel=2e-4)

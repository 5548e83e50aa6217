"""Batches made at once, as on a GPU, are those that are made patch by patch; what is drawn is drawn once for both."""

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch

from lesionloss.data.batches import device_batches
from lesionloss.data.batches.augmentation import parse_augmentation
from lesionloss.data.batches.device_batches import DeviceBatch, DrawnStream, make_device_batch
from lesionloss.data.batches.device_cohort import DeviceCohort, cohort_bytes
from lesionloss.data.batches.patch_samplers import PositiveNegative, Sampler, WeightedCrop, WholeImages, WholeSlices
from lesionloss.data.batches.sliding_grid import SlidingGrid
from lesionloss.data.batches.stream import BatchStream, TrainingBatch
from lesionloss.data.prepared import PreparedCase
from patch_cases import random_case

STREAM = ("pair", 1)
VOLUMES = [
    random_case("a", ignored=True),
    random_case("b", (30, 22, 19), spacing=(1.0, 1.0, 3.0)),
    random_case("c", (16, 26, 17), lesions=9, seed=2),
]
FLAT = [random_case("d", (30, 20)), random_case("e", (17, 33), ignored=True)]


def contrasts(case: PreparedCase) -> PreparedCase:
    """The case with two contrasts of two visits, each with its difference, in an order of their own."""
    first, second, difference = case.image
    names = ("flair:difference", "flair:baseline", "t1:baseline", "flair:followup", "t1:followup", "t1:difference")
    image = np.stack([difference, first, 2 * first, second, 3 * second, 3 * second - 2 * first])
    return replace(case, image=image, channels=names)


def one_contrast(case: PreparedCase) -> PreparedCase:
    return replace(case, image=case.image[:1].copy(), channels=("contrast1",))


CROP = WeightedCrop((12, 12, 10), jitter=4, foreground_share=0.6)
OUTSIDE = WeightedCrop((28, 16, 26), padding_counts=False)
SLICE = WeightedCrop((18, 18, 1), jitter=3)
ALL_STEPS = ["rescale", "brightness", "contrast", "gamma", "noise", "blur", "bias_field"]
SETUPS: dict[str, tuple[list[PreparedCase], Sampler, list[str]]] = {
    "crops": (VOLUMES, CROP, []),
    "whole volumes, padded": (VOLUMES, WholeImages(), ["flip"]),
    "grid with flips": (VOLUMES, SlidingGrid((8, 8, 8), overlap=4), ["cabezas"]),
    "cheap": (VOLUMES, CROP, ["flip", "rescale"]),
    "turns": (VOLUMES, WeightedCrop((10, 10, 10)), ["rotate90", "flip", "rotate90(axes=(0, 2))"]),
    "half turns": (VOLUMES, CROP, ["rotate90(axes=(2, 0))"]),
    "hytver": (VOLUMES, CROP, ["hytver"]),
    "hytver, outside": (VOLUMES, OUTSIDE, ["hytver"]),
    "rotated in all planes": (VOLUMES, CROP, ["rotate(degrees=180, probability=1)", "rotate90", "flip"]),
    "scaled": (VOLUMES, PositiveNegative((9, 9, 9)), ["scale(low=0.5, high=2.0)"]),
    "elastic": (VOLUMES, WeightedCrop((14, 14, 14)), ["elastic(sigma=4)", "rotate90", "flip"]),
    "elastic, rotated, elastic": (
        VOLUMES,
        WeightedCrop((14, 14, 9)),
        ["elastic(sigma=6)", "rotate", "elastic(sigma=4, axes=(0, 1), displacement=1)", "scale", "flip", "rotate90"],
    ),
    "all intensities": (VOLUMES, CROP, [*ALL_STEPS, "rotate"]),
    "all intensities, always": (VOLUMES, CROP, [f"{name}(probability=1)" for name in ALL_STEPS[1:]]),
    "contrasts": ([contrasts(case) for case in VOLUMES], CROP, ["hytver", "rescale", "bias_field(degree=4)"]),
    "one contrast": ([one_contrast(case) for case in VOLUMES], CROP, ["dscpp", "noise"]),
    "slices": (VOLUMES, SLICE, ["topk"]),
    "whole slices": (VOLUMES, WholeSlices((32, 32, 1)), ["elastic(axes=(0, 1), sigma=5)", "blur", "flip(axes=(0, 1))"]),
    "flat": (FLAT, WeightedCrop((14, 14), jitter=5), ["dscpp", "rotate90", "gamma", "bias_field"]),
    "flat, whole": (FLAT, WholeImages(), ["rotate(probability=1)", "elastic", "flip", *ALL_STEPS]),
}


def both(setup: str, steps: int = 6) -> list[tuple[TrainingBatch, DeviceBatch]]:
    cases, sampler, texts = SETUPS[setup]
    augmentation = parse_augmentation(texts)
    drawn = DrawnStream(cases, sampler, augmentation, STREAM, batch=3)
    cohort = DeviceCohort(drawn.cases, "cpu")
    batches = BatchStream(cases, sampler, augmentation, STREAM, batch=3)
    made = (make_device_batch(cohort, drawn.draws, each) for each in drawn)
    return list(islice(zip(batches, made, strict=True), steps))


def steepest(images: np.ndarray) -> float:
    """The largest difference of neighbouring voxels: how far the value of a point moves with the point."""
    return max(float(np.abs(np.diff(images, axis=axis)).max(initial=0)) for axis in range(2, images.ndim))


@pytest.mark.parametrize("setup", SETUPS)
def test_a_batch_made_at_once_is_the_one_made_patch_by_patch(setup: str) -> None:
    other, voxels = 0, 0
    for batch, made in both(setup):
        assert (made.step, made.names) == (batch.step, batch.names)
        assert (made.images.dtype, made.references.dtype) == (torch.float32, torch.uint8)
        np.testing.assert_allclose(
            made.images.numpy(), batch.images, rtol=1e-5, atol=1e-5 * max(1, steepest(batch.images))
        )
        valid = np.ones(batch.references.shape, bool) if batch.valid is None else batch.valid
        found = valid | True if made.valid is None else made.valid.numpy()
        other += int((made.references.numpy() != batch.references).sum() + (found != valid).sum())
        voxels += valid.size
    assert other == 0, f"{other} of {voxels} labels"


def drawn_digests(cases: list[PreparedCase], sampler: Sampler, texts: list[str], **changes: int) -> list[bytes]:
    stream = DrawnStream(cases, sampler, parse_augmentation(texts), STREAM, batch=2, **changes)
    with stream:
        return [drawn.digest for drawn in islice(stream, 3)]


def test_the_digest_of_a_batch_covers_every_number_that_was_drawn() -> None:
    """A setting of each step is changed by little: it draws the same uniform numbers, which come out as others."""
    always = ["rotate", "scale", "elastic", "brightness", "contrast", "gamma", "noise", "blur", "bias_field"]
    other = [
        "degrees=14",
        "high=1.2",
        "displacement=1.9",
        "high=1.2",
        "high=1.2",
        "high=1.4",
        "sd=0.2",
        "high=0.9",
        "level=3",
    ]
    seen = {tuple(drawn_digests(VOLUMES, CROP, []))}
    for name, setting in zip(always, other, strict=True):
        plain, changed = f"{name}(probability=1)", f"{name}(probability=1, {setting})"
        again = [tuple(drawn_digests(VOLUMES, CROP, [text])) for text in (plain, plain, changed)]
        assert again[0] == again[1]
        seen |= set(again)
    for texts in (["flip"], ["rotate90(axes=(0, 1))"], ["rescale"]):
        seen.add(tuple(drawn_digests(VOLUMES, CROP, texts)))
    seen.add(tuple(drawn_digests(VOLUMES, WeightedCrop((12, 12, 10), jitter=5, foreground_share=0.6), [])))
    assert len(seen) == 1 + 2 * len(always) + 3 + 1


def test_what_is_drawn_is_the_same_for_any_number_of_workers_and_any_start() -> None:
    alone = drawn_digests(VOLUMES, CROP, ["hytver", "noise"])
    assert drawn_digests(VOLUMES, CROP, ["hytver", "noise"], workers=2) == alone
    assert drawn_digests(VOLUMES, CROP, ["hytver", "noise"], start_step=2)[:2] == alone[1:]


def test_the_pairing_covers_the_cohort_and_every_hundredth_time_the_bytes() -> None:
    def hashed(cases: list[PreparedCase], step: int, **changes: object) -> list[bytes]:
        stream = DrawnStream(cases, CROP, (), STREAM, batch=2, start_step=step)
        batch = make_device_batch(DeviceCohort(stream.cases, "cpu"), stream.draws, next(stream))
        return replace(batch, **changes).hashed()

    touched = replace(VOLUMES[0], image=VOLUMES[0].image + 1)
    assert len(hashed(VOLUMES, 2)) == 1
    assert hashed(VOLUMES, 2) == hashed(VOLUMES, 2) != hashed([touched, *VOLUMES[1:]], 2)
    for step in (1, 101):
        _drawn, images, references = hashed(VOLUMES, step)
        batch = next(BatchStream(VOLUMES, CROP, (), STREAM, batch=2, start_step=step))
        assert (images, references) == (batch.images.tobytes(), batch.references.tobytes())
        assert hashed(VOLUMES, step, images=torch.zeros(1))[1:] != [images, references]


def test_large_patches_are_made_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = [made for _, made in both("hytver, outside", 3)]
    monkeypatch.setattr(device_batches, "MOST_VOXELS", 1)
    for before, (_, made) in zip(whole, both("hytver, outside", 3), strict=True):
        assert torch.equal(made.images, before.images)
        assert torch.equal(made.references, before.references)
        assert made.valid is not None
        assert before.valid is not None
        assert torch.equal(made.valid, before.valid)


def test_class_numbers_that_do_not_count_are_not_among_those_of_a_batch() -> None:
    (case,) = (random_case("a", lesions=0),)
    reference, ignore = case.reference.copy(), np.zeros(case.shape, bool)
    reference[5:9, 5:9, 5:9], reference[10, 10, 10], ignore[5:9, 5:9, 5:9] = 7, 2, True
    odd = replace(case, reference=reference, ignore=ignore)
    stream = DrawnStream([odd], CROP, (), STREAM, batch=1)
    cohort = DeviceCohort(stream.cases, "cpu")
    assert make_device_batch(cohort, stream.draws, next(stream)).class_numbers() == (0, 2)
    assert cohort_bytes([odd]) == case.reference.size * (3 * 4 + 2)


def test_maps_of_references_are_made_of_the_same_references() -> None:
    def maps(batch: TrainingBatch) -> dict[str, np.ndarray]:
        valid = np.ones_like(batch.references) if batch.valid is None else batch.valid
        return {"both": np.stack([batch.references, valid], axis=1)}

    for case_setup in ("elastic, rotated, elastic", "hytver, outside", "slices", "flat"):
        cases, sampler, texts = SETUPS[case_setup]
        streams = (
            kind(cases, sampler, parse_augmentation(texts), STREAM, batch=3, maps=maps)
            for kind in (BatchStream, DrawnStream)
        )
        for one, other in islice(zip(*streams, strict=True), 4):
            np.testing.assert_array_equal(other.maps["both"], one.maps["both"])
            assert other.spacing_mm == one.spacing_mm

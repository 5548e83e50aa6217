"""Samplers: which windows they draw, how often, and that nothing but stream and step has a say."""

import hashlib
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lesionloss.core.errors import UsageError
from lesionloss.data.batches.augmentation import CHEAP
from lesionloss.data.batches.patch_samplers import (
    Draws,
    PositiveNegative,
    Sampler,
    WeightedCrop,
    WholeImages,
    WholeSlices,
    Window,
)
from lesionloss.data.batches.patches import cut
from lesionloss.data.batches.sliding_grid import SlidingGrid, grid_starts
from lesionloss.data.batches.stream import make_batch
from lesionloss.data.prepared import PreparedCase
from patch_cases import case_of, random_case

STREAM = ("pair", 7)
THREE = {name: random_case(name, lesions=n) for name, n in (("a", 5), ("b", 0), ("c", 9))}


def windows(draws: Draws, steps: range, batch: int, stream: tuple = STREAM) -> list[Window]:
    return [draws.window(stream, step, place, batch) for step in steps for place in range(batch)]


def lesion_case(
    name: str, shape: tuple[int, ...], *lesions: tuple[int, ...], brain: tuple[slice, ...] = ()
) -> PreparedCase:
    inside = np.zeros(shape, dtype=bool)
    inside[brain or (slice(None),) * len(shape)] = True
    reference = np.zeros(shape, dtype=np.uint8)
    for voxel in lesions:
        reference[voxel] = 1
    return case_of(name, np.ones((3, *shape), dtype=np.float32), reference, inside)


def test_the_stream_of_existing_plans_has_not_moved() -> None:
    """Tables were made with these batches: the digest is that of the first version."""
    shapes = (("a", (40, 36, 20), 3), ("bb", (12, 30, 9), 0), ("ccc", (25, 25, 25), 40))
    cases = {name: old_case(name, shape, lesions) for name, shape, lesions in shapes}
    draws = WeightedCrop((16, 12, 10), jitter=5, foreground_share=0.7).over(cases)
    digest = hashlib.sha256()
    for steps in ((), CHEAP):
        for step in range(1, 6):
            batch = make_batch(cases, draws, steps, ("pair",), step, 4)
            digest.update(batch.images.tobytes() + batch.references.tobytes() + repr(batch.names).encode())
    assert digest.hexdigest() == "45c1c123593611085c43c93e531300f28215bbbed2668c353c30bd9766e596f1"


def old_case(name: str, shape: tuple[int, int, int], lesions: int) -> PreparedCase:
    rng = np.random.default_rng(len(name))
    brain = np.zeros(shape, dtype=bool)
    brain[1:-1, 1:-1, 1:-1] = True
    reference = np.zeros(shape, dtype=np.uint8)
    reference.flat[rng.choice(np.flatnonzero(brain), lesions, replace=False)] = 1
    visits = rng.normal(size=(2, *shape)).astype(np.float32) * brain
    return case_of(name, np.stack([*visits, visits[1] - visits[0]]), reference, brain)


@settings(max_examples=60, deadline=None)
@given(
    shape=st.lists(st.integers(3, 14), min_size=2, max_size=3).map(tuple),
    data=st.data(),
    seed=st.integers(0, 1000),
    counts=st.booleans(),
)
def test_windows_of_any_size_in_two_and_three_axes(
    shape: tuple[int, ...], data: st.DataObject, seed: int, counts: bool
) -> None:
    size = tuple(data.draw(st.integers(1, 2 * length)) for length in shape)
    case = random_case("x", shape, lesions=1, seed=seed)
    window = WeightedCrop(size, jitter=3).over({"x": case}).window(("s", seed), 1, 0, 1)
    patch = cut(case, window.start, size, padding_counts=counts)
    assert patch.image.shape == (3, *size)
    assert patch.reference.shape == patch.valid.shape == size
    kept = tuple(min(length, width) for length, width in zip(shape, size, strict=True))
    assert (patch.valid.sum() if not counts else kept_voxels(patch.image)) <= np.prod(kept)
    if not counts:
        assert patch.valid.sum() == np.prod(kept)
        assert not patch.image[:, ~patch.valid].any()
        assert not patch.reference[~patch.valid].any()
        for axis, (length, width) in enumerate(zip(shape, size, strict=True)):
            used = np.flatnonzero(patch.valid.any(axis=tuple(a for a in range(len(shape)) if a != axis)))
            before, after = used[0], width - 1 - used[-1]
            assert abs(before - after) <= (1 if width > length else 0)


def kept_voxels(image: np.ndarray) -> int:
    return int((image != 0).any(axis=0).sum())


def test_ignored_voxels_are_not_valid() -> None:
    case = random_case("x", ignored=True)
    assert case.ignore is not None
    patch = cut(case, (-2, 3, 1), SPACE_AND_MORE)
    np.testing.assert_array_equal(patch.valid[2:26, :17, :17], ~case.ignore[:, 3:, 1:])
    assert patch.valid[:2].all()
    assert not cut(case, (-2, 3, 1), SPACE_AND_MORE, padding_counts=False).valid[:2].any()


SPACE_AND_MORE = (28, 20, 20)


def test_a_window_wholly_outside_is_padding() -> None:
    for start in ((-40, 0, 0), (60, 0, 0)):
        patch = cut(THREE["a"], start, (5, 5, 5), padding_counts=False)
        assert not patch.image.any()
        assert not patch.valid.any()


def test_positive_and_negative_patches_come_in_turn() -> None:
    draws = PositiveNegative((1, 1, 1), positive=1, negative=2).over(THREE)
    drawn = windows(draws, range(1, 41), 5)
    held = [int(THREE[window.case].reference[window.start]) > 0 for window in drawn]
    assert held == [index % 3 == 0 for index in range(200)]
    assert all(THREE[window.case].brain[window.start] for window in drawn)
    assert {window.case for window, lesion in zip(drawn, held, strict=True) if not lesion} == {"a", "b", "c"}
    assert {window.case for window, lesion in zip(drawn, held, strict=True) if lesion} == {"a", "c"}


@pytest.mark.parametrize("batch", [1, 4, 7])
@pytest.mark.parametrize(
    "sampler",
    [
        SlidingGrid((8, 8, 8), overlap=4),
        WholeImages(),
        SlidingGrid((6, 9, 6), 2, flipped=None, only_lesion=False),
        WholeSlices((32, 32, 1)),
    ],
)
def test_an_epoch_visits_every_patch_once_in_an_order_of_its_own(sampler: Sampler, batch: int) -> None:
    draws = sampler.over(THREE)
    assert draws.per_epoch is not None
    steps = draws.steps_per_epoch(batch)
    assert steps == -(-draws.per_epoch // batch)
    drawn = windows(draws, range(1, 3 * steps + 1), batch)
    epochs = [drawn[index * draws.per_epoch : (index + 1) * draws.per_epoch] for index in range(2)]
    assert all(count == 1 for epoch in epochs for count in Counter(epoch).values())
    assert set(epochs[0]) == set(epochs[1])
    if draws.per_epoch > 5:
        assert epochs[0] != epochs[1]
        assert epochs[0] != windows(draws, range(1, steps + 1), batch, ("other",))[: draws.per_epoch]


def test_the_grid_covers_the_brain_keeps_lesions_and_ends_with_the_box() -> None:
    brain = (slice(3, 20), slice(2, 14), slice(1, 9))
    case = lesion_case("x", (24, 18, 12), (4, 3, 2), (19, 13, 8), brain=brain)
    every = grid_starts(case, SlidingGrid((8, 6, 4), overlap=2, only_lesion=False))
    assert every == [(x, y, z) for x in (3, 9, 12) for y in (2, 6, 8) for z in (1, 3, 5)]
    covered = np.zeros(case.shape, dtype=bool)
    for x, y, z in every:
        covered[x : x + 8, y : y + 6, z : z + 4] = True
    np.testing.assert_array_equal(covered, case.brain)
    assert grid_starts(case, SlidingGrid((8, 6, 4), overlap=2)) == [(3, 2, 1), (12, 8, 5)]


def test_grid_windows_hold_lesion_and_are_visited_flipped_too() -> None:
    plain = SlidingGrid((8, 8, 8), overlap=4, flipped=None).over(THREE)
    both = SlidingGrid((8, 8, 8), overlap=4, flipped=2).over(THREE)
    assert plain.per_epoch is not None
    assert both.per_epoch == 2 * plain.per_epoch
    drawn = windows(both, range(1, both.per_epoch + 1), 1)
    assert Counter(window.flipped for window in drawn) == {(): plain.per_epoch, (2,): plain.per_epoch}
    assert all(cut(THREE[window.case], window.start, (8, 8, 8)).reference.any() for window in drawn)


def test_a_box_smaller_than_the_patch_gives_one_window_around_it() -> None:
    case = lesion_case("x", (10, 12, 40), (5, 5, 20), brain=(slice(4, 7), slice(0, 12), slice(18, 25)))
    assert grid_starts(case, SlidingGrid((8, 16, 8), overlap=4)) == [(1, -2, 17)]


@pytest.mark.parametrize(
    ("shapes", "sampler", "size"),
    [
        ([(30, 20), (17, 33)], WholeImages(), (32, 48)),
        ([(30, 20), (17, 33)], WholeImages(size=(40, 40)), (40, 40)),
        ([(30, 20), (17, 33)], WholeImages(multiple=1), (30, 33)),
        ([(5, 9, 16)], WholeImages(multiple=8), (8, 16, 16)),
    ],
)
def test_whole_images_are_padded_to_one_size(
    shapes: list[tuple[int, ...]], sampler: WholeImages, size: tuple[int, ...]
) -> None:
    cases = {f"x{index}": random_case(f"x{index}", shape) for index, shape in enumerate(shapes)}
    draws = sampler.over(cases)
    assert draws.size == size
    assert not draws.padding_counts
    for window in windows(draws, range(1, len(cases) + 1), 1):
        patch = cut(cases[window.case], window.start, size, padding_counts=False)
        assert patch.valid.sum() == cases[window.case].brain.size
        assert patch.reference.sum() == cases[window.case].reference.sum()


def test_an_epoch_of_slices_holds_every_voxel_once() -> None:
    cases = {f"x{index}": random_case(f"x{index}", shape) for index, shape in enumerate([(20, 13, 6), (9, 24, 4)])}
    draws = WholeSlices((24, 24, 1)).over(cases)
    assert (draws.size, draws.per_epoch, draws.padding_counts) == ((24, 24, 1), 10, False)
    patches = [
        cut(cases[window.case], window.start, draws.size, padding_counts=False)
        for window in windows(draws, range(1, 6), 2)
    ]
    assert sum(int(patch.valid.sum()) for patch in patches) == sum(case.reference.size for case in cases.values())
    assert sum(float(patch.image.sum()) for patch in patches) == pytest.approx(
        sum(float(case.image.sum()) for case in cases.values()), rel=1e-4
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: WeightedCrop((8, 8, 8), jitter=-1), "jitter"),
        (lambda: WeightedCrop((8,)), "patch size"),
        (lambda: WeightedCrop((8, 8)).over(THREE).window(STREAM, 1, 0, 1), "3 axes.*give 3 numbers"),
        (lambda: WeightedCrop((8, 8, 8)).over({}), "no cases"),
        (lambda: PositiveNegative((8, 8, 8), positive=0, negative=0), "positive and negative"),
        (lambda: PositiveNegative((8, 8, 8)).over({"b": THREE["b"]}), "none of the 1 cases has a lesion"),
        (lambda: SlidingGrid((8, 8, 8), overlap=8), "overlap"),
        (lambda: SlidingGrid((8, 8, 8), overlap=2, flipped=3), "flipped is an axis"),
        (lambda: SlidingGrid((8, 8, 8), overlap=2).over({"b": THREE["b"]}), "none of the 1 cases has a window"),
        (lambda: WholeImages(size=(8, 8, 8)).over(THREE), "a is .* does not fit in"),
        (lambda: WholeImages(multiple=0), "multiple"),
        (lambda: WholeSlices((8, 8, 8)), r"slices are drawn for a patch \[x, y, 1\], got \[8, 8, 8\]"),
        (lambda: WholeSlices((8, 8, 1)).over(THREE), "a is .* does not fit in"),
        (lambda: WholeSlices((8, 8, 1)).over({"d": random_case("d", (8, 8))}), "2 axes.*give 2 numbers"),
        (lambda: WholeImages().over(THREE | {"d": random_case("d", (9, 9))}), "two axes and some three"),
    ],
)
def test_samplers_without_sense_are_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make()

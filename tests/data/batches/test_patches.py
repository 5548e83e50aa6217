"""Patches and augmentation: where they come from, and that they depend on nothing but stream and step."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lesionloss.core.errors import UsageError
from lesionloss.data.batches.augmentation import CHEAP
from lesionloss.data.batches.patch_samplers import Draws, WeightedCrop, Window
from lesionloss.data.batches.patches import Patch, crop_start, cut
from lesionloss.data.batches.stream import BatchStream, TrainingBatch, make_batch
from lesionloss.data.prepared import PreparedCase
from patch_cases import case_of

STREAM = ("pair", 7)


def case(name: str = "a", shape: tuple[int, int, int] = (40, 36, 20), lesions: int = 3) -> PreparedCase:
    """Baseline voxel (x, y, z) holds its own flat index + 1, so a patch says where it was taken."""
    brain = np.zeros(shape, dtype=bool)
    brain[1:-1, 1:-1, 1:-1] = True
    reference = np.zeros(shape, dtype=bool)
    rng = np.random.default_rng(len(name))
    reference.flat[rng.choice(np.flatnonzero(brain), lesions, replace=False)] = True
    where = np.arange(1, brain.size + 1, dtype=np.float32).reshape(shape)
    image = np.stack([where, 2 * where, where])
    names = ("baseline", "followup", "difference")
    return PreparedCase(name, name, image, names, reference.astype(np.uint8), brain, np.eye(4), (0, 0, 0), shape)


def crop(source: PreparedCase, size: tuple[int, ...], jitter: int, seed: int, foreground_share: float = 1.0) -> Patch:
    rng = np.random.default_rng(seed)
    return cut(source, crop_start(source, size, jitter, foreground_share, rng), size)


def draw(
    cases: list[PreparedCase], sampler: WeightedCrop, batch: int, step: int, stream: tuple[str | int, ...] = STREAM
) -> TrainingBatch:
    named = {one.name: one for one in cases}
    return make_batch(named, sampler.over(named), (), stream, step, batch)


def origin(image: np.ndarray, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Where in the case the first voxel of an unpadded patch lies."""
    return tuple(int(i) for i in np.unravel_index(int(image[0, 0, 0, 0]) - 1, shape))


def test_a_patch_is_a_window_of_the_case() -> None:
    source = case()
    size = (8, 6, 4)
    for seed in range(50):
        patch = crop(source, size, 3, seed)
        image, reference = patch.image, patch.reference
        window = tuple(slice(o, o + n) for o, n in zip(origin(image, source.shape), size, strict=True))
        np.testing.assert_array_equal(image, source.image[(slice(None), *window)])
        np.testing.assert_array_equal(reference, source.reference[window])
        assert (image.dtype, reference.dtype) == (np.float32, np.uint8)


@settings(max_examples=80, deadline=None)
@given(
    shape=st.tuples(*[st.integers(5, 20)] * 3),
    size=st.tuples(*[st.integers(1, 30)] * 3),
    jitter=st.integers(0, 12),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_size_fits_and_padding_is_zero(
    shape: tuple[int, int, int], size: tuple[int, int, int], jitter: int, seed: int
) -> None:
    source = case(shape=shape)
    patch = crop(source, size, jitter, seed)
    image, reference = patch.image, patch.reference
    assert image.shape == (3, *size)
    assert reference.shape == size
    kept = np.prod([min(a, b) for a, b in zip(shape, size, strict=True)])
    assert (image[0] != 0).sum() == kept
    if all(length <= width for length, width in zip(shape, size, strict=True)):
        assert reference.sum() == source.reference.sum()


def test_an_image_smaller_than_the_patch_lies_in_its_middle() -> None:
    image = crop(case(shape=(5, 6, 7)), (9, 6, 8), 10, seed=0).image
    used = np.argwhere(image[0])
    assert used.min(axis=0).tolist() == [2, 0, 0]
    assert used.max(axis=0).tolist() == [6, 5, 6]


def test_the_centre_is_a_lesion_voxel_moved_uniformly_by_the_jitter() -> None:
    source = case(shape=(60, 60, 60), lesions=1)
    source.reference[...] = False
    source.reference[30, 31, 29] = True
    starts = np.array([origin(crop(source, (5, 5, 5), 10, s).image, source.shape) for s in range(3000)])
    shifts = starts + 2 - np.array([30, 31, 29])
    for axis in range(3):
        values, counts = np.unique(shifts[:, axis], return_counts=True)
        assert values.tolist() == list(range(-10, 11))
        # 3000 draws over 21 places: 143 expected, standard deviation 12
        assert counts.min() > 90
        assert counts.max() < 200
    assert np.abs(np.corrcoef(shifts.T) - np.eye(3)).max() < 0.08


def test_every_lesion_voxel_is_drawn_alike() -> None:
    source = case(shape=(30, 30, 30), lesions=4)
    seen = np.zeros(4)
    for seed in range(800):
        image = crop(source, (1, 1, 1), 0, seed).image
        seen[np.searchsorted(source.lesion_voxels, int(image[0, 0, 0, 0]) - 1)] += 1
    assert seen.sum() == 800
    assert seen.min() > 150


def test_without_lesion_or_by_share_the_centre_is_anywhere_in_the_brain() -> None:
    healthy = case(shape=(8, 8, 8), lesions=0)
    drawn = {origin(crop(healthy, (1, 1, 1), 0, s).image, healthy.shape) for s in range(3000)}
    assert drawn == {tuple(index) for index in np.argwhere(healthy.brain).tolist()}
    source = case(shape=(30, 30, 30), lesions=2)
    hits = [crop(source, (1, 1, 1), 0, s, foreground_share=0.3).reference.any() for s in range(2000)]
    assert 0.26 < np.mean(hits) < 0.34
    assert not any(crop(source, (1, 1, 1), 0, s, 0.0).reference.any() for s in range(100))


def test_a_batch_depends_on_nothing_but_stream_and_step() -> None:
    cases = [case("a"), case("bb"), case("ccc", lesions=0)]
    sampler = WeightedCrop((8, 8, 8), jitter=4, foreground_share=0.8)
    first = draw(cases, sampler, 6, 5)
    np.random.seed(1)  # noqa: NPY002 - the global state must have no influence
    np.random.random(10)  # noqa: NPY002
    for step in (4, 6, 5):
        again = draw(cases[::-1], sampler, 6, step)
    assert again.digest() == first.digest()
    assert len({image.tobytes() for image in first.images}) == 6
    shorter = draw(cases, sampler, 2, 5)
    np.testing.assert_array_equal(shorter.images, first.images[:2])
    for stream, step in ((STREAM, 6), (("pair", 8), 5)):
        assert not np.array_equal(first.images, draw(cases, sampler, 6, step, stream).images)


def test_a_batch_has_the_promised_types_and_varied_cases() -> None:
    cases = [case("a"), case("bb"), case("ccc")]
    names: set[str] = set()
    for step in range(1, 21):
        batch = draw(cases, WeightedCrop((8, 6, 4), jitter=4), 3, step)
        assert (batch.images.shape, batch.images.dtype) == ((3, 3, 8, 6, 4), np.float32)
        assert (batch.references.shape, batch.references.dtype) == ((3, 8, 6, 4), np.uint8)
        assert set(np.unique(batch.references)) <= {0, 1}
        names |= set(batch.names)
    assert names == {"a", "bb", "ccc"}


def test_a_batch_is_drawn_in_milliseconds() -> None:
    cases = [case(name, shape=(180, 220, 60), lesions=500) for name in ("a", "bb")]
    seconds = []
    with BatchStream(cases, WeightedCrop((32, 32, 32)), (), STREAM, batch=8) as stream:
        next(stream)
        for _ in range(20):
            start = time.perf_counter()
            next(stream)
            seconds.append(time.perf_counter() - start)
    # Usually 2 ms; recomputing the lesion voxels each time takes more than 50.
    assert min(seconds) < 0.02


@pytest.mark.parametrize(
    ("size", "jitter", "share", "message"),
    [
        ((0, 8, 8), 1, 1.0, "patch size"),
        ((8,), 1, 1.0, "patch size"),
        ((8, 8, 8), -1, 1.0, "jitter"),
        ((8, 8, 8), 1, 1.5, "foreground_share"),
        ((8, 8, 8), 1, float("nan"), "foreground_share"),
    ],
)
def test_settings_without_sense_are_refused(size: tuple[int, ...], jitter: int, share: float, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        WeightedCrop(size, jitter, share)


def test_a_patch_of_another_number_of_axes_is_refused() -> None:
    with pytest.raises(UsageError, match="a has 3 axes"):
        draw([case()], WeightedCrop((8, 8)), 1, 1)


def cases_for_augmenting() -> list[PreparedCase]:
    """64 cases of one patch each, 0 in the first plane."""
    rng = np.random.default_rng(0)
    images = rng.normal(size=(64, 3, 6, 5, 4)).astype(np.float32)
    images[:, :, 0] = 0
    images[:, 2] = images[:, 1] - images[:, 0]
    references = (rng.random((64, 6, 5, 4)) < 0.2).astype(np.uint8)
    brain = np.ones((6, 5, 4), dtype=bool)
    return [case_of(f"{k:02d}", images[k], references[k], brain) for k in range(64)]


def augmented_batch(step: int, stream: tuple[str | int, ...] = STREAM, count: int = 64) -> TrainingBatch:
    """The whole of each case in their order, with the cheap augmentation."""
    cases = {one.name: one for one in cases_for_augmenting()}
    draws = Draws((6, 5, 4), lambda stream, step, place, batch: Window(f"{place:02d}", (0, 0, 0)))
    return make_batch(cases, draws, CHEAP, stream, step, count)


def test_augmentation_flips_image_and_reference_alike_and_keeps_the_difference() -> None:
    cases, batch = cases_for_augmenting(), augmented_batch(3)
    np.testing.assert_array_equal(batch.images[:, 2], batch.images[:, 1] - batch.images[:, 0])
    seen = []
    for one, new_image, new_reference in zip(cases, batch.images, batch.references, strict=True):
        flips = [
            axes
            for axes in [(), (0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)]
            if np.array_equal(np.flip(one.reference, axes), new_reference)
        ]
        assert len(flips) == 1
        seen += flips
        for visit in range(2):
            flipped = np.flip(one.image[visit], flips[0])
            inside = flipped != 0
            assert not new_image[visit][~inside].any()
            slope, shift = np.polyfit(flipped[inside], new_image[visit][inside], 1)
            np.testing.assert_allclose(new_image[visit][inside], slope * flipped[inside] + shift, atol=1e-5)
            assert 0.9 <= slope <= 1.1
            assert -0.1 <= shift <= 0.1
    for axis in range(3):
        assert 16 < sum(axis in axes for axes in seen) < 48


def test_augmentation_depends_on_nothing_but_stream_and_step() -> None:
    first = augmented_batch(3)
    augmented_batch(2)
    again = augmented_batch(3, count=5)
    np.testing.assert_array_equal(first.images[:5], again.images)
    np.testing.assert_array_equal(first.references[:5], again.references)
    assert not np.array_equal(first.images, augmented_batch(4).images)
    assert not np.array_equal(first.images, augmented_batch(3, ("other",)).images)

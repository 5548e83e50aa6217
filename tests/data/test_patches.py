"""Patches and augmentation: where they come from, and that they depend on nothing but stream and step."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lesionloss.core.errors import UsageError
from lesionloss.data.augment import augment
from lesionloss.data.patches import draw_batch, weighted_crop
from lesionloss.data.prepared import PreparedCase

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


def origin(image: np.ndarray, shape: tuple[int, int, int]) -> tuple[int, ...]:
    """Where in the case the first voxel of an unpadded patch lies."""
    return tuple(int(i) for i in np.unravel_index(int(image[0, 0, 0, 0]) - 1, shape))


def test_a_patch_is_a_window_of_the_case() -> None:
    source = case()
    size = (8, 6, 4)
    for seed in range(50):
        image, reference = weighted_crop(source, size, 3, np.random.default_rng(seed))
        window = tuple(slice(o, o + n) for o, n in zip(origin(image, source.shape), size, strict=True))
        np.testing.assert_array_equal(image, source.image[(slice(None), *window)])
        np.testing.assert_array_equal(reference, source.reference[window])
        assert (image.dtype, reference.dtype) == (np.float32, np.bool_)


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
    image, reference = weighted_crop(source, size, jitter, np.random.default_rng(seed))
    assert image.shape == (3, *size)
    assert reference.shape == size
    kept = np.prod([min(a, b) for a, b in zip(shape, size, strict=True)])
    assert (image[0] != 0).sum() == kept
    if all(length <= width for length, width in zip(shape, size, strict=True)):
        assert reference.sum() == source.reference.sum()


def test_an_image_smaller_than_the_patch_lies_in_its_middle() -> None:
    image, _ = weighted_crop(case(shape=(5, 6, 7)), (9, 6, 8), 10, np.random.default_rng(0))
    used = np.argwhere(image[0])
    assert used.min(axis=0).tolist() == [2, 0, 0]
    assert used.max(axis=0).tolist() == [6, 5, 6]


def test_the_centre_is_a_lesion_voxel_moved_uniformly_by_the_jitter() -> None:
    source = case(shape=(60, 60, 60), lesions=1)
    source.reference[...] = False
    source.reference[30, 31, 29] = True
    starts = np.array(
        [origin(weighted_crop(source, (5, 5, 5), 10, np.random.default_rng(s))[0], source.shape) for s in range(3000)]
    )
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
        image, _ = weighted_crop(source, (1, 1, 1), 0, np.random.default_rng(seed))
        seen[np.searchsorted(source.lesion_voxels, int(image[0, 0, 0, 0]) - 1)] += 1
    assert seen.sum() == 800
    assert seen.min() > 150


def test_without_lesion_or_by_share_the_centre_is_anywhere_in_the_brain() -> None:
    healthy = case(shape=(8, 8, 8), lesions=0)
    drawn = {
        origin(weighted_crop(healthy, (1, 1, 1), 0, np.random.default_rng(s))[0], healthy.shape) for s in range(3000)
    }
    assert drawn == {tuple(index) for index in np.argwhere(healthy.brain).tolist()}
    source = case(shape=(30, 30, 30), lesions=2)
    hits = [
        weighted_crop(source, (1, 1, 1), 0, np.random.default_rng(s), foreground_share=0.3)[1].any()
        for s in range(2000)
    ]
    assert 0.26 < np.mean(hits) < 0.34
    assert not any(weighted_crop(source, (1, 1, 1), 0, np.random.default_rng(s), 0.0)[1].any() for s in range(100))


def test_a_batch_depends_on_nothing_but_stream_and_step() -> None:
    cases = [case("a"), case("bb"), case("ccc", lesions=0)]
    first = draw_batch(cases, (8, 8, 8), 6, 4, 0.8, STREAM, 5)
    np.random.seed(1)  # noqa: NPY002 - the global state must have no say
    np.random.random(10)  # noqa: NPY002
    for step in (4, 6, 5):
        again = draw_batch(cases[::-1], (8, 8, 8), 6, 4, 0.8, STREAM, step)
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert first[2] == again[2]
    assert len({image.tobytes() for image in first[0]}) == 6
    shorter = draw_batch(cases, (8, 8, 8), 2, 4, 0.8, STREAM, 5)
    np.testing.assert_array_equal(shorter[0], first[0][:2])
    for stream, step in ((STREAM, 6), (("pair", 8), 5)):
        assert not np.array_equal(first[0], draw_batch(cases, (8, 8, 8), 6, 4, 0.8, stream, step)[0])


def test_a_batch_has_the_promised_types_and_varied_cases() -> None:
    cases = [case("a"), case("bb"), case("ccc")]
    names: set[str] = set()
    for step in range(20):
        images, references, drawn = draw_batch(cases, (8, 6, 4), 3, 4, 1.0, STREAM, step)
        assert (images.shape, images.dtype) == ((3, 3, 8, 6, 4), np.float32)
        assert (references.shape, references.dtype) == ((3, 8, 6, 4), np.uint8)
        assert set(np.unique(references)) <= {0, 1}
        names |= set(drawn)
    assert names == {"a", "bb", "ccc"}


def test_a_batch_is_drawn_in_milliseconds() -> None:
    cases = [case(name, shape=(180, 220, 60), lesions=500) for name in ("a", "bb")]
    draw_batch(cases, (32, 32, 32), 8, 10, 1.0, STREAM, 0)
    seconds = []
    for step in range(20):
        start = time.perf_counter()
        draw_batch(cases, (32, 32, 32), 8, 10, 1.0, STREAM, step)
        seconds.append(time.perf_counter() - start)
    # Usually 2 ms; recomputing the lesion voxels each time takes more than 50.
    assert min(seconds) < 0.02


@pytest.mark.parametrize(
    ("size", "batch", "jitter", "share", "message"),
    [
        ((0, 8, 8), 2, 1, 1.0, "patch size"),
        ((8, 8), 2, 1, 1.0, "patch size"),
        ((8, 8, 8), 0, 1, 1.0, "at least one patch"),
        ((8, 8, 8), 2, -1, 1.0, "jitter"),
        ((8, 8, 8), 2, 1, 1.5, "foreground_share"),
        ((8, 8, 8), 2, 1, float("nan"), "foreground_share"),
    ],
)
def test_settings_without_sense_are_refused(size: tuple, batch: int, jitter: int, share: float, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        draw_batch([case()], size, batch, jitter, share, STREAM, 0)


def batch_for_augmenting() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    images = rng.normal(size=(64, 3, 6, 5, 4)).astype(np.float32)
    images[:, :, 0] = 0
    images[:, 2] = images[:, 1] - images[:, 0]
    return images, (rng.random((64, 6, 5, 4)) < 0.2).astype(np.uint8)


def test_augmentation_flips_image_and_reference_alike_and_keeps_the_difference() -> None:
    images, references = batch_for_augmenting()
    before = images.copy()
    new_images, new_references = augment(images, references, STREAM, 3)
    np.testing.assert_array_equal(images, before)
    np.testing.assert_array_equal(new_images[:, 2], new_images[:, 1] - new_images[:, 0])
    seen = []
    for image, reference, new_image, new_reference in zip(images, references, new_images, new_references, strict=True):
        flips = [
            axes
            for axes in [(), (0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)]
            if np.array_equal(np.flip(reference, axes), new_reference)
        ]
        assert len(flips) == 1
        seen += flips
        for visit in range(2):
            flipped = np.flip(image[visit], flips[0])
            inside = flipped != 0
            assert not new_image[visit][~inside].any()
            slope, shift = np.polyfit(flipped[inside], new_image[visit][inside], 1)
            np.testing.assert_allclose(new_image[visit][inside], slope * flipped[inside] + shift, atol=1e-5)
            assert 0.9 <= slope <= 1.1
            assert -0.1 <= shift <= 0.1
    for axis in range(3):
        assert 16 < sum(axis in axes for axes in seen) < 48


def test_augmentation_depends_on_nothing_but_stream_and_step() -> None:
    images, references = batch_for_augmenting()
    first = augment(images, references, STREAM, 3)
    augment(images, references, STREAM, 2)
    again = augment(images[:5], references[:5], STREAM, 3)
    np.testing.assert_array_equal(first[0][:5], again[0])
    np.testing.assert_array_equal(first[1][:5], again[1])
    assert not np.array_equal(first[0], augment(images, references, STREAM, 4)[0])
    assert not np.array_equal(first[0], augment(images, references, ("other",), 3)[0])

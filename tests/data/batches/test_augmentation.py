"""Augmentation: geometry is shared, intensities are not, nothing global is drawn, and plans name the steps."""

import random
from dataclasses import replace

import numpy as np
import pytest
import torch

from lesionloss.core.errors import DataError, UsageError
from lesionloss.data.batches.augmentation import (
    CHEAP,
    KINDS,
    difference_channels,
    draw_patch,
    format_augmentation,
    make_patch,
    parse_augmentation,
)
from lesionloss.data.batches.augmentation_presets import PRESETS, Step, Steps
from lesionloss.data.batches.intensity import BiasField, Blur, Brightness, Contrast, Gamma, Noise, Rescale
from lesionloss.data.batches.motions import draw_smooth_field
from lesionloss.data.batches.patch_samplers import Window
from lesionloss.data.batches.patches import Patch, Size
from lesionloss.data.batches.transforms import Elastic, Flip, Rotate, Rotate90, Scale
from lesionloss.data.prepared import PreparedCase
from patch_cases import case_of, random_case

EVERYTHING: Steps = (
    Rotate(20, probability=1),
    Scale(0.9, 1.2, probability=1),
    Elastic(2.0, 4.0, probability=1),
    Flip(),
    Rotate90(),
    Rescale(),
    Brightness(probability=1),
    Contrast(probability=1),
    Gamma(probability=1),
    Noise(probability=1),
    BiasField(probability=1),
)
INTENSITIES: Steps = (*EVERYTHING[5:], Blur(0.3, 0.6, probability=1))


def run(case: PreparedCase, steps: Steps, seed: int = 0, size: Size | None = None, start: Size | None = None) -> Patch:
    return made(case, steps, np.random.default_rng(seed), size, start)


def made(
    case: PreparedCase,
    steps: Steps,
    rng: np.random.Generator,
    size: Size | None = None,
    start: Size | None = None,
    padding_counts: bool = True,
) -> Patch:
    size = size or case.shape
    window = Window(case.name, start or (0,) * len(size))
    return make_patch(case, draw_patch(window, size, case, steps, rng), size, padding_counts=padding_counts)


def marked(shape: tuple[int, ...], spacing: tuple[float, ...] = (1.0, 1.0, 1.0)) -> PreparedCase:
    """A smooth image that is large where the reference is: a block off the centre. Ignored around it."""
    at = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    block = np.all([(axis > 0.1) & (axis < 0.6) for axis in at], axis=0)
    around = np.all([(axis > -0.1) & (axis < 0.8) for axis in at], axis=0) & ~block
    baseline = 1 + 0.2 * at[0] + 3.0 * block
    image = np.stack([baseline, 2 * baseline, baseline]).astype(np.float32)
    return case_of("m", image, (3 * block).astype(np.uint8), np.ones(shape, bool), around, spacing)


@pytest.mark.parametrize("shape", [(24, 24, 18), (24, 20)])
@pytest.mark.parametrize("steps", [EVERYTHING[:5], (Rotate(30, probability=1),), (Elastic(3.0, 4.0, probability=1),)])
def test_all_channels_reference_and_ignored_voxels_move_together(shape: tuple[int, ...], steps: Steps) -> None:
    case = marked(shape)
    moved = 0
    for seed in range(6):
        patch = run(case, steps, seed)
        assert (patch.image.shape, patch.reference.shape, patch.valid.shape) == ((3, *shape), shape, shape)
        assert (patch.image.dtype, patch.reference.dtype, patch.valid.dtype) == (np.float32, np.uint8, np.bool_)
        assert set(np.unique(patch.reference)) == {0, 3}
        np.testing.assert_allclose(patch.image[1], 2 * patch.image[0], rtol=1e-5, atol=1e-5)
        # The image of the block is 3 above the rest: it and the reference can differ at its border alone.
        inside = patch.image[0] != 0
        bright = patch.image[0] - 1
        wrong = (bright > 1.8) != (patch.reference == 3)
        assert wrong[inside].mean() < 0.06
        assert not (~patch.valid & (patch.reference > 0)).any()
        assert (~patch.valid).any()
        moved += not np.array_equal(patch.reference, case.reference)
    assert moved >= 5


@pytest.mark.parametrize("angle", [90.0, 45.0])
def test_rotation_is_one_of_the_anatomy_on_oblong_voxels(angle: float) -> None:
    spacing = (1.0, 2.0, 1.0)
    shape = (41, 21, 5)
    points = np.stack(np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in shape), indexing="ij"))
    mm = points * np.array(spacing)[:, None, None, None]
    ball = ((mm[0] - 8) ** 2 + mm[1] ** 2) < 5**2
    case = case_of(
        "r", np.stack([ball] * 3).astype(np.float32), ball.astype(np.uint8), np.ones(shape, bool), None, spacing
    )

    class Fixed(np.random.Generator):
        """Draws the upper end of every interval."""

        def uniform(self, low: float = 0.0, high: float = 1.0, size: object = None) -> float:  # type: ignore[override]
            return high

        def random(self, *args: object) -> float:  # type: ignore[override]
            return 0.0

    rng = Fixed(np.random.PCG64(0))
    patch = made(case, (Rotate(angle, axes=(0, 1), probability=1),), rng)
    centre = mm[:, patch.reference > 0].mean(axis=1)
    radians = np.deg2rad(angle)
    np.testing.assert_allclose(centre[:2], (8 * np.cos(radians), -8 * np.sin(radians)), atol=0.35)
    # A circle in millimetres stays one.
    spread = mm[:2, patch.reference > 0].std(axis=1)
    np.testing.assert_allclose(spread, 2.5, atol=0.45)


def test_a_rotated_patch_shows_image_and_not_padding() -> None:
    shape = (40, 40, 40)
    case = case_of("x", np.ones((3, *shape), np.float32), np.zeros(shape, np.uint8), np.ones(shape, bool))
    for seed in range(5):
        patch = run(case, (Rotate(30, probability=1), Scale(0.8, 0.9, 1)), seed, (16, 16, 16), (12, 12, 12))
        np.testing.assert_allclose(patch.image[:2], 1, atol=1e-5)
    steps = (Rotate(30, probability=1),)
    corner = made(case, steps, np.random.default_rng(0), (16, 16, 16), padding_counts=False)
    assert 0.5 < corner.valid.mean() < 1
    assert (corner.image[0][corner.valid] > 0.5).mean() > 0.97


def test_scaling_magnifies() -> None:
    case = marked((30, 30, 30))
    large = run(case, (Scale(1.5, 1.5, 1),)).reference > 0
    small = run(case, (Scale(0.75, 0.75, 1),)).reference > 0
    before = (case.reference > 0).sum()
    assert small.sum() / before == pytest.approx(0.75**3, rel=0.2)
    assert large.sum() / before > 1.5


@pytest.mark.parametrize("size", [(40, 44, 36), (90, 80)])
@pytest.mark.parametrize("sigma", [4.0, 9.0])
def test_the_displacement_field_has_the_promised_deviation_and_smoothness(size: tuple[int, ...], sigma: float) -> None:
    drawn = [draw_smooth_field(size, sigma, np.random.default_rng(seed)) for seed in range(12)]
    fields = np.concatenate([field.over(size) for field in drawn])
    assert fields.shape == (12 * len(size), *size)
    assert np.sqrt(np.mean(fields**2)) == pytest.approx(1, rel=0.12)
    # The correlation of white noise smoothed by sigma falls to exp(-1/4) at a distance of sigma.
    lag = int(sigma)
    along = np.mean(fields[:, lag:] * fields[:, :-lag]) / np.mean(fields**2)
    assert along == pytest.approx(np.exp(-0.25), abs=0.08)


@pytest.mark.parametrize("step", INTENSITIES, ids=lambda step: type(step).__name__)
@pytest.mark.parametrize("shape", [(12, 10, 8), (20, 16)])
def test_intensity_transforms_change_visits_apart_and_leave_the_outside_at_zero(
    step: Step, shape: tuple[int, ...]
) -> None:
    case = random_case("t", shape)
    patch = run(case, (step,))
    outside = ~case.brain
    assert not patch.image[:, outside].any()
    np.testing.assert_array_equal(patch.image[2], patch.image[1] - patch.image[0])
    np.testing.assert_array_equal(patch.reference, case.reference)
    assert patch.image.dtype == np.float32
    assert np.isfinite(patch.image).all()
    changes = [np.abs(patch.image[visit] - case.image[visit]) for visit in (0, 1)]
    assert all(change.max() > 1e-3 for change in changes)
    same = case_of("t", np.stack([case.image[0]] * 2 + [0 * case.image[0]]), case.reference, case.brain)
    twins = run(same, (step,)).image
    assert np.abs(twins[0] - twins[1]).max() > 1e-3
    assert all(np.corrcoef(case.image[v][case.brain], patch.image[v][case.brain])[0, 1] > 0.9 for v in (0, 1))


def test_blur_is_a_gaussian_in_the_plane_of_a_slice() -> None:
    image = np.ones((1, 21, 21, 3), dtype=np.float32)
    image[0, 10, 10, 1] = 101.0
    case = case_of("b", image, np.zeros((21, 21, 3), np.uint8), np.ones((21, 21, 3), bool))
    case = replace(case, channels=("contrast1",))
    (blurred,) = run(case, (Blur(1.0, 1.0, probability=1),), size=(21, 21, 1), start=(0, 0, 1)).image - 1
    assert float(blurred.sum()) == pytest.approx(100, rel=1e-4)
    assert float(blurred[10, 10, 0] / blurred[10, 11, 0]) == pytest.approx(np.exp(0.5), rel=1e-3)


def test_an_elastic_deformation_in_plane_keeps_slices_apart() -> None:
    case = marked((24, 24, 9))
    image = np.broadcast_to(np.arange(1, 10, dtype=np.float32), (1, 24, 24, 9)).copy()
    case = replace(case, image=image, channels=("contrast1",))
    for seed in range(3):
        patch = run(case, (Elastic(3.0, 4.0, axes=(0, 1), probability=1),), seed, (24, 24, 1), (0, 0, 5))
        np.testing.assert_allclose(patch.image[:, 9:-9, 9:-9], 6.0, rtol=1e-5)
        assert not np.array_equal(patch.reference, case.reference[..., 5:6])
    free = run(case, (Elastic(3.0, 4.0, probability=1),), 0, (24, 24, 1), (0, 0, 5))
    assert np.ptp(free.image[:, 9:-9, 9:-9]) > 0.1


def test_the_cheap_steps_are_flip_and_rescale() -> None:
    assert parse_augmentation(["flip", "rescale"]) == CHEAP


def test_without_steps_the_patch_is_the_window() -> None:
    case = random_case("a")
    np.testing.assert_array_equal(run(case, ()).image, case.image)
    never = (Rotate(probability=0), Scale(probability=0), Elastic(probability=0), Flip(probability=0))
    np.testing.assert_array_equal(run(case, never).image, case.image)


def test_quarter_turns_are_half_turns_on_oblong_patches() -> None:
    case = random_case("a")
    seen = {run(case, (Rotate90(),), seed).image.tobytes() for seed in range(20)}
    assert len(seen) == 2
    cube = random_case("b", (9, 9, 5))
    assert len({run(cube, (Rotate90(),), seed).image.tobytes() for seed in range(30)}) == 4


def test_nothing_global_is_drawn_and_the_generator_decides_all() -> None:
    case = random_case("a")
    np.random.seed(3)  # noqa: NPY002 - to see whether anything touches it
    before = (str(np.random.get_state()), torch.get_rng_state(), random.getstate())  # noqa: NPY002
    first = run(case, EVERYTHING, 5)
    after = (str(np.random.get_state()), torch.get_rng_state(), random.getstate())  # noqa: NPY002
    assert before[0] == after[0]
    assert torch.equal(before[1], after[1])
    assert before[2] == after[2]
    np.random.random(5)  # noqa: NPY002
    torch.rand(3)
    again = run(case, EVERYTHING, 5)
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.reference, again.reference)
    assert not np.array_equal(first.image, run(case, EVERYTHING, 6).image)


def test_the_number_of_threads_has_no_say() -> None:
    case = random_case("a", (48, 48, 48))
    threads = torch.get_num_threads()
    found = []
    for number in (1, 2, 3):
        torch.set_num_threads(number)
        found.append(run(case, EVERYTHING, 5).image)
    torch.set_num_threads(threads)
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


@pytest.mark.parametrize("name", PRESETS)
def test_presets_run_say_their_source_and_have_a_text(name: str) -> None:
    steps = parse_augmentation([name])
    assert steps == PRESETS[name]()
    texts = format_augmentation(steps)
    assert parse_augmentation(texts) == steps
    assert any(word in (PRESETS[name].__doc__ or "") for word in ("HyTver", "Cabezas", "Yeung", "Hosseini"))
    for seed in range(3):
        assert np.isfinite(run(random_case("a"), steps, seed).image).all()


@pytest.mark.parametrize("name", KINDS)
def test_every_step_has_a_text_with_its_defaults(name: str) -> None:
    (step,) = parse_augmentation([name])
    assert step == KINDS[name]()
    assert format_augmentation((step,)) == (name,)


def test_a_plan_names_steps_with_settings_in_order() -> None:
    steps = parse_augmentation(["flip(axes=(0, 1))", "rotate(degrees=15, axes=None)", "cabezas", "noise(sd=0.2)"])
    assert steps == (Flip(axes=(0, 1)), Rotate(15), Flip(axes=(0,)), Noise(sd=0.2))
    assert format_augmentation(steps) == ("flip(axes=(0, 1))", "rotate", "flip(axes=(0,))", "noise(sd=0.2)")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rotat", "no step is named 'rotat'; did you mean 'rotate'"),
        ("hytvr", "did you mean 'hytver'"),
        ("rotate(degree=5)", "rotate has no setting 'degree'; did you mean 'degrees'"),
        ("rotate(degrees=500)", "rotate: degrees must be a number from 0 to 180; got 500"),
        ("rotate(degrees='many')", "degrees must be"),
        ("rotate(probability=2)", "probability must be"),
        ("rotate(axes=(0, 0))", "axes are two different numbers from 0 to 2"),
        ("rotate90(axes=(0, 5))", "axes are two different numbers"),
        ("flip(axes=1)", "axes are different numbers"),
        ("scale(low=2, high=1)", "scale: low must be at most high"),
        ("elastic(sigma=1)", "sigma must be"),
        ("elastic(axes=(0,))", "axes are two different numbers"),
        ("blur(low=2, high=1)", "blur: low must be at most high"),
        ("bias_field(degree=2.5)", "degree must be a whole number"),
        ("flip(0)", "write NAME"),
        ("__import__('os')", "write NAME"),
    ],
)
def test_wrong_texts_are_explained(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message.replace("(", r"\(").replace(")", r"\)")):
        parse_augmentation([text])


def test_axes_that_a_patch_has_not_are_explained() -> None:
    with pytest.raises(UsageError, match="axes are numbers from 0 to 1"):
        run(random_case("a", (9, 9)), (Flip(axes=(2,)),))


def test_differences_are_found_by_the_names_of_channels() -> None:
    assert difference_channels(("baseline", "followup", "difference")) == {2: (1, 0)}
    names = ("flair:baseline", "flair:followup", "flair:difference", "t1:baseline", "t1:followup", "t1:difference")
    assert difference_channels(names) == {2: (1, 0), 5: (4, 3)}
    assert difference_channels(("baseline:1", "baseline:2", "followup:1", "followup:2", "difference")) == {4: (2, 0)}
    assert difference_channels(("flair", "t1")) == {}
    with pytest.raises(DataError, match="needs a followup and a baseline"):
        difference_channels(("baseline", "difference"))

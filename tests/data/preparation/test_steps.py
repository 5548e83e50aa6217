"""The steps of a preparation: splines, labels that keep their lesions, registration, N4."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.spatial.transform import Rotation

from data_cohorts import AFFINE, SHAPE, boxes, head
from lesionloss.core.errors import DataError
from lesionloss.data.preparation.bias_field import correct_bias
from lesionloss.data.preparation.registration import find_motion, half_motion, halfway_grid
from lesionloss.data.resampling.along_axes import resample_image, resample_labels, resample_nearest
from lesionloss.data.resampling.along_motion import move_image, move_labels
from lesionloss.data.resampling.grid import VoxelGrid, grid_with_spacing
from step_cases import smooth


def test_splines_are_those_of_simpleitk() -> None:
    itk = pytest.importorskip("SimpleITK")
    source = VoxelGrid((30, 32, 20), np.diag([0.72, 0.72, 3.0, 1.0]))
    target = grid_with_spacing(source, (0.5, 0.75, 0.75))
    image = smooth(source.shape)
    whole = itk.GetImageFromArray(image.T)
    whole.SetSpacing(source.spacing_mm)
    resampler = itk.ResampleImageFilter()
    resampler.SetInterpolator(itk.sitkBSpline)
    resampler.SetSize(target.shape)
    resampler.SetOutputSpacing(target.spacing_mm)
    resampler.SetOutputOrigin(target.affine[:3, 3].tolist())
    theirs = itk.GetArrayFromImage(resampler.Execute(whole)).T
    ours = resample_image(image, source, target)
    assert ours.shape == target.shape == (43, 31, 80)
    inner = (slice(3, -3), slice(3, -3), slice(6, -6))
    np.testing.assert_allclose(ours[inner], theirs[inner], atol=1e-5)


@pytest.mark.parametrize("size", [(7, 5), (20, 24), (40, 31)])
def test_linear_interpolation_is_bilinear_without_smoothing(size: tuple[int, int]) -> None:
    source = VoxelGrid((20, 24), np.eye(4))
    target = grid_with_spacing(source, tuple(n / wanted for n, wanted in zip(source.shape, size, strict=True)))
    image = np.random.default_rng(1).normal(size=source.shape).astype(np.float32)
    theirs = torch.nn.functional.interpolate(torch.from_numpy(image)[None, None], size, mode="bilinear")[0, 0].numpy()
    np.testing.assert_allclose(resample_image(image, source, target, "linear"), theirs, atol=1e-5)


def test_a_grid_of_another_spacing_covers_the_same_place() -> None:
    source = VoxelGrid(SHAPE, AFFINE)
    target = grid_with_spacing(source, (0.5, 1.0, 1.5))
    assert target.shape == (44, 24, 28)
    assert target.spacing_mm == pytest.approx((0.5, 1, 1.5))
    for grid in (source, target):
        middle = grid.affine @ [*((n - 1) / 2 for n in grid.shape), 1]
        np.testing.assert_allclose(middle, source.affine @ [*((n - 1) / 2 for n in SHAPE), 1])
    assert grid_with_spacing(source, (1, 1, 3)).shape == SHAPE
    flat = grid_with_spacing(VoxelGrid((10, 20), np.eye(4)), (0.5, 2))
    assert flat.shape == (20, 10)


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    spacing=st.tuples(*(st.floats(0.4, 9.0) for _ in range(3))),
)
def test_no_lesion_vanishes_whatever_the_spacing(seed: int, spacing: tuple[float, float, float]) -> None:
    rng = np.random.default_rng(seed)
    labels = np.zeros(SHAPE, np.uint8)
    for number in rng.integers(1, 3, 6):
        corner = [int(rng.integers(0, n - 2)) for n in SHAPE]
        size = rng.integers(1, 4, 3)
        labels[tuple(slice(c, c + s) for c, s in zip(corner, size, strict=True))] = number
    source = VoxelGrid(SHAPE, AFFINE)
    target = grid_with_spacing(source, spacing)
    result, count = resample_labels(labels, source, target)
    assert result.shape == target.shape
    assert set(np.unique(result)) <= set(np.unique(labels))
    # Each lesion has a voxel of its class near it: within one voxel of the target, or where it was.
    reach = max(1, *np.ceil(np.array(target.spacing_mm) / source.spacing_mm).astype(int))
    back = resample_nearest(result, target, source)
    for number in set(np.unique(labels)) - {0}:
        components, total = ndimage.label(labels == number, np.ones((3, 3, 3)))
        for label in range(1, total + 1):
            near = ndimage.binary_dilation(components == label, np.ones((3, 3, 3), dtype=bool), iterations=int(reach))
            on_target = resample_nearest(near.astype(np.uint8), source, target) > 0
            assert (back[near] == number).any() or (result[on_target] == number).any()
    assert count.before >= 1
    assert 0 <= count.kept_by_centre <= count.before


def test_a_lost_lesion_keeps_its_centre_and_is_counted() -> None:
    labels = boxes((2, 2, 2), edge=1) | boxes((12, 12, 6), edge=6)
    result, count = resample_labels(
        labels.astype(np.uint8), VoxelGrid(SHAPE, AFFINE), grid_with_spacing(VoxelGrid(SHAPE, AFFINE), (3, 3, 3))
    )
    assert (count.before, count.after, count.kept_by_centre) == (2, 2, 1)
    assert result[0, 0, 2] + result[1, 1, 2] == 1


def test_the_same_grid_is_left_alone() -> None:
    labels = boxes((2, 2, 2)).astype(np.uint8)
    grid = VoxelGrid(SHAPE, AFFINE)
    image = smooth(SHAPE)
    assert resample_image(image, grid, grid_with_spacing(grid, (1, 1, 3))) is image
    np.testing.assert_array_equal(resample_labels(labels, grid, grid)[0], labels)


def inverse(motion: np.ndarray) -> np.ndarray:
    return np.linalg.inv(motion).astype(np.float64)


def moved_head() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A textured head, the same moved by a known motion, and the motion."""
    shape = (48, 52, 40)
    affine = np.diag([2.0, 2.0, 2.5, 1.0])
    affine[:3, 3] = [-48, -52, -50]
    image = np.where(head(shape, 0.75), 300 + 1500 * smooth(shape), 5).astype(np.float32)
    image[10:14, 20:30, 12:20] += 200
    motion = np.eye(4)
    motion[:3, :3] = Rotation.from_euler("xyz", [3, -5, 4], degrees=True).as_matrix()
    motion[:3, 3] = [3, -4, 2]
    grid = VoxelGrid(shape, affine)
    return image, move_image(image, grid, grid, inverse(motion)), motion


def test_registration_finds_a_known_motion_and_always_the_same() -> None:
    image, moved, motion = moved_head()
    affine = np.diag([2.0, 2.0, 2.5, 1.0])
    affine[:3, 3] = [-48, -52, -50]
    found = find_motion((image, affine), (moved, affine), "a")
    corners = affine @ np.array([[x, y, z, 1] for x in (8, 40) for y in (8, 44) for z in (8, 32)], dtype=float).T
    apart = np.linalg.norm((found.affine @ corners - motion @ corners)[:3], axis=0)
    assert apart.max() < 0.6
    assert found.similarity > found.before
    assert find_motion((image, affine), (moved, affine), "a") == found


def test_half_a_motion_twice_is_the_motion() -> None:
    motion = np.eye(4)
    motion[:3, :3] = Rotation.from_euler("xyz", [20, -30, 10], degrees=True).as_matrix()
    motion[:3, 3] = [30, -4, 12]
    step = half_motion(motion)
    np.testing.assert_allclose(step @ step, motion, atol=1e-9)
    np.testing.assert_allclose(step[:3, :3] @ step[:3, :3].T, np.eye(3), atol=1e-9)
    grid = VoxelGrid(SHAPE, AFFINE)
    middle = AFFINE @ [*((n - 1) / 2 for n in SHAPE), 1]
    between = halfway_grid(grid, step)
    np.testing.assert_allclose(between.affine @ [*((n - 1) / 2 for n in SHAPE), 1], step @ middle)
    np.testing.assert_allclose(between.spacing_mm, grid.spacing_mm)


def test_labels_that_move_lose_no_lesion_and_come_back() -> None:
    motion = np.eye(4)
    motion[:3, :3] = Rotation.from_euler("z", 12, degrees=True).as_matrix()
    motion[:3, 3] = [0.5, -0.5, 0.7]
    grid = VoxelGrid(SHAPE, AFFINE)
    labels = (boxes((8, 9, 5), edge=1) | boxes((13, 13, 7), edge=3)).astype(np.uint8)
    moved, count = move_labels(labels, grid, grid, motion)
    assert (count.before, count.after) == (2, 2)
    back, _ = move_labels(moved, grid, grid, inverse(motion))
    assert ndimage.label(back)[1] == 2


def test_n4_takes_a_known_field_away() -> None:
    shape = (40, 44, 32)
    brain = head(shape, 0.8)
    plain = np.where(brain, 300 + 40 * smooth(shape), 0).astype(np.float32)
    field = np.exp(0.4 * np.linspace(-1, 1, shape[0]))[:, None, None].astype(np.float32)
    affine = np.diag([3.0, 3.0, 3.0, 1.0])
    corrected, spread = correct_bias(plain * field, affine, brain, "a", voxel_mm=6.0, iterations=(30, 30))
    ratio = corrected[brain] / plain[brain]
    assert float(ratio.std() / ratio.mean()) < 0.02 < float(field.std() / field.mean()) / 5
    assert spread > 1.5
    with pytest.raises(DataError, match="a: no voxel above zero"):
        correct_bias(-plain, affine, brain, "a", iterations=(10,))

"""Turned to any orientation and back, every voxel is at its place, bit for bit."""

from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from lesionloss.data.resampling.turn import put_back, turn_to
from lesionloss.data.volume import orientation

ORIENTATIONS = ["".join(letters) for lines in permutations(("RL", "AP", "SI")) for letters in product(*lines)]  # all 48


@settings(max_examples=150, deadline=None)
@given(
    axes=st.sampled_from(ORIENTATIONS),
    angles=st.tuples(*[st.floats(-180, 180)] * 3),
    spacing=st.tuples(*[st.floats(0.3, 5)] * 3),
    cut=st.tuples(*[st.integers(0, 3)] * 3),
    dtype=st.sampled_from([np.float32, np.uint8, np.bool_]),
)
def test_a_turn_is_undone(
    axes: str, angles: tuple[float, ...], spacing: tuple[float, ...], cut: tuple[int, ...], dtype: type[np.generic]
) -> None:
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() * spacing
    affine[:3, 3] = (-90, 33.3, 12)
    array = np.random.default_rng(0).normal(size=(7, 5, 6)).astype(dtype)
    turn = turn_to(affine, axes)
    turned, place = turn.array(array), turn.affine(affine, array.shape)
    if max(abs(angle) for angle in angles) < 30:  # else two axes may lie equally near to one direction
        assert orientation(place) == axes
    box = tuple(slice(start, None) for start in cut)
    place[:3, 3] += place[:3, :3] @ cut
    back = put_back(turned[box], np.linalg.inv(affine) @ place, array.shape)
    kept = np.zeros(turned.shape, np.bool_)
    kept[box] = True
    inverse = put_back(kept, np.linalg.inv(affine) @ turn.affine(affine, array.shape), array.shape)
    assert back is not None
    assert inverse is not None
    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back, np.where(inverse, array, np.zeros((), dtype)))


@pytest.mark.parametrize("change", [(0, 3, 0.4), (0, 0, 1.2), (0, 1, 0.2)], ids=["shift", "spacing", "rotation"])
def test_voxels_that_fall_between_voxels_are_not_copied(change: tuple[int, int, float]) -> None:
    through = np.eye(4)
    through[change[0], change[1]] = change[2]
    assert put_back(np.ones((3, 3, 3)), through, (5, 5, 5)) is None

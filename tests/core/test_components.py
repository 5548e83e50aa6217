"""Connected components equal those of SciPy and of connected-components-3d, numbers included."""

from typing import Literal

import cc3d
import numpy as np
import pytest
from scipy.ndimage import generate_binary_structure, label

from lesionloss.core.components import (
    NEIGHBOUR_AXES,
    _runs_by_edges,
    _runs_by_voxels,
    find_runs,
    label_components,
    largest_component,
)
from lesionloss.core.errors import UsageError
from lesionloss.core.randomness import numpy_generator


@pytest.mark.parametrize("density", [0.0, 0.02, 0.1, 0.3, 0.6, 1.0])
def test_components_equal_scipy(density: float) -> None:
    """Any shape, also of one row or one voxel; components that touch every border."""
    generator = numpy_generator("components", str(density))
    for number in range(60):
        dimensions = 2 + number % 2
        mask = generator.random(generator.integers(1, 14, dimensions)) < density
        for connectivity, axes in NEIGHBOUR_AXES.items():
            wanted, count = label(mask, structure=generate_binary_structure(dimensions, min(axes, dimensions)))
            labels, found = label_components(mask, connectivity)
            assert found == count
            assert np.array_equal(labels, wanted)
            largest = largest_component(mask, connectivity)
            assert largest.sum() == np.bincount(wanted[mask], minlength=2)[1:].max()


def test_components_of_volumes_equal_cc3d_whatever_their_memory_order() -> None:
    generator = numpy_generator("memory order")
    for order in ("C", "F"):
        mask = np.asarray(generator.random((17, 12, 9)) < 0.2, order=order)
        connectivities: tuple[Literal[6, 18, 26], ...] = (6, 18, 26)
        for connectivity in connectivities:
            wanted = cc3d.connected_components(np.ascontiguousarray(mask, np.uint8), connectivity=connectivity)
            assert np.array_equal(label_components(mask, connectivity)[0], wanted)


def test_another_connectivity_is_refused() -> None:
    with pytest.raises(UsageError, match="expected 6, 18 or 26, got 8"):
        label_components(np.ones((2, 2), dtype=bool), 8)


def test_runs_are_filled_with_their_values() -> None:
    runs = find_runs(np.array([[True, True, False], [False, False, True]]))
    assert runs.filled(np.array([7, 9])).tolist() == [[7, 7, 0], [0, 0, 9]]


@pytest.mark.parametrize("density", [0.0, 0.1, 0.9, 1.0])
def test_both_searches_for_runs_agree(density):
    """Sparse masks are read voxel by voxel, dense ones by their edges."""
    generator = numpy_generator("runs", str(density))
    for number in range(40):
        mask = generator.random(generator.integers(1, 9, 2 + number % 2)) < density
        one, other = _runs_by_voxels(mask), _runs_by_edges(mask)
        filled = np.zeros(mask.size, dtype=bool)
        for first, last in zip(one.first, one.last, strict=True):
            assert first // mask.shape[-1] == last // mask.shape[-1]
            filled[first : last + 1] = True
        assert np.array_equal(filled.reshape(mask.shape), mask)
        assert (one.first.tolist(), one.last.tolist()) == (other.first.tolist(), other.last.tolist())

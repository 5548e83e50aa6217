"""From probabilities to lesions: one rule of what a lesion is, small lesions left out, one class for each voxel."""

import numpy as np
import pytest
from numpy.typing import DTypeLike

from lesionloss.inference import lesion_mask
from lesionloss.inference.masks import lesion_probability, numbered_lesions
from lesionloss.metrics import Case, is_lesion
from lesionloss.metrics.thresholds import count_thresholds


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("threshold", [0.001, 0.25, 0.3, 0.5, 0.9])
def test_every_mask_holds_the_voxels_from_the_threshold_on(threshold: float, kind: DTypeLike) -> None:
    at = np.asarray(threshold, dtype=kind)
    probability = np.array([[np.nextafter(at, np.zeros((), kind)), at, np.nextafter(at, np.ones((), kind))]])
    assert probability.dtype == kind
    wanted = [[False, True, True]]
    assert is_lesion(probability, threshold).tolist() == wanted
    assert is_lesion(probability, np.float64(threshold)).tolist() == wanted
    reference = np.ones(probability.shape, dtype=bool)
    assert Case(probability, reference, spacing_mm=(1, 1), threshold=threshold).prediction.tolist() == wanted
    assert count_thresholds(probability, reference, [threshold]).tp.tolist() == [2]
    if kind is np.float32:
        assert (lesion_mask(probability[None], threshold=threshold, voxel_mm3=1.0) > 0).tolist() == wanted


def test_arg_max_counts_the_background_as_a_class() -> None:
    # background, first, second class: together 0.52 of lesion, but the background is the most probable of the three
    columns = [(0.48, 0.26, 0.26), (0.3, 0.3, 0.4), (0.45, 0.5, 0.05), (0.9, 0.1, 0.0), (0.5, 0.5, 0.0)]
    probabilities = np.array(columns, dtype=np.float32).T
    lesions = probabilities[1:, None]
    mask = lesion_mask(lesions, threshold=0.5, voxel_mm3=1.0, decision="argmax")
    assert mask[0].tolist() == probabilities.argmax(0).tolist() == [0, 2, 1, 0, 0]
    assert lesion_mask(lesions, threshold=0.5, voxel_mm3=1.0)[0].tolist() == [1, 2, 1, 0, 1]


def test_masks_keep_large_lesions_and_the_most_probable_class() -> None:
    probabilities = np.zeros((2, 10, 10, 3), np.float32)
    probabilities[0, 1:4, 1:4, 1] = 0.6  # 9 voxels of the first class
    probabilities[1, 1, 1, 1] = 0.39
    probabilities[0, 8, 8, 0] = 0.3  # one voxel, above the threshold only together
    probabilities[1, 8, 8, 0] = 0.4
    mask = lesion_mask(probabilities, threshold=0.5, voxel_mm3=2.0)
    assert mask.dtype == np.uint8
    assert mask[8, 8, 0] == 2
    assert (mask == 1).sum() == 9
    large = lesion_mask(probabilities, threshold=0.5, voxel_mm3=2.0, min_volume_mm3=2.0)
    assert (large > 0).sum() == 9
    assert not lesion_mask(probabilities, threshold=0.5, voxel_mm3=2.0, min_volume_mm3=18.0).any()
    assert not lesion_mask(np.zeros((1, 4, 4, 4), np.float32), threshold=0.5, voxel_mm3=1.0, min_volume_mm3=3).any()


def test_the_probability_of_any_lesion_is_the_sum_but_at_most_1() -> None:
    of_classes = np.array([[[0.25, 0.75]], [[0.5, 0.5]]], np.float32)
    assert lesion_probability(of_classes).tolist() == [[0.75, 1.0]]


def test_without_a_smallest_volume_a_single_voxel_is_kept_and_a_volume_below_1_mm3_is_one() -> None:
    probabilities = np.zeros((1, 3, 3), np.float32)
    probabilities[0, 1, 1] = 1
    assert lesion_mask(probabilities, threshold=0.5, voxel_mm3=0.5).sum() == 1
    assert lesion_mask(probabilities, threshold=0.5, voxel_mm3=0.5, min_volume_mm3=0.25).sum() == 1
    assert lesion_mask(probabilities, threshold=0.5, voxel_mm3=0.5, min_volume_mm3=0.5).sum() == 0


def test_lesions_are_numbered_from_the_largest_and_touch_across_faces() -> None:
    mask = np.array([[1, 0, 0, 0], [0, 1, 1, 0], [0, 1, 0, 1]], bool)
    faces = numbered_lesions(mask)
    assert (faces == numbered_lesions(mask, 6)).all()
    assert faces[mask].tolist() == [2, 1, 1, 1, 3]
    assert set(faces[~mask].tolist()) == {0}
    assert numbered_lesions(mask, 26)[mask].tolist() == [1, 1, 1, 1, 1]

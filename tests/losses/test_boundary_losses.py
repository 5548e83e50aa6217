"""Losses of the boundary and of centre lines: against a second implementation, MONAI, and at the edges of the data."""

import numpy as np
import pytest
import torch
from monai.losses import BoundaryLoss, HausdorffDTLoss, SoftclDiceLoss
from torch import Tensor

import grids_by_hand
import lesionloss as ll
from lesionloss.core.randomness import numpy_generator
from lesionloss.losses.border_distances import border_distance
from lesionloss.losses.reference_maps import compute

TEXTS: tuple[tuple[str, dict[str, object]], ...] = (
    ("boundary", {}),
    ("surface", {}),
    ("surface", {"power": 2.0}),
    ("hausdorff_dt", {}),
    ("hausdorff_dt", {"alpha": 1.5, "one_sided": True}),
    ("hausdorff_er", {}),
    ("hausdorff_er", {"alpha": 1.0, "erosions": 2}),
    ("cl_dice", {}),
    ("cl_dice", {"iterations": 0}),
)
NAMES = sorted({name for name, _ in TEXTS})


def balls(*name: str | int, channels: int, space: tuple[int, ...], images: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Logits (B, C, *space) that follow roughly the labels (B, *space), balls that the border may cut."""
    stream = numpy_generator("balls", *name)
    grid, labels = np.indices(space), np.zeros((images, *space), np.int64)
    for image in labels:
        for number in range(1, max(2, channels)):
            centre = np.array([stream.integers(side) for side in space]).reshape(-1, *[1] * len(space))
            image[((grid - centre) ** 2).sum(0) <= stream.uniform(1, 8)] = number
    logits = stream.normal(0, 2, (images, channels, *space))
    logits[:, -1] += 5 * (labels == max(1, channels - 1)) - 2
    return logits, labels


def built(name: str, given: dict[str, object], pooled: bool = False) -> ll.Loss:
    return ll.build(f"{name}({', '.join(f'{key}={choice!r}' for key, choice in given.items())})", pooled=pooled)


@pytest.mark.parametrize(("name", "given"), TEXTS, ids=str)
def test_equal_to_numpy_and_scipy(name: str, given: dict[str, object]) -> None:
    for number, (channels, space) in enumerate(((1, (7, 9)), (2, (5, 6, 7)), (3, (8, 7)), (4, (5, 6, 6)))):
        logits, labels = balls(name, number, channels=channels, space=space)
        stream = numpy_generator("extras", name, number)
        valid = stream.random(labels.shape) < 0.9 if number != 2 else None
        weight = stream.uniform(0, 2, labels.shape) if number > 1 else None
        spacing = (1.0, 2.5, 0.75)[: len(space)]
        images = grids_by_hand.grids(logits, labels, valid, weight, spacing)
        for pooled in (False, True):
            expected = grids_by_hand.value(name, given, images, pooled)
            found = built(name, given, pooled)(
                torch.from_numpy(logits),
                torch.from_numpy(labels),
                valid=None if valid is None else torch.from_numpy(valid),
                weight=None if weight is None else torch.from_numpy(weight),
                spacing_mm=spacing,
            )
            assert found.item() == pytest.approx(expected, rel=1e-9, abs=1e-12), (number, pooled)


def batch(channels: int = 1) -> tuple[Tensor, Tensor]:
    logits, labels = balls("batch", channels, channels=channels, space=(9, 8, 7))
    return torch.from_numpy(logits), torch.from_numpy(labels)


def one_hot(labels: Tensor, channels: int) -> Tensor:
    return torch.nn.functional.one_hot(labels, channels).movedim(-1, 1).double()


@pytest.mark.parametrize("channels", [1, 3])
def test_hausdorff_by_distance_transforms_is_that_of_monai(channels: int) -> None:
    logits, labels = batch(channels)
    target = labels[:, None].double() if channels == 1 else one_hot(labels, channels)
    head = {"sigmoid": True, "include_background": True} if channels == 1 else {"softmax": True}
    expected = HausdorffDTLoss(alpha=2, **head)(logits, target)
    assert ll.build("hausdorff_dt")(logits, labels).item() == pytest.approx(expected.item(), rel=1e-6)


def test_boundary_is_that_of_monai_but_for_a_shift_and_one_voxel_inside() -> None:
    logits, labels = batch()
    lesion, p = labels[:, None].double(), torch.sigmoid(logits)
    theirs = BoundaryLoss()
    inside = theirs.compute_distance_map(lesion) - lesion  # they have a distance of 0 in the lesion's outermost voxels
    expected = (inside * (p - lesion)).mean()
    assert ll.build("boundary")(logits, labels).item() == pytest.approx(expected.item(), rel=1e-6)
    assert theirs(p, lesion).item() == pytest.approx(((inside + lesion) * p).mean().item(), rel=1e-6)


def test_centre_line_dice_is_that_of_monai() -> None:
    logits, labels = batch()
    theirs = SoftclDiceLoss(iter_=9, smooth_nr=1e-5, smooth_dr=1e-5, smooth=1e-12, sigmoid=True)
    expected = theirs(logits, labels[:, None].double())
    assert ll.build("cl_dice(iterations=9)")(logits, labels).item() == pytest.approx(expected.item(), rel=1e-9)


@pytest.mark.parametrize("name", ["boundary", "surface", "hausdorff_dt(one_sided=True)"])
def test_without_a_border_nothing_costs_and_nothing_moves(name: str) -> None:
    logits = torch.randn((1, 1, 6, 7), dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    for label in (0, 1):
        value = ll.build(name)(logits, torch.full((1, 6, 7), label))
        (gradient,) = torch.autograd.grad(value, logits)
        assert value == 0
        assert not gradient.any()


def test_the_predicted_border_weighs_false_positives_of_an_empty_image() -> None:
    logits = torch.full((1, 1, 9, 9), -6.0)
    logits[..., 3:6, 3:6] = 6.0
    empty = torch.zeros((1, 9, 9), dtype=torch.uint8)
    assert ll.build("hausdorff_dt")(logits, empty) > 0.1
    assert ll.build("hausdorff_dt")(-logits.abs(), empty) < 1e-4
    assert ll.build("hausdorff_er")(logits, empty) > ll.build("hausdorff_er")(-logits.abs(), empty) == 0


def test_far_errors_cost_more_and_mm_count() -> None:
    labels = torch.zeros((1, 12, 12), dtype=torch.uint8)
    labels[:, 2:4, 2:4] = 1
    right = torch.where(labels > 0, 30.0, -30.0)[:, None]
    near, far = right.clone(), right.clone()
    near[..., 5, 5], far[..., 11, 11] = 30.0, 30.0
    for name in ("boundary", "surface", "hausdorff_dt", "hausdorff_dt(one_sided=True)"):
        loss = ll.build(name)
        assert loss(far, labels) > 2 * loss(near, labels), name
    assert ll.build("boundary")(far, labels, spacing_mm=(3, 3)) == pytest.approx(
        3 * ll.build("boundary")(far, labels).item()
    )
    # all distances grow alike, so their shares stay
    shares = [ll.build("surface")(far, labels, spacing_mm=spacing).item() for spacing in ((1, 1), (3, 3))]
    assert shares[0] == pytest.approx(shares[1], rel=1e-4)


def test_erosion_drops_single_voxels_and_weighs_thick_errors() -> None:
    labels = torch.zeros((1, 15, 15), dtype=torch.uint8)
    loss, costs = ll.build("hausdorff_er"), []
    for width in (1, 3, 5, 7):
        logits = torch.full((1, 1, 15, 15), -30.0)
        logits[..., 4 : 4 + width, 4 : 4 + width] = 30.0
        costs.append(loss(logits, labels).item() / width**2)
    assert costs[0] == 0
    assert 0 < costs[1] < costs[2] < costs[3]


def tube(gap: bool) -> Tensor:
    labels = torch.zeros((1, 16, 16), dtype=torch.uint8)
    labels[:, 6:9, 1:15] = 1
    if gap:
        labels[:, 6:9, 7] = 0
    return labels


def test_centre_lines_notice_a_gap_that_dice_hardly_notices() -> None:
    cut = torch.where(tube(gap=True) > 0, 30.0, -30.0)[:, None]
    thin = torch.where(tube(gap=False) > 0, 30.0, -30.0)[:, None]
    thin[:, :, 6, 2:14] = thin[:, :, 8, 2:14] = -30.0  # the centre line, and the ends
    whole = tube(gap=False)
    dice, lines = ll.build("dice"), ll.build("cl_dice")
    assert dice(cut, whole) < dice(thin, whole)
    assert lines(cut, whole) > lines(thin, whole)


def test_a_tube_that_the_patch_cuts_is_not_eroded_from_the_cut() -> None:
    labels = torch.zeros((1, 9, 12), dtype=torch.uint8)
    labels[:, 3:6] = 1
    (lines,) = ll.build("cl_dice").reference_maps(labels).values()
    assert torch.equal(lines[0, 0] > 0, torch.arange(9)[:, None].expand(9, 12) == 4)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "hausdorff_er"])
def test_soft_labels_are_refused(name: str) -> None:
    logits, labels = batch()
    with pytest.raises(ll.UsageError, match="labels must be class numbers or one-hot"):
        ll.build(name)(logits, labels.double() * 0.4)
    assert torch.equal(ll.build(name)(logits, labels.double()), ll.build(name)(logits, labels))


@pytest.mark.parametrize("spacing", [[[1.0, 1.0, 1.0]], [[1.0, 0.5, 3.0], [2.0, 2.0, 1.0]]])
def test_distances_by_tensors_are_those_of_scipy(spacing: list[list[float]], monkeypatch: pytest.MonkeyPatch) -> None:
    stream = torch.Generator().manual_seed(2)
    mask = torch.rand((2, 3, 6, 7, 5), generator=stream) < torch.tensor([0.02, 0.5, 0.0]).view(1, 3, 1, 1, 1)
    edges = torch.tensor(spacing, dtype=torch.float64)
    expected = compute("distance_mm", mask, edges).abs()
    for piece in (1 << 25, 1, 200):
        monkeypatch.setattr("lesionloss.losses.border_distances.PIECE", piece)
        torch.testing.assert_close(border_distance(mask, edges, torch.float32), expected)

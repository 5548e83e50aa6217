"""Lovász, Matthews, Poly, Dice for soft labels and the terms of calibration: what they are for, and against others."""

import math

import numpy as np
import pytest
import torch
from monai.losses import MCCLoss
from torch import Tensor

import lesionloss as ll
from lesionloss.core.errors import UsageError
from lesionloss.core.randomness import torch_generator


def batch(channels: int, images: int = 2) -> tuple[Tensor, Tensor]:
    stream = torch_generator("agreement", channels)
    logits = 2 * torch.randn((images, channels, 6, 7), generator=stream, dtype=torch.float64)
    lesion = torch.rand((images, 6, 7), generator=stream) < 0.2
    return logits, torch.where(lesion, torch.randint(1, max(2, channels), lesion.shape, generator=stream), 0)


def value_and_gradient(loss: object, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    leaf = logits.clone().requires_grad_()
    value = loss(leaf, labels)  # type: ignore[operator]
    return value.detach(), *torch.autograd.grad(value, leaf)


@pytest.mark.parametrize("name", ["lovasz_softmax", "jaccard"])
def test_of_certain_predictions_lovasz_is_the_jaccard_loss_of_masks(name: str) -> None:
    logits, labels = batch(1, images=1)
    certain = torch.where(logits > 0, 800.0, -800.0)
    predicted, lesion = logits[:, 0] > 0, labels > 0
    expected = 1 - (predicted & lesion).sum() / (predicted | lesion).sum()
    assert ll.build(name)(certain, labels).item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("name", ["lovasz_softmax", "lovasz_hinge"])
def test_lovasz_refuses_soft_labels_and_takes_one_hot_ones(name: str) -> None:
    logits, labels = batch(1)
    with pytest.raises(UsageError, match="ranks voxels, so labels must be class numbers or one-hot"):
        ll.build(name)(logits, 0.4 * labels.double())
    pairs = torch.cat([torch.zeros_like(logits), logits], 1)
    shares = torch.stack([labels == 0, labels == 1], 1).double()
    torch.testing.assert_close(ll.build(name)(pairs, shares), ll.build(name)(logits, labels))


@pytest.mark.parametrize("channels", [1, 3])
def test_matthews_is_that_of_monai(channels: int) -> None:
    logits, labels = batch(channels)
    head = {"sigmoid": True} if channels == 1 else {"softmax": True, "include_background": False}
    theirs = MCCLoss(smooth_dr=0, **head)
    onehot = torch.nn.functional.one_hot(labels, channels).movedim(-1, 1).double() if channels > 1 else labels[:, None]
    found = value_and_gradient(ll.build("matthews"), logits, labels)
    expected = value_and_gradient(lambda z, _: theirs(z, onehot), logits, labels)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_matthews_beyond_chance_and_in_a_large_image() -> None:
    labels = torch.zeros((1, 1000, 1000), dtype=torch.uint8)
    labels[:, :100, :100] = 1
    loss = ll.build("matthews")
    wrong = torch.where(labels > 0, -90.0, 90.0)[:, None]
    assert loss(wrong, labels).item() == pytest.approx(2, abs=1e-5)  # against the reference, worse than chance
    assert loss(torch.zeros_like(wrong), labels).item() == pytest.approx(1, abs=1e-5)  # chance
    nearly = -wrong
    nearly[..., 0, 0] = -90.0
    recall = 1 - 1e-4
    assert loss(nearly, labels).item() == pytest.approx(1 - math.sqrt(recall * (0.99 / (0.99 + 1e-6))), rel=1e-3)


def test_poly_lowers_or_raises_the_gradient_of_well_classified_voxels() -> None:
    p = torch.tensor([0.5, 0.9, 0.999], dtype=torch.float64)
    labels = torch.ones((1, 1, 3), dtype=torch.uint8)
    for epsilon in (-1.0, 2.0):
        logits = torch.logit(p).view(1, 1, 1, 3).requires_grad_()
        (gradient,) = torch.autograd.grad(ll.build(f"poly_cross_entropy(epsilon={epsilon})")(logits, labels), logits)
        expected = -(1 - p) * (1 + epsilon * p) / 3
        torch.testing.assert_close(gradient.flatten(), expected)


def test_with_soft_labels_the_semimetric_is_least_at_p_equal_to_t_and_dice_is_not() -> None:
    shares = torch.full((1, 1, 5, 5), 0.65, dtype=torch.float64)
    at = {p: torch.full((1, 1, 5, 5), math.log(p / (1 - p)), dtype=torch.float64) for p in (0.5, 0.65, 0.8, 1 - 1e-9)}
    ours, dice, squared = (ll.build(name) for name in ("soft_dice_semimetric", "dice", "dice(squared=True)"))
    assert dice(at[0.65], shares).item() == pytest.approx(0.35, abs=1e-4)
    assert dice(at[1 - 1e-9], shares).item() == pytest.approx(0.21, abs=5e-3)
    for loss in (ours, squared):
        assert loss(at[0.65], shares) < 1e-9
        assert min(loss(at[p], shares) for p in (0.5, 0.8, 1 - 1e-9)) > 0.01


def test_for_hard_labels_the_semimetric_is_dice_to_the_last_bit() -> None:
    logits, labels = batch(3)
    assert torch.equal(ll.build("soft_dice_semimetric")(logits, labels), ll.build("dice")(logits, labels))


def test_logit_margin_costs_what_is_beyond_the_margin_only() -> None:
    logits = torch.tensor([[[[-12.0, 3.0, 10.0, 14.5]]]]).requires_grad_()
    value = ll.build("logit_margin(margin=10)")(logits, torch.zeros((1, 1, 4), dtype=torch.uint8))
    assert value.item() == pytest.approx((2 + 4.5) / 4)
    (gradient,) = torch.autograd.grad(value, logits)
    assert (4 * gradient).flatten().tolist() == [-1, 0, 0, 1]
    several = torch.tensor([1.0, 6.0, -3.0]).view(1, 3, 1, 1)
    loss = ll.build("logit_margin(margin=4)")
    assert loss(several, torch.zeros((1, 1, 1), dtype=torch.uint8)).item() == pytest.approx((6 - 1 - 4) + (6 + 3 - 4))


def test_calibration_error_is_0_where_frequencies_are_as_predicted() -> None:
    """Of voxels predicted at 0.25 and 0.75, so many are lesions; and otherwise it is the distance."""
    p = torch.tensor([0.25] * 8 + [0.75] * 8, dtype=torch.float64)
    logits, loss = torch.logit(p).view(1, 1, 4, 4), ll.build("calibration_error")
    calibrated = torch.tensor([1, 1, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 0, 0]).view(1, 4, 4)
    assert loss(logits, calibrated) < 1e-12
    assert loss(logits, torch.zeros_like(calibrated)).item() == pytest.approx((0.25 + 0.75) / 2)
    assert ll.build("calibration_error(bins=1)")(logits, torch.zeros_like(calibrated)).item() == pytest.approx(0.5)


def test_calibration_error_is_the_metric_of_numpy() -> None:
    logits, labels = batch(1, images=1)
    p, t = torch.sigmoid(logits).flatten().numpy(), labels.flatten().numpy()
    bins = np.minimum((p * 20).astype(int), 19)
    gaps = [abs(p[bins == number].mean() - t[bins == number].mean()) for number in np.unique(bins)]
    assert ll.build("calibration_error")(logits, labels).item() == pytest.approx(np.mean(gaps), rel=1e-12)


@pytest.mark.parametrize("name", ["lovasz_softmax", "lovasz_hinge", "matthews", "calibration_error"])
def test_a_voxel_of_weight_3_counts_as_three_voxels(name: str) -> None:
    logits, labels = batch(1, images=1)
    weight = torch.ones(labels.shape)
    weight[:, :, 0] = 3.0
    thrice = torch.cat([logits, logits[..., :1], logits[..., :1]], -1)
    known = torch.cat([labels, labels[..., :1], labels[..., :1]], -1)
    loss = ll.build(name)
    torch.testing.assert_close(loss(logits, labels, weight=weight), loss(thrice, known), rtol=1e-6, atol=1e-9)

"""Against torch and MONAI, where their definitions coincide with ours, and by how much where they are known not to."""

from collections.abc import Callable

import pytest
import torch
from monai.losses import DiceCELoss, DiceFocalLoss, DiceLoss, FocalLoss, GeneralizedDiceLoss, TverskyLoss
from monai.losses.unified_focal_loss import AsymmetricFocalLoss, AsymmetricFocalTverskyLoss
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

import lesionloss as ll
from lesionloss.core.randomness import torch_generator

S = 2e-5  # where they write 2 TP we write TP: twice the smoothing


def batch(channels: int, images: int = 2) -> tuple[Tensor, Tensor]:
    stream = torch_generator("peers", channels)
    logits = 2 * torch.randn((images, channels, 8, 9, 10), generator=stream, dtype=torch.float64)
    lesion = torch.rand((images, 8, 9, 10), generator=stream) < 0.1
    kinds = torch.randint(1, max(2, channels), lesion.shape, generator=stream)
    return logits, torch.where(lesion, kinds, 0)


def one_hot(labels: Tensor, channels: int) -> Tensor:
    return torch.nn.functional.one_hot(labels, channels).movedim(-1, 1).double()


def two_class(probabilities: Tensor) -> Tensor:
    return torch.cat([1 - probabilities, probabilities], 1)


# spec: what the other library computes from logits (B, 1, ...) and labels (B, 1, ...) as float64
ONE_CHANNEL: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cross_entropy": binary_cross_entropy_with_logits,
    "weighted_cross_entropy(lesion=0.9, background=0.3, normalise=False)": lambda z, t: (
        binary_cross_entropy_with_logits(z, t, weight=0.9 * t + 0.3 * (1 - t))
    ),
    "focal(gamma=2, lesion=0.25, background=0.75)": FocalLoss(gamma=2, alpha=0.25),
    "focal(gamma=3, lesion=1, background=1)": FocalLoss(gamma=3),
    "dice": DiceLoss(sigmoid=True, smooth_nr=S, smooth_dr=S),
    "dice(squared=True)": DiceLoss(sigmoid=True, squared_pred=True, smooth_nr=S, smooth_dr=S),
    "jaccard": DiceLoss(sigmoid=True, jaccard=True, smooth_nr=S, smooth_dr=S),
    "tversky(fp=0.2, fn=0.7)": TverskyLoss(sigmoid=True, alpha=0.2, beta=0.7),
    "dice_ce": DiceCELoss(sigmoid=True, smooth_nr=S, smooth_dr=S),
    "dice_focal(gamma=2, lesion=1, background=1)": DiceFocalLoss(sigmoid=True, gamma=2, smooth_nr=S, smooth_dr=S),
}


@pytest.mark.parametrize("spec", ONE_CHANNEL)
def test_one_channel(spec: str) -> None:
    logits, labels = batch(1)
    ours, theirs = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    value = ll.build(spec)(ours, labels)
    expected = ONE_CHANNEL[spec](theirs, labels[:, None].double())
    assert value.item() == pytest.approx(expected.item(), rel=1e-6)
    value.backward()
    expected.backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-6, atol=1e-9)


CHANNELS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cross_entropy": lambda z, t: cross_entropy(z, t),
    "dice": DiceLoss(softmax=True, include_background=False, smooth_nr=S, smooth_dr=S),
    "tversky(fp=0.2, fn=0.7)": TverskyLoss(softmax=True, include_background=False, alpha=0.2, beta=0.7),
    "generalised_dice": GeneralizedDiceLoss(softmax=True, smooth_nr=0, smooth_dr=0),
    "generalised_dice(power=1)": GeneralizedDiceLoss(softmax=True, w_type="simple", smooth_nr=0, smooth_dr=0),
    "dice_ce": DiceCELoss(softmax=True, include_background=False, smooth_nr=S, smooth_dr=S),
}


@pytest.mark.parametrize("spec", CHANNELS)
def test_four_channels(spec: str) -> None:
    logits, labels = batch(4)
    value = ll.build(spec)(logits, labels)
    assert value.item() == pytest.approx(CHANNELS[spec](logits, one_hot(labels, 4)).item(), rel=1e-6)


def test_weights_of_torch_cross_entropy() -> None:
    logits, labels = batch(4, images=1)
    expected = cross_entropy(logits, labels, weight=torch.tensor([0.1, 0.9, 0.9, 0.9], dtype=torch.float64))
    assert ll.build("weighted_cross_entropy")(logits, labels).item() == pytest.approx(expected.item(), rel=1e-12)


def test_batch_as_one_image() -> None:
    logits, labels = batch(1)
    expected = DiceLoss(sigmoid=True, batch=True, smooth_nr=S, smooth_dr=S)(logits, labels[:, None].double())
    assert ll.build("dice", pooled=True)(logits, labels).item() == pytest.approx(expected.item(), rel=1e-9)


def test_monai_takes_the_mean_over_classes_too_in_asymmetric_focal() -> None:
    logits, labels = batch(1)
    for gamma in (0.5, 1.0):
        theirs = AsymmetricFocalLoss(to_onehot_y=False, delta=0.6, gamma=gamma)
        expected = theirs(two_class(torch.sigmoid(logits)), one_hot(labels, 2))
        ours = ll.build(f"asymmetric_focal(delta=0.6, gamma={gamma})")(logits, labels)
        assert ours.item() / expected.item() == pytest.approx(2, rel=1e-5)


def test_asymmetric_focal_tversky_as_in_monai() -> None:
    logits, labels = batch(1)
    theirs = AsymmetricFocalTverskyLoss(to_onehot_y=False, delta=0.7, gamma=0.5)
    expected = theirs(two_class(torch.sigmoid(logits)), one_hot(labels, 2))
    ours = ll.build("asymmetric_focal_tversky(delta=0.7, gamma=0.5)")(logits, labels)
    assert ours.item() == pytest.approx(expected.item(), rel=1e-6)

"""Dice++ with gamma = .5, row one of Table III: its value, and gradients that stay finite where a slope is infinite."""

import pytest
import torch

import lesionloss as ll
from lesionloss.core.errors import UsageError

LOSSES = ("dice_plus_plus(gamma=0.5)", "tversky_plus_plus(gamma=0.5)", "focal_tversky_plus_plus(gamma=0.5)",
          "combo_plus_plus(gamma=0.5)", "asymmetric_unified_focal_plus_plus(sharpen=0.5)")  # fmt: skip


def test_its_value_is_that_of_equation_9() -> None:
    p, t = torch.tensor([0.9, 0.2, 0.25, 0.04], dtype=torch.float64), torch.tensor([1, 1, 0, 0])
    tp, fp, fn = 1.1, 0.5 + 0.2, 0.1**0.5 + 0.8**0.5
    loss = ll.build("dice_plus_plus(gamma=0.5)")(torch.logit(p).view(1, 1, 2, 2), t.view(1, 2, 2))
    assert float(loss) == pytest.approx(1 - 2 * tp / (2 * tp + fp + fn), abs=1e-4)  # smoothing


@pytest.mark.parametrize("text", LOSSES)
@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("size", [1.0, 30.0, 100.0, 1e4])
def test_the_gradient_is_finite_however_sure_a_prediction_is(text: str, channels: int, size: float) -> None:
    labels = torch.tensor([[[0, 0, 1, 1], [0, 0, 1, 0]]])
    chosen = labels[:, None] if channels == 1 else torch.nn.functional.one_hot(labels, channels).movedim(-1, 1)
    right = 2.0 * chosen - 1
    for sign in (1, -1):
        logits = (sign * size * right).requires_grad_()
        (gradient,) = torch.autograd.grad(ll.build(text)(logits, labels), logits)
        assert bool(gradient.isfinite().all())


def test_below_one_sure_predictions_keep_more_of_their_gradient() -> None:
    """The slope in the logit is gamma p^gamma (1 - p): at p = 1e-4 that of gamma .5 is 50 times that of gamma 1."""
    labels = torch.tensor([[[1, 0]]])
    slopes = []
    for gamma in (0.5, 1):
        logits = torch.tensor([[[[20.0, -9.2102]]]], dtype=torch.float64, requires_grad=True)
        (gradient,) = torch.autograd.grad(ll.build(f"dice_plus_plus(gamma={gamma})")(logits, labels), logits)
        slopes.append(float(gradient[0, 0, 0, 1]))
    assert slopes[0] / slopes[1] == pytest.approx(50, rel=0.02)


def test_smaller_ones_are_refused() -> None:
    with pytest.raises(UsageError, match=r"gamma must be a number >= 0\.5"):
        ll.build("dice_plus_plus(gamma=0.4)")

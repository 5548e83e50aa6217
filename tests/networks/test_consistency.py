"""The term that pushes the single-visit heads apart, against numbers worked out by hand."""

import math

import pytest
import torch

from lesionloss.core.errors import UsageError
from lesionloss.networks.consistency import visit_consistency


def logit(p: float) -> float:
    return math.log(p / (1 - p))


def maps(*probabilities: float) -> torch.Tensor:
    """One image of 1×1×n voxels with these lesion probabilities, as logits of one channel."""
    return torch.tensor([logit(p) for p in probabilities], dtype=torch.float64).reshape(1, 1, 1, 1, -1)


def test_two_new_voxels_by_hand() -> None:
    # baseline .2 and .4 where no lesion was: (.04 + .16) / 2 = .1; follow-up .9 and .5: (.01 + .25) / 2 = .13
    labels = torch.tensor([1, 1, 0]).reshape(1, 1, 1, 3)
    value = visit_consistency(maps(0.2, 0.4, 0.99), maps(0.9, 0.5, 0.01), labels)
    assert float(value) == pytest.approx(0.23, abs=1e-6)


def test_the_mean_is_over_the_voxels_of_the_whole_batch() -> None:
    # three new voxels, two in the first image and one in the second: (.04 + .16 + .25) / 3 and (.01 + .25 + 0.09) / 3
    baseline = torch.cat([maps(0.2, 0.4), maps(0.5, 0.9)])
    followup = torch.cat([maps(0.9, 0.5), maps(0.7, 0.1)])
    labels = torch.tensor([[1, 1], [1, 0]]).reshape(2, 1, 1, 1, 2)
    assert float(visit_consistency(baseline, followup, labels)) == pytest.approx((0.45 + 0.35) / 3, abs=1e-6)
    valid = torch.tensor([[1, 0], [1, 1]]).reshape(2, 1, 1, 2)
    assert float(visit_consistency(baseline, followup, labels, valid)) == pytest.approx((0.29 + 0.10) / 2, abs=1e-6)


def test_a_softmax_head_of_two_classes_is_the_sigmoid_of_the_difference() -> None:
    labels = torch.tensor([1, 0]).reshape(1, 1, 1, 2)
    baseline, followup = maps(0.3, 0.6), maps(0.8, 0.2)
    first, second = (torch.cat([torch.full_like(x, 2.0), x + 2.0], dim=1) for x in (baseline, followup))
    expected = visit_consistency(baseline, followup, labels)
    assert torch.allclose(visit_consistency(first, second, labels), expected, atol=1e-6)


@pytest.mark.parametrize("channels", [1, 2])
def test_without_a_new_lesion_value_and_gradient_are_zero(channels: int) -> None:
    baseline, followup = (torch.full((2, channels, 2, 2, 2), 30.0, requires_grad=True) for _ in range(2))
    value = visit_consistency(baseline, followup, torch.zeros(2, 2, 2, 2))
    value.backward()
    assert float(value.detach()) == 0
    for head in (baseline, followup):
        assert head.grad is not None
        assert torch.equal(head.grad, torch.zeros_like(head))


def test_what_lies_outside_new_lesions_cannot_reach_the_gradient() -> None:
    baseline, followup = maps(0.2, 0.5).requires_grad_(), maps(0.9, 0.5).requires_grad_()
    spoilt = torch.tensor([0.0, float("nan")]).reshape(1, 1, 1, 1, 2)
    value = visit_consistency(baseline + spoilt, followup + spoilt, torch.tensor([1, 0]).reshape(1, 1, 1, 2))
    value.backward()
    assert float(value.detach()) == pytest.approx(0.05, abs=1e-6)
    assert baseline.grad is not None
    assert followup.grad is not None
    # d/dz p² = 2p·p(1-p) = .064; d/dz (1-p)² = -2(1-p)·p(1-p) = -.018
    assert baseline.grad.flatten().tolist() == pytest.approx([0.064, 0.0], abs=1e-6)
    assert followup.grad.flatten().tolist() == pytest.approx([-0.018, 0.0], abs=1e-6)


def test_half_precision_logits_are_computed_in_float32() -> None:
    labels = torch.ones(1, 1, 1, 2)
    value = visit_consistency(maps(0.2, 0.4).half(), maps(0.9, 0.5).half(), labels)
    assert value.dtype == torch.float32
    assert float(value) == pytest.approx(0.23, abs=1e-3)


def test_shapes_that_do_not_fit_are_explained() -> None:
    with pytest.raises(UsageError, match="differ"):
        visit_consistency(torch.zeros(1, 1, 2, 2, 2), torch.zeros(1, 1, 2, 2, 3), torch.zeros(1, 2, 2, 2))
    with pytest.raises(UsageError, match=r"labels \(1, 2, 2, 3\) don't fit"):
        visit_consistency(torch.zeros(1, 1, 2, 2, 2), torch.zeros(1, 1, 2, 2, 2), torch.zeros(1, 2, 2, 3))

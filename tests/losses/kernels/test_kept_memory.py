"""What plain torch keeps between the passes is where the gradient is written, unless somebody may ask again."""

import pytest
import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from lesionloss import build
from lesionloss.losses.kernels import KERNELS, READABLE

LOSSES = ("dice", "dice_plus_plus", "cross_entropy", "hytver", "combo_plus_plus", "focal", "dice_focal", "dice_topk")
LOSSES += ("asymmetric_unified_focal", "symmetric_unified_focal_plus_plus", "weighted_gradient")


def batch() -> tuple[Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(3)
    logits = 2 * torch.randn((2, 1, 9, 8, 8), generator=draw) - 2
    labels = (torch.rand((2, 9, 8, 8), generator=draw) < 0.05).to(torch.uint8)
    return logits.requires_grad_(), labels, torch.rand((2, 9, 8, 8), generator=draw) < 0.8


@pytest.mark.parametrize("name", LOSSES)
def test_a_second_backward_pass_gives_the_same(name: str) -> None:
    logits, labels, valid = batch()
    value = build(name, kernel=KERNELS.get("fused"))(logits, labels, valid)
    first, second = (torch.autograd.grad(value, logits, retain_graph=True)[0].clone() for _ in range(2))
    (last,) = torch.autograd.grad(value, logits)
    readable = build(name, kernel=READABLE)(logits, labels, valid)
    (expected,) = torch.autograd.grad(readable, logits)
    assert torch.equal(first, second)
    assert torch.equal(first, last)
    torch.testing.assert_close(last, expected, rtol=2e-5, atol=1e-9)


@pytest.mark.parametrize("name", [name for name in LOSSES if name != "dice_topk"])  # that one adds two gradients
def test_the_last_gradient_takes_no_memory_of_its_own(name: str) -> None:
    logits, labels, _ = batch()
    seen: list[int] = []

    def pack(tensor: Tensor) -> Tensor:
        if tensor.numel() == logits.numel() and tensor.dtype == logits.dtype:
            seen.append(tensor.data_ptr())
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        value = build(name, kernel=KERNELS.get("fused"))(logits, labels)
    before = logits.detach().clone()
    (kept,) = torch.autograd.grad(value, logits, retain_graph=True)
    assert kept.data_ptr() not in seen
    (last,) = torch.autograd.grad(value, logits)
    assert last.data_ptr() in set(seen) - {logits.data_ptr()}
    assert torch.equal(logits, before)

"""Every loss inside what others put around it: tensor subclasses, vmap, checkpointing, copies of compiled modules."""

import copy
from typing import Any

import pytest
import torch
from monai.data import MetaTensor
from torch import Tensor, nn
from torch.func import vmap
from torch.utils.checkpoint import checkpoint

import lesionloss as ll
from lesionloss.core.randomness import torch_generator

NAMES = [record.name for record in ll.list_losses()]


class Guarded(Tensor):
    """A tensor that can only be turned into a plain one: a loss must do nothing else with it."""

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert function is Tensor.as_subclass, function
        return super().__torch_function__(function, types, args, kwargs)


def channels_of(name: str) -> tuple[int, ...]:
    return (1, 2) if name == "hytver_released" else (1, 3)


def batch(channels: int) -> tuple[Tensor, Tensor]:
    stream = torch_generator("transforms", channels)
    labels = torch.randint(0, max(2, channels), (2, 4, 5, 3), generator=stream)
    return torch.randn((2, channels, 4, 5, 3), generator=stream), labels


@pytest.mark.parametrize("kind", [MetaTensor, lambda x: x.as_subclass(Guarded)], ids=["MetaTensor", "own subclass"])
@pytest.mark.parametrize("name", NAMES)
def test_a_subclass_of_tensors_changes_nothing(name: str, kind: Any) -> None:
    for channels in channels_of(name):
        logits, labels = batch(channels)
        loss = ll.build(name)
        results = []
        for form in (lambda x: x, kind):
            z = logits.clone().requires_grad_()
            value = loss(form(z), form(labels))
            assert type(value) is Tensor
            results.append((value, *torch.autograd.grad(value, z)))
        for found, expected in zip(*results, strict=True):
            assert torch.equal(found, expected)


@pytest.mark.filterwarnings("ignore:There is a performance drop")
@pytest.mark.parametrize("name", NAMES)
def test_vmap_gives_the_value_of_each_image(name: str) -> None:
    for channels in channels_of(name):
        logits, labels = batch(channels)
        loss = ll.build(name)
        found = vmap(lambda z, y, loss=loss: loss(z[None], y[None]))(logits, labels)
        alone = torch.stack([loss(logits[[i]], labels[[i]]) for i in range(2)])
        torch.testing.assert_close(found, alone, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_a_checkpointed_step_has_the_same_gradient(name: str, reentrant: bool) -> None:
    channels = channels_of(name)[-1]
    images, labels = batch(1)[0], batch(channels)[1]
    torch.manual_seed(0)
    network, loss = nn.Conv3d(1, channels, 1), ll.build(name)
    gradients = []
    for step in (lambda x: loss(network(x), labels),
                 lambda x: checkpoint(lambda x: loss(network(x), labels), x, use_reentrant=reentrant)):  # fmt: skip
        network.zero_grad()
        step(images.clone().requires_grad_()).backward()
        gradients.append(network.weight.grad.clone())
    assert torch.equal(*gradients)


@pytest.mark.parametrize("name", ["hytver", *(pytest.param(name, marks=pytest.mark.slow) for name in NAMES)])
def test_a_compiled_loss_can_be_copied(name: str) -> None:
    torch.compiler.reset()
    channels = channels_of(name)[-1]
    logits, labels = batch(channels)
    loss = ll.build(name)
    compiled = torch.compile(loss, backend="eager")
    copied: Any = copy.deepcopy(compiled)
    torch.testing.assert_close(copied(logits, labels), loss(logits, labels))
    assert repr(copied._orig_mod) == repr(loss)


@pytest.mark.slow
def test_a_compiled_network_with_its_loss_can_be_copied() -> None:
    torch.compiler.reset()

    class Step(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network, self.loss = nn.Conv3d(1, 1, 1), ll.HyTverLoss(fn=0.6)

        def forward(self, images: Tensor, labels: Tensor) -> Tensor:
            return self.loss(self.network(images), labels)

    compiled = torch.compile(Step(), backend="eager")
    images, labels = batch(1)
    first = compiled(images, labels)
    assert torch.equal(copy.deepcopy(compiled)(images, labels), first)

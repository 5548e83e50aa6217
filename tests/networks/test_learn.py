"""Every network learns: the loss falls on easy patches; given more steps, Dice passes .8 for every kind of loss."""

import pytest
import torch
from torch import Tensor, nn

from lesionloss.core.randomness import numpy_generator, torch_generator
from lesionloss.losses.criterion import build
from lesionloss.losses.supervision import DeepSupervision
from lesionloss.networks import as_outputs, build_network, logits_of, network_axes, seed_dropout
from lesionloss.networks.consistency import visit_consistency

NETWORKS = [
    "unet3d(filters=8, levels=3)",
    "vnet(filters=4, dropout=0.1)",
    "longitudinal_vnet(filters=4, dropout=0.1)",
    "longitudinal_vnet(filters=4, dropout=0.1, leaky=0.01, residual=True, deep_skip=True)",
    "unet2d(filters=8, levels=3)",
    "plain_unet(filters=8, levels=3)",
    "resnet34_unet(filters=16)",
    "monai:SegResNet(init_filters=8, blocks_down=(1, 1, 1), blocks_up=(1, 1))",
]
LOSSES = [
    "cross_entropy",
    "dice",
    "focal",
    "tversky",
    "dice_plus_plus",
    "hytver",
    "asymmetric_unified_focal",
    "ce_topk_dice",
]


def easy_batch(axes: int, side: int, step: int) -> tuple[Tensor, Tensor]:
    """Two images (2, 3, *space) of noise with bright boxes in the follow-up, and the boxes as labels (2, *space)."""
    draw = numpy_generator("easy", axes, side, step)
    labels = torch.zeros(2, *(side,) * axes)
    for image in labels:
        for _ in range(3):
            low = draw.integers(0, side - 6, size=axes)
            sides = draw.integers(4, 7, size=axes)
            image[tuple(slice(a, a + b) for a, b in zip(low, sides, strict=True))] = 1
    visits = torch.from_numpy(draw.normal(0, 0.3, size=(2, 2, *labels.shape[1:]))).float()
    visits[:, 1] += 2 * labels
    return torch.cat([visits, visits[:, 1:] - visits[:, :1]], dim=1), labels.long()


def train(network: nn.Module, loss: str, axes: int, side: int, steps: int) -> list[float]:
    """Values of the main loss, step by step; deep heads and the visits' heads are trained beside it."""
    criterion = build(loss)
    deep = DeepSupervision(criterion)
    optimiser = torch.optim.Adam(network.parameters(), lr=3e-3)
    values = []
    for step in range(steps):
        x, labels = easy_batch(axes, side, step)
        seed_dropout(network, torch_generator("dropout", step))
        found = as_outputs(network.train()(x))
        value = criterion(found.logits, labels)
        total = deep([found.logits, *found.deep], labels) if found.deep else value
        if found.baseline is not None and found.followup is not None:
            total = total + visit_consistency(found.baseline, found.followup, labels)
        optimiser.zero_grad(set_to_none=True)
        total.backward()
        optimiser.step()
        values.append(float(value.detach()))
    return values


@pytest.mark.parametrize("text", NETWORKS)
def test_the_loss_falls_and_every_parameter_has_a_gradient(text: str) -> None:
    axes = network_axes(text)
    network = build_network(text, torch_generator("w"))
    values = train(network, "0.5*dice + 0.5*cross_entropy", axes, 32, 12)
    assert sum(values[-3:]) / 3 < 0.9 * sum(values[:3]) / 3
    idle = [name for name, parameter in network.named_parameters() if parameter.grad is None]
    assert not idle


@pytest.mark.slow
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("text", NETWORKS)
def test_dice_passes_08_on_an_easy_case(text: str, loss: str) -> None:
    axes = network_axes(text)
    network = build_network(text, torch_generator("w"))
    values = train(network, loss, axes, 32, 80)
    assert sum(values[-5:]) < sum(values[:5])
    x, labels = easy_batch(axes, 32, 10_000)
    with torch.no_grad():
        found = logits_of(network.eval()(x))[:, 0] > 0
    overlap = float((found & (labels == 1)).sum())
    assert 2 * overlap / float(found.sum() + labels.sum()) > 0.8

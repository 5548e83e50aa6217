"""The memory of a forward pass is counted without running it."""

from torch import nn

from lesionloss.core.randomness import torch_generator
from lesionloss.inference.memory import bytes_of_pass, free_bytes
from lesionloss.networks import build_network


def test_features_that_are_used_up_are_not_held_while_predicting() -> None:
    """Eight groups of channels at full resolution are alive at once, of the twelve that the layers make there."""
    filters, side = 4, 32
    network = build_network(f"longitudinal_vnet(filters={filters})", torch_generator(1))
    group = 4 * filters * side**3
    assert bytes_of_pass(network, (1, 3, side, side, side), "float32") < 8.5 * group


def test_memory_of_a_pass_is_counted_without_running_it() -> None:
    network = nn.Sequential(nn.Conv3d(1, 4, 1), nn.ReLU(inplace=True), nn.Conv3d(4, 1, 1))
    voxels = 10**9  # a pass of this size would not fit here
    needed = bytes_of_pass(network, (1, 1, 1000, 1000, 1000), "float32")
    assert 4 * voxels * (4 + 1) <= needed <= 4 * voxels * (1 + 4 + 1)
    assert bytes_of_pass(network, (1, 1, 1000, 1000, 1000), "bf16") < needed
    assert (free_bytes("cpu") or 1) > 0

"""The fastest inference mode that fits the memory is chosen."""

import itertools
import math

import pytest
import torch
from monai.data.utils import dense_patch_slices
from torch import Tensor, nn

from lesionloss.core.randomness import torch_generator
from lesionloss.inference import SlidingWindow, WholeImage, choose_inference_mode, choose_mode
from lesionloss.inference.choose_mode import OVERLAP, ChosenMode, _decreasing_windows, is_local, keep_memory_for
from lesionloss.networks import build_network

OWN = SlidingWindow((32, 32, 32), overlap=0.25)


def test_networks_that_are_not_local_get_windows_as_trained() -> None:
    local, general = build_network("vnet(filters=2)", torch_generator(1)), build_network("unet3d", torch_generator(1))
    assert is_local(local)
    assert not is_local(general)
    assert not is_local(build_network("unet2d(filters=4)", torch_generator(1)))

    def chosen_for(network: nn.Module) -> ChosenMode:
        return choose_inference_mode(network, (3, 60, 60, 60), own=OWN, precision="float32", device="cpu", free=10**12)

    assert chosen_for(local).mode == WholeImage()
    chosen = chosen_for(general)
    assert isinstance(chosen.mode, SlidingWindow)
    assert chosen.mode.size == (32, 32, 32)
    assert "normalises" in str(chosen)


def test_less_memory_gives_smaller_windows_down_to_those_trained_on() -> None:
    network = build_network("vnet(filters=2)", torch_generator(1))
    sizes = []
    for free in (10**12, 3 * 10**8, 10**8, 1):
        choice = choose_inference_mode(network, (3, 96, 96, 96), own=OWN, precision="float32", device="cpu", free=free)
        assert choice.needed_bytes is not None
        assert choice.needed_bytes <= free or "memory is short" in choice.reason
        sizes.append((96,) if isinstance(choice.mode, WholeImage) else choice.mode.size[:1])
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] == (96,)
    assert sizes[-1] == (32,)


def test_an_image_that_does_not_fit_is_cut_in_as_few_windows_as_possible() -> None:
    """Along its longest axis first, and the windows together hold little more than the image."""
    sides = list(_decreasing_windows((182, 218, 182), (80, 80, 80), 16))
    assert sides[0] == (192, 128, 192)
    assert all(larger > smaller for larger, smaller in itertools.pairwise(map(math.prod, sides)))
    shape = (182, 218, 182)
    for number, found in enumerate(sides[:3]):
        windows = dense_patch_slices(shape, found, [int(side * (1 - OVERLAP)) for side in found])
        assert len(windows) == 2 ** (number + 1)
    assert 2 * math.prod(sides[0]) < 1.4 * math.prod(shape)


def test_freed_memory_is_kept_only_where_there_is_plenty(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[bool] = []

    def keep() -> bool:
        kept.append(True)
        return True

    monkeypatch.setattr(choose_mode, "keep_freed_memory", keep)
    choice = ChosenMode(WholeImage(), "", needed_bytes=10**9)
    assert not keep_memory_for(choice, "cpu", free=2 * 10**9)
    assert not keep_memory_for(ChosenMode(WholeImage(), ""), "cpu", free=10**12)
    assert not keep_memory_for(choice, "cuda:0", free=10**12)
    assert not kept
    assert keep_memory_for(choice, "cpu", free=3 * 10**9)
    assert kept == [True]


def test_a_network_that_cannot_be_analysed_gets_windows() -> None:
    class Odd(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.from_numpy(x.numpy())

    choice = choose_inference_mode(
        Odd(), (1, 9, 9), own=SlidingWindow((4, 4), overlap=0.25), precision="float32", device="cpu"
    )
    assert choice.mode == SlidingWindow((4, 4), overlap=0.25)
    assert choice.needed_bytes is None

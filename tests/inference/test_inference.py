"""A network is applied to an image: nothing is lost, nothing is moved, and the fastest mode that fits is chosen."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data.utils import dense_patch_slices
from torch import Tensor, nn

from lesionloss import DataError, UsageError
from lesionloss.core.randomness import torch_generator
from lesionloss.data.prepared import PreparedCase
from lesionloss.inference import (
    Arithmetic,
    InferenceMode,
    SlidingWindow,
    WholeImage,
    choose_inference_mode,
    choose_mode,
    predict_logits,
    predict_probabilities,
    read_inference_mode,
)
from lesionloss.inference.choose_mode import OVERLAP, ChosenMode, _decreasing_windows, is_local, keep_memory_for
from lesionloss.inference.memory import bytes_of_pass, free_bytes
from lesionloss.networks import Outputs, build_network

PATCH = 8


class Echo(nn.Module):
    """Gives back its first channels as logits."""

    def __init__(self, axes: int = 3, outputs: int = 1, multiple: int = 1) -> None:
        super().__init__()
        self.axes, self.outputs, self.multiple = axes, outputs, multiple
        self.seen: list[tuple[int, ...]] = []

    def forward(self, x: Tensor) -> Outputs:
        self.seen.append(tuple(x.shape))
        return Outputs(x[:, : self.outputs])


def image(*shape: int) -> Tensor:
    return 3 * torch.randn(shape, generator=torch_generator("image", *shape))


def case_of(array: Tensor) -> PreparedCase:
    space = tuple(array.shape[1:])
    brain = np.ones(space, bool)
    brain[0] = False
    names = tuple(f"channel{index}" for index in range(len(array)))
    return PreparedCase(
        "a", "a", array.numpy(), names, np.zeros(space, np.uint8), brain, np.eye(4), (0,) * len(space), space
    )


sides = st.integers(1, 2 * PATCH)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(sides, min_size=2, max_size=3),
    st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.6, 0.75, 0.9]),
    st.booleans(),
    st.integers(1, 5),
)
def test_an_identity_network_gives_the_image_back(space: list[int], overlap: float, gaussian: bool, batch: int) -> None:
    x = image(2, *space)
    mode = SlidingWindow((PATCH,), overlap=overlap, gaussian=gaussian, batch=batch)
    before = x.clone()
    assert float((predict_logits(Echo(len(space)), x, mode)[0] - x[0]).abs().max()) <= 1e-6
    assert torch.equal(x, before)


@pytest.mark.parametrize("space", [(1, 1, 1), (5, 16, 9), (7, 3)])
@pytest.mark.parametrize("multiple", [1, 4, 16])
def test_the_whole_image_comes_back_where_it_was(space: tuple[int, ...], multiple: int) -> None:
    x, network = image(2, *space), Echo(len(space), multiple=multiple)
    assert torch.equal(predict_logits(network, x, WholeImage())[0], x[0])
    assert all(side % multiple == 0 for side in network.seen[0][2:])


def test_mirrored_images_are_turned_back() -> None:
    x = image(1, 5, 6, 7)
    network = Echo()
    assert torch.allclose(predict_logits(network, x, WholeImage(), mirrored=(0, 1, 2)), x, atol=1e-6)
    assert len(network.seen) == 8


def test_mirroring_is_the_mean_over_the_mirror_images() -> None:
    network = build_network("unet3d(inputs=1, filters=2, levels=2)", torch_generator("w"))
    x = image(1, 8, 8, 8)
    twice = predict_logits(network, x, WholeImage(), mirrored=(1,))
    parts = predict_logits(network, x, WholeImage()), predict_logits(network, x.flip(2), WholeImage()).flip(2)
    assert torch.allclose(twice, (parts[0] + parts[1]) / 2, atol=1e-6)
    assert not torch.allclose(parts[0], parts[1], atol=1e-4)


@pytest.mark.parametrize("text", ["unet3d(filters=4, levels=2)", "longitudinal_vnet(filters=2)"])
def test_the_size_of_a_batch_of_windows_changes_nothing(text: str) -> None:
    network = build_network(text, torch_generator("w"))
    x = image(3, 20, 33, 17)
    found = [predict_logits(network, x, SlidingWindow((16,), batch=batch)) for batch in (1, 2, 3, 100)]
    assert all(torch.equal(found[0], other) for other in found[1:])


def test_windows_and_whole_image_agree_away_from_the_windows_edges() -> None:
    network = build_network("vnet(filters=2)", torch_generator("w"))
    x = image(3, 32, 32, 48)
    whole, windows = predict_logits(network, x, WholeImage()), predict_logits(network, x, SlidingWindow((32, 32, 32)))
    assert float((whole - windows).abs().mean()) < 0.1 * float(whole.std())


def test_slices_of_a_volume_go_through_a_network_for_slices() -> None:
    x = image(2, 9, 12, 5)
    network = Echo(axes=2, multiple=4)
    for mode in (WholeImage(), SlidingWindow((8,))):
        assert torch.allclose(predict_logits(network, x, mode)[0], x[0], atol=1e-6)
    assert {len(shape) for shape in network.seen} == {4}


def test_several_classes_are_softmax_without_background() -> None:
    x = image(3, 6, 7, 4)
    found = predict_probabilities(Echo(outputs=3), case_of(x), WholeImage())
    expected = torch.softmax(x, 0)[1:].numpy()
    assert found.shape == (2, 6, 7, 4)
    assert np.allclose(found[:, 1:], expected[:, 1:], atol=1e-6)
    assert not found[:, 0].any()  # outside the brain


@pytest.mark.parametrize("outputs", [1, 3])
def test_papers_average_probabilities(outputs: int) -> None:
    class Growing(Echo):
        """Other logits at every call, so that the mean of two windows tells what was averaged."""

        def forward(self, x: Tensor) -> Outputs:
            self.seen.append(tuple(x.shape))
            return Outputs(x[:, : self.outputs] * len(self.seen))

    x = image(outputs, 12, 8)
    mode = SlidingWindow((8,), stride=(4,), gaussian=False, of_probabilities=True, batch=1)
    found = predict_probabilities(Growing(2, outputs), case_of(x), mode)
    each = [torch.sigmoid(x * k) if outputs == 1 else torch.softmax(x * k, 0)[1:] for k in (1, 2)]
    shared = ((each[0] + each[1]) / 2).numpy()[:, 4:8]
    assert np.allclose(found[:, 4:8], shared, atol=1e-6)


def test_the_papers_windows_are_theirs() -> None:
    network = Echo()
    predict_logits(network, image(1, 182, 218, 182), read_inference_mode("coactseg"))
    assert len(network.seen) == 392
    assert set(network.seen) == {(1, 1, 80, 80, 80)}
    network = Echo()
    predict_logits(network, image(1, 64, 64, 48), read_inference_mode("cabezas"))
    assert len(network.seen) == 3 * 3 * 2


@pytest.mark.parametrize("stride", [1, 2, 3, 5, 7, 8])
@pytest.mark.parametrize("size", [8, 30, 77])
def test_a_stride_is_that_many_voxels(size: int, stride: int) -> None:
    network = Echo(2)
    predict_logits(network, image(1, size, size + 3 * stride), SlidingWindow((size,), stride=(stride,), batch=1))
    assert len(network.seen) == 4


@pytest.mark.parametrize(
    "text", ["whole", "sliding_window(size=80, overlap=0.25)", "sliding_window(size=(16, 32, 8), stride=8)"]
)
def test_modes_are_read_and_written(text: str) -> None:
    mode = read_inference_mode(text)
    assert read_inference_mode(str(mode)) == mode
    assert str(mode) == text


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("hole", "no inference mode is named 'hole'; did you mean 'whole'"),
        ("sliding_window(sice=8)", "did you mean 'size'"),
        ("sliding_window()", "size is missing"),
        ("sliding_window(size=8, overlap=1)", "0 to below 1"),
        ("sliding_window(size=8, overlap=0.5, stride=4)", "not both"),
        ("sliding_window(size=0)", "1 or more"),
        ("sliding_window(size='8')", "is a int"),
        ("sliding_window(size=8, batch=True)", "is a int"),
        ("whole(size=8)", "takes no settings"),
        ("sliding_window(8)", "write NAME"),
    ],
)
def test_a_wrong_way_is_refused(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says.replace("(", r"\(")):
        read_inference_mode(text)


@pytest.mark.parametrize(
    ("mode", "says"),
    [
        (SlidingWindow((8, 8)), "3 axes"),
        (SlidingWindow((8,), stride=(9,)), "gaps"),
        (SlidingWindow((9,)), "multiples of 4, e.g. 12"),
    ],
)
def test_a_mode_that_does_not_fit_is_refused(mode: InferenceMode, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        predict_logits(Echo(multiple=4), image(1, 12, 12, 12), mode)


def test_values_that_are_not_finite_are_named() -> None:
    x = image(1, 4, 4)
    x[0, 2, 2] = float("nan")
    with pytest.raises(DataError, match="a: the network gives NaN"):
        predict_probabilities(Echo(2), case_of(x), WholeImage())


def test_precision_moves_logits_little() -> None:
    network = build_network("unet3d(filters=4, levels=2)", torch_generator("w"))
    x = image(3, 16, 16, 16)
    exact = predict_logits(network, x, WholeImage())
    rounded = predict_logits(network, x, WholeImage(), arithmetic=Arithmetic("bf16"))
    assert not torch.equal(exact, rounded)
    assert float((exact - rounded).abs().max()) < 0.05 * float(exact.abs().max())


def test_networks_that_look_at_everything_get_windows_as_trained() -> None:
    local, general = build_network("vnet(filters=2)", torch_generator(1)), build_network("unet3d", torch_generator(1))
    assert is_local(local)
    assert not is_local(general)
    assert not is_local(build_network("unet2d(filters=4)", torch_generator(1)))

    def chosen_for(network: nn.Module) -> ChosenMode:
        return choose_inference_mode(
            network, (3, 60, 60, 60), window=(32, 32, 32), precision="float32", device="cpu", free=10**12
        )

    assert chosen_for(local).mode == WholeImage()
    chosen = chosen_for(general)
    assert isinstance(chosen.mode, SlidingWindow)
    assert chosen.mode.size == (32, 32, 32)
    assert "normalises" in str(chosen)


def test_less_memory_gives_smaller_windows_down_to_those_trained_on() -> None:
    network = build_network("vnet(filters=2)", torch_generator(1))
    sizes = []
    for free in (10**12, 3 * 10**8, 10**8, 1):
        choice = choose_inference_mode(
            network, (3, 96, 96, 96), window=(32, 32, 32), precision="float32", device="cpu", free=free
        )
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


def test_a_network_that_cannot_be_followed_gets_windows() -> None:
    class Odd(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.from_numpy(x.numpy())

    choice = choose_inference_mode(Odd(), (1, 9, 9), window=(4, 4), precision="float32", device="cpu")
    assert choice.mode == SlidingWindow((4, 4), overlap=0.25)
    assert choice.needed_bytes is None

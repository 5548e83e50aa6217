"""A network is applied to an image: nothing is lost and nothing is moved."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from lesionloss import DataError, UsageError
from lesionloss.core.randomness import torch_generator
from lesionloss.data.prepared import PreparedCase
from lesionloss.inference import (
    Arithmetic,
    InferenceMode,
    SlidingWindow,
    WholeImage,
    predict_logits,
    predict_probabilities,
    read_inference_mode,
)
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


def test_the_papers_windows_are_used() -> None:
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

"""A network of a stranger's text is refused by its size before it takes memory or minutes."""

import time
from unittest import mock

import pytest
import torch

from lesionloss.core.errors import UsageError
from lesionloss.networks import blank_network, build_network
from lesionloss.networks.parameter_limit import MOST_PARAMETERS, parameters_without_memory

GIANTS = (
    "unet3d(filters=4096)",
    "unet3d(filters=4, levels=4096)",
    "monai:BasicUNet(spatial_dims=3, features=(4096, 4096, 32, 32, 32, 32))",
    "monai:SegResNet(spatial_dims=3, init_filters=4096)",
    "monai:SwinUNETR(feature_size=3072)",
)


@pytest.mark.parametrize("text", GIANTS)
def test_giants_are_refused_before_they_take_memory(text: str) -> None:
    blank_network("monai:BasicUNet(features=(2, 2, 2, 2, 2, 2))")  # MONAI is loaded now
    begin = time.process_time()
    with pytest.raises(UsageError, match=r"has more than 1,000,000,000 parameters; choose fewer features") as caught:
        build_network(text, torch.Generator())
    assert "\n" not in str(caught.value)
    assert time.process_time() - begin < 5


def test_a_network_of_thousands_of_layers_is_refused() -> None:
    text = "monai:UNet(spatial_dims=3, channels=(4, 8), strides=(2,), num_res_units=4096)"
    limit = mock.patch("lesionloss.networks.parameter_limit.MOST_LAYERS", 100)
    with limit, pytest.raises(UsageError, match="has more than 100 layers; choose fewer"):
        blank_network(text)


def test_what_computes_while_it_is_built_takes_no_memory_either() -> None:
    """SwinUNETR can't be built on the meta device: the parameters that it gets elsewhere go there at once."""
    with parameters_without_memory("test"):
        layer = torch.nn.Linear(100, 100)
    assert all(parameter.is_meta for parameter in layer.parameters())
    assert all(parameter.is_meta for parameter in blank_network("monai:SwinUNETR(feature_size=12)").parameters())


def test_the_limit_ends_with_its_block() -> None:
    assert MOST_PARAMETERS == 10**9
    with mock.patch("lesionloss.networks.parameter_limit.MOST_PARAMETERS", 10):
        with pytest.raises(UsageError, match="more than 10 parameters"), parameters_without_memory("test"):
            torch.nn.Linear(100, 100)
        assert not torch.nn.Linear(100, 100).weight.is_meta

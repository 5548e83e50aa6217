"""Networks of MONAI by text: what is allowed, where their randomness comes from, and one form of output."""

import subprocess
import sys

import pytest
import torch

from lesionloss.core.errors import UsageError
from lesionloss.core.randomness import torch_generator
from lesionloss.networks import (
    Outputs,
    as_outputs,
    blank_network,
    build_network,
    check_network,
    network_axes,
    network_multiple,
    seed_dropout,
)
from lesionloss.networks.initial_weights import PRIOR
from lesionloss.networks.network_output import normalise_outputs

UNET = "monai:UNet(spatial_dims=3, channels=(4, 8), strides=(2,), dropout=0.5)"


def test_the_text_survives_the_check() -> None:
    assert check_network(" monai:Unet(spatial_dims=3, channels=(4,8), strides=(2,)) ") == (
        "monai:UNet(spatial_dims=3, channels=(4, 8), strides=(2,))"
    )


@pytest.mark.parametrize(
    ("text", "multiple", "axes"),
    [
        ("monai:UNet(spatial_dims=2, channels=(4, 8, 16), strides=(2, 2))", 4, 2),
        ("monai:SegResNet(init_filters=8, blocks_down=(1, 1), blocks_up=(1,))", 2, 3),
        ("monai:SwinUNETR(feature_size=12)", 32, 3),
        ("monai:UNETR(img_size=16, feature_size=2, hidden_size=8, mlp_dim=8, num_heads=2)", 16, 3),
    ],
)
def test_multiple_and_axes_are_found_by_trying(text: str, multiple: int, axes: int) -> None:
    assert (network_multiple(text), network_axes(text)) == (multiple, axes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("monai:Unett", "MONAI has no network 'Unett'; did you mean 'UNet'"),
        ("monai:Conv3d", "MONAI has no network 'Conv3d'"),
        ("monai:nn.Module", "write NAME or NAME"),
        ("monai:UNet(spatial_dim=3)", "no parameter 'spatial_dim'; did you mean 'spatial_dims'"),
        ("monai:UNet(spatial_dims=3)", "needs channels, strides"),
        ("monai:UNet(spatial_dims=1, channels=(4, 8), strides=(2,))", "spatial_dims must be 2 or 3, got 1"),
        ("monai:UNet(spatial_dims=3, channels=(4,), strides=(2,))", "monai:UNet refuses these values: the length"),
        ("monai:UNet(spatial_dims=3, channels=range(3), strides=(2,))", "must be a plain number or word"),
        ("monai:UNet(spatial_dims=3, channels=(4, 8), strides=(2,), act=print)", "must be a plain number or word"),
        ("monai:ViT(in_channels=3, img_size=16, patch_size=8)", "has no in_channels and out_channels"),
        ("monai:DenseNet121(spatial_dims=3)", "gives no logits on its input's grid"),
        (
            "monai:FlexibleUNet(backbone='efficientnet-b0', pretrained=True)",
            "nothing is fetched, leave out 'pretrained'",
        ),
    ],
)
def test_what_is_not_allowed_is_explained_in_one_line(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message.replace("(", r"\(")) as caught:
        check_network(text)
    assert "\n" not in str(caught.value)


def test_channels_are_those_of_our_own_networks_unless_said() -> None:
    network = build_network("monai:BasicUNet(features=(2, 2, 2, 2, 2, 2))", torch_generator("w")).eval()
    assert network(torch.zeros(1, 3, 32, 32, 32)).shape == (1, 1, 32, 32, 32)
    network = build_network(
        "monai:BasicUNet(features=(2, 2, 2, 2, 2, 2), in_channels=2, out_channels=4)", torch_generator("w")
    )
    assert network.eval()(torch.zeros(1, 2, 32, 32, 32)).shape == (1, 4, 32, 32, 32)


@pytest.mark.parametrize("text", [UNET, "monai:SegResNetVAE(input_image_size=[16, 16, 16], init_filters=8)"])
def test_all_draws_in_training_follow_the_generator_and_leave_the_global_stream_alone(text: str) -> None:
    network = build_network(text, torch_generator("w")).train()
    x = torch.randn(1, 3, 16, 16, 16, generator=torch_generator("x"))

    def output(seed: int) -> torch.Tensor:
        seed_dropout(network, torch_generator("dropout", seed))
        return as_outputs(network(x)).logits

    before = torch.get_rng_state()
    assert torch.equal(output(1), output(1))
    assert torch.equal(before, torch.get_rng_state())
    if "dropout" in text:
        assert not torch.equal(output(1), output(2))
        assert torch.equal(network.eval()(x), network(x))


def test_dropout_without_generator_refuses_to_draw_from_the_global_state() -> None:
    network = build_network(UNET, torch_generator("w")).train()
    with pytest.raises(RuntimeError, match="needs a generator"):
        network(torch.zeros(1, 3, 8, 8, 8))


def test_building_and_trying_leave_no_memory_behind() -> None:
    network = blank_network("monai:SegResNet(init_filters=8)")
    assert all(parameter.is_meta for parameter in network.parameters())


def test_lists_and_stacks_become_one_form() -> None:
    fine, coarse = torch.zeros(2, 1, 8, 8, 8), torch.ones(2, 1, 4, 4, 4)
    assert normalise_outputs(fine, 3) is fine
    found = as_outputs(normalise_outputs([coarse, fine], 3))
    assert found.logits is fine
    assert found.deep == (coarse,)
    last = torch.ones_like(fine)
    assert as_outputs(normalise_outputs([fine, last], 3)).logits is last
    assert as_outputs(normalise_outputs((fine, torch.tensor(3.0)), 3)).deep == ()
    stack = as_outputs(normalise_outputs(torch.stack([fine, last], dim=1), 3))
    assert torch.equal(stack.logits, fine)
    assert torch.equal(stack.deep[0], last)
    with pytest.raises(UsageError, match="holds no map of logits"):
        normalise_outputs({"out": fine}, 3)


def test_deep_supervision_of_dynunet_comes_as_outputs() -> None:
    text = (
        "monai:DynUNet(spatial_dims=3, kernel_size=[3, 3, 3, 3], strides=[1, 2, 2, 2], upsample_kernel_size=[2, 2, 2], "
        "filters=[2, 4, 4, 4], deep_supervision=True, deep_supr_num=2)"
    )
    network = build_network(text, torch_generator("w"))
    found = network.train()(torch.zeros(1, 3, 16, 16, 16))
    assert isinstance(found, Outputs)
    assert len(found.deep) == 2
    assert network.eval()(torch.zeros(1, 3, 16, 16, 16)).shape == (1, 1, 16, 16, 16)


@pytest.mark.parametrize(
    ("text", "head"),
    [
        ("monai:UNet(spatial_dims=3, channels=(4, 8), strides=(2,))", "body.model.2.conv"),
        ("monai:SegResNet(init_filters=8, out_channels=3)", "body.conv_final.2.conv"),
        ("monai:UNETR(img_size=16, feature_size=2, hidden_size=8, mlp_dim=8, num_heads=2)", "body.out.conv.conv"),
    ],
)
def test_the_last_layer_is_found_and_expects_few_lesions(text: str, head: str) -> None:
    network = build_network(text, torch_generator("w")).eval()
    assert network.heads == (head,)
    logits = network(torch.zeros(1, 3, 16, 16, 16)).detach()
    lesion = logits.sigmoid() if logits.shape[1] == 1 else logits.softmax(1)[:, 1:].sum(1)
    assert float(lesion.mean()) == pytest.approx(PRIOR, rel=0.5)


WITHOUT_EINOPS = """
import sys
sys.modules["einops"] = None
import pytest
from lesionloss import UsageError
from lesionloss.core.randomness import torch_generator
from lesionloss.networks import build_network
for text in ("monai:UNETR(img_size=16)", "monai:SwinUNETR(feature_size=12)"):
    with pytest.raises(UsageError, match=r"network monai:[a-zA-Z]+ needs a package that is not installed: .*einops"):
        build_network(text, torch_generator("w"))
"""


def test_a_network_whose_package_is_missing_says_which() -> None:
    """In a process of its own, because MONAI looks for einops once, when it is imported."""
    subprocess.run([sys.executable, "-c", WITHOUT_EINOPS], check=True)

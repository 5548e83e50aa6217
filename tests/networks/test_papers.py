"""Each network against its source: number of parameters, order of layers, shape of what it gives."""

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from coactseg_by_hand import published_shapes
from lesionloss.core.randomness import torch_generator
from lesionloss.networks import Outputs, as_outputs, build_network, logits_of, seed_dropout
from lesionloss.networks.initial_weights import PRIOR


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def built(text: str) -> Any:
    network = build_network(text, torch_generator("w"))
    seed_dropout(network, torch_generator("dropout"))
    return network


def executed(network: nn.Module, x: Tensor) -> list[str]:
    """Kinds of the layers in the order in which they run."""
    kinds: list[str] = []
    leaves = [module for module in network.modules() if not list(module.children())]
    handles = [leaf.register_forward_hook(lambda module, *_: kinds.append(type(module).__name__)) for leaf in leaves]
    network(x)
    for handle in handles:
        handle.remove()
    return kinds


def test_the_residual_variant_has_the_parameters_of_hytvers_code() -> None:
    # of the shapes that its code saves, without the statistics, and without its cross-attention, which nothing calls
    shapes = published_shapes(3, 2, 16, residual=True)
    learned = [shape for name, shape in shapes.items() if name.rsplit(".", 1)[1] in ("weight", "bias")]
    assert parameters(built("longitudinal_vnet(outputs=2, residual=True)")) == 9_595_414
    assert sum(torch.Size(shape).numel() for shape in learned) == 9_595_414


def test_longitudinal_vnet_gives_three_maps_and_the_new_one_reads_the_difference() -> None:
    network = built("longitudinal_vnet(filters=2, outputs=2)").eval()
    x = torch.randn(2, 3, 16, 16, 32, generator=torch_generator("x"))
    found = network(x)
    assert isinstance(found, Outputs)
    assert found.deep == ()
    for tensor in (found.logits, found.baseline, found.followup):
        assert tensor is not None
        assert tensor.shape == (2, 2, 16, 16, 32)
    # swapping the two branches turns the difference round: baseline and follow-up change places, the new map changes
    decoder = network.decoder
    decoder.baseline, decoder.followup = decoder.followup, decoder.baseline
    decoder.head_baseline, decoder.head_followup = decoder.head_followup, decoder.head_baseline
    swapped = network(x)
    assert found.followup is not None
    assert torch.equal(swapped.baseline, found.followup)
    assert not torch.allclose(swapped.logits, found.logits)
    # a new-lesion head that reads the difference alone sees nothing where the branches are one and the same
    decoder.baseline = decoder.followup
    first = decoder.new.convolutions[0]
    with torch.no_grad():
        first.weight[:, 2:] = 0
        same = network(x).logits
    assert float(same.std((0, 2, 3, 4)).max()) < 1e-6


def test_longitudinal_vnet_runs_its_layers_in_the_published_order() -> None:
    kinds = executed(built("longitudinal_vnet(filters=2)").eval(), torch.zeros(1, 3, 16, 16, 16))
    normed = ["Conv3d", "BatchNorm3d", "ReLU"]
    up = ["ConvTranspose3d", "BatchNorm3d", "ReLU"]
    expected = normed * 1
    for depth in (2, 3, 3, 3):
        expected += normed + normed * depth
    expected += ["ChannelDropout", *up]
    for depth in (3, 3, 2):
        expected += normed * depth + up
    expected += [*normed, "ChannelDropout"] * 3 + normed + ["Conv3d"] * 3
    assert kinds == expected
    leaky = executed(
        built("longitudinal_vnet(filters=2, leaky=0.01, inner_relu=True)").eval(), torch.zeros(1, 3, 16, 16, 16)
    )
    assert [kind for kind in leaky if "ReLU" in kind].count("ReLU") == 3 + 3 + 2


def test_unet3d_normalises_behind_its_activation() -> None:
    level = built("unet3d(inputs=2)").down[0]
    found = level(torch.randn(1, 2, 8, 8, 8, generator=torch_generator("x"))).detach()
    groups = found.reshape(4, 8 * 8**3)
    assert float(groups.mean(1).abs().max()) < 1e-5
    assert float(found.min()) < 0
    # a ReLU before the norm leaves each channel with one lowest value that many voxels share
    assert all(int((channel == channel.min()).sum()) > 50 for channel in found[0])


def test_unet2d_is_miscnns_with_instance_norm() -> None:
    # two 3² convolutions a level, each followed by ReLU, then the norm; 2² transposed convolutions; 32 to 512 filters
    widths = [32, 64, 128, 256, 512]

    def stage(a: int, b: int) -> int:
        return 9 * a * b + b + 2 * b + 9 * b * b + b + 2 * b

    expected = sum(stage(a, b) for a, b in zip([1, *widths], widths, strict=False))
    expected += sum(4 * b * a + a + stage(2 * a, a) for a, b in pairwise(widths))
    assert parameters(built("unet2d(inputs=1, outputs=2)")) == expected + 32 * 2 + 2 == 7_765_442
    kinds = executed(built("unet2d(filters=2, levels=2)"), torch.zeros(1, 3, 8, 8))
    stage_kinds = ["Conv2d", "ReLU", "InstanceNorm2d"] * 2
    assert kinds == [*stage_kinds, "MaxPool2d", *stage_kinds, "ConvTranspose2d", *stage_kinds, "Conv2d"]


def test_unet2d_starts_from_xavier_uniform_weights() -> None:
    weight = built("unet2d").body.down[2][3].weight.detach()  # 128 to 128 channels of 3²
    limit = (6 / (128 * 9 + 128 * 9)) ** 0.5
    assert float(weight.abs().max()) <= limit
    assert float(weight.std()) == pytest.approx(limit / 3**0.5, rel=0.01)


def test_plain_unet_has_the_parameters_of_the_common_one_and_two_heads_more() -> None:
    # 31,037,633: the common U-Net of 64 to 1024 filters, batch norm and transposed convolutions, 3 channels to 1
    assert parameters(built("plain_unet")) == 31_037_633 + (128 + 1) + (256 + 1)
    kinds = executed(built("plain_unet(filters=2, levels=3)").eval(), torch.zeros(1, 3, 8, 8))
    stage = ["Conv2d", "BatchNorm2d", "ReLU"] * 2
    down = [*stage, "MaxPool2d", *stage, "MaxPool2d", *stage]
    assert kinds == [*down, *["ConvTranspose2d", *stage] * 2, "Conv2d"]


def test_resnet34_unet_has_the_parameters_of_resnet34_and_of_the_common_decoder() -> None:
    network = built("resnet34_unet")
    assert parameters(network.encoder) == 21_797_672 - 513_000  # torchvision's resnet34 without its classifier
    # 24,436,369: segmentation_models.pytorch's Unet("resnet34") with one class; the heads at 1/4, 1/8 and 1/16 are ours
    heads = (64 + 1) + (128 + 1) + (256 + 1)
    assert parameters(built("resnet34_unet(full_resolution=True)")) == 24_436_369 + heads
    # the printed network ends at 1/4: without stages of 32 and 16 filters (batch norms included) and the finest head
    finest = 9 * ((64 + 64) * 32 + 32 * 32 + 32 * 16 + 16 * 16) + 4 * 32 + 4 * 16 + (9 * 16 + 1)
    assert parameters(network) == 24_436_369 - finest + heads
    blocks = [len(network.encoder.get_submodule(f"layer{number}")) for number in (1, 2, 3, 4)]
    assert blocks == [3, 4, 6, 3]
    features = network.encoder(torch.zeros(1, 3, 64, 64))
    assert [(f.shape[1], 64 // f.shape[2]) for f in features] == [(64, 2), (64, 4), (128, 8), (256, 16), (512, 32)]


@pytest.mark.parametrize(
    ("text", "space", "scales"),
    [
        ("plain_unet(filters=2, outputs=3)", (32, 16), (2, 4)),
        ("plain_unet(filters=2, outputs=3, axes=3)", (32, 16, 16), (2, 4)),
        ("resnet34_unet(filters=4, outputs=3)", (64, 32), (8, 16)),
        ("resnet34_unet(filters=4, outputs=3, axes=3)", (32, 32, 64), (8, 16)),
        ("resnet34_unet(filters=4, outputs=3, full_resolution=True)", (64, 32), (4, 8, 16)),
    ],
)
def test_deep_heads_have_their_resolutions_in_training_only(
    text: str, space: tuple[int, ...], scales: tuple[int, ...]
) -> None:
    network, x = built(text), torch.zeros(2, 3, *space)
    found = network.train()(x)
    assert found.logits.shape == (2, 3, *space)
    assert [tuple(deep.shape) for deep in found.deep] == [
        (2, 3, *(side // scale for side in space)) for scale in scales
    ]
    assert network.eval()(x).deep == ()


def test_resnet34_unet_predicts_from_its_head_at_a_quarter_as_topk_dice_prints() -> None:
    network, x = built("resnet34_unet(filters=4, outputs=2)").eval(), torch.rand(1, 3, 64, 96)
    maps: list[torch.Tensor] = []
    network.head.register_forward_hook(lambda _module, _inputs, output: maps.append(output))
    logits = network(x).logits
    assert maps[0].shape == (1, 2, 16, 24)
    wanted = torch.nn.functional.interpolate(maps[0], size=(64, 96), mode="bilinear", align_corners=False)
    assert torch.equal(logits, wanted)


@pytest.mark.parametrize(
    "text",
    [
        "longitudinal_vnet(filters=2)",
        "unet2d(filters=2)",
        "plain_unet(filters=2)",
        "resnet34_unet(filters=4, outputs=2)",
        "resnet34_unet(filters=4, outputs=2, full_resolution=True)",
    ],
)
def test_every_head_expects_few_lesions(text: str) -> None:
    network = built(text)
    x = torch.zeros(2, 3, *(32, 32, 32)[: network.axes])
    with torch.no_grad():
        found = as_outputs(network.train()(x))
    for logits in (found.logits, *found.deep, found.baseline, found.followup):
        if logits is not None:
            lesion = logits.sigmoid() if logits.shape[1] == 1 else logits.softmax(1)[:, 1:]
            assert float(lesion.mean()) == pytest.approx(PRIOR, rel=1e-3)


def test_a_plain_tensor_is_a_record_of_logits() -> None:
    x = torch.zeros(1)
    assert as_outputs(x) == Outputs(x)
    assert logits_of(x) is logits_of(Outputs(x, (x,))) is x

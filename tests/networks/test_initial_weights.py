"""The rules for initial weights: whose they are, and that all draws come from the generator."""

import pytest
import torch
from torch import nn

from lesionloss.core.errors import UsageError
from lesionloss.core.randomness import torch_generator
from lesionloss.networks import build_network, logits_of


def test_torch_is_what_the_layers_of_pytorch_do_themselves() -> None:
    network = build_network("longitudinal_vnet(filters=2)", torch_generator(1), initial="torch")
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv3d | nn.ConvTranspose3d)]
    assert any(isinstance(layer, nn.ConvTranspose3d) for layer in convolutions)
    for layer in convolutions:
        theirs = type(layer)(layer.in_channels, layer.out_channels, layer.kernel_size)  # drawn by its own rule
        for ours, drawn in ((layer.weight, theirs.weight), (layer.bias, theirs.bias)):
            assert ours is not None
            assert drawn is not None
            if ours.numel() > 500:
                assert float(ours.detach().abs().max()) == pytest.approx(float(drawn.detach().abs().max()), rel=0.05)
                assert float(ours.detach().std()) == pytest.approx(float(drawn.detach().std()), rel=0.1)
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm3d)]
    assert all(bool((norm.weight == 1).all()) for norm in norms)


@pytest.mark.parametrize("layer", [nn.Conv3d(4, 6, 3), nn.ConvTranspose2d(4, 6, 2), nn.Linear(5, 7)])
def test_torch_draws_the_same_numbers_as_a_layer_from_the_same_generator(layer: nn.Module) -> None:
    from lesionloss.networks.initial_weights import initialise_torch

    initialise_torch(layer, torch.Generator().manual_seed(5))
    ours = [parameter.detach().clone() for parameter in layer.parameters()]
    with torch.random.fork_rng():
        torch.manual_seed(5)
        layer.reset_parameters()  # type: ignore[operator]
    for mine, theirs in zip(ours, layer.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs.detach())


def test_xavier_has_no_bias_at_all_and_lesion_prior_stays_the_default() -> None:
    plain, prior = (
        build_network("unet2d(filters=4)", torch_generator(1), **rule) for rule in ({"initial": "xavier"}, {})
    )
    biases = [m.bias for m in plain.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    assert all(bias is not None and bool((bias == 0).all()) for bias in biases)
    ours, theirs = plain.state_dict(), prior.state_dict()
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == ["head.bias"]


@pytest.mark.parametrize(("initial", "low", "high"), [("lesion_prior", 0, 0.06), ("torch", 0.3, 0.7)])
def test_the_untrained_unet_of_cabezas_starts_undecided_in_its_own_framework(
    initial: str, low: float, high: float
) -> None:
    network = build_network("unet3d(inputs=2)", torch_generator(1), initial=initial).eval()
    with torch.inference_mode():
        p = torch.sigmoid(logits_of(network(torch.randn((1, 2, 16, 16, 16), generator=torch_generator(2))))).mean()
    assert low < float(p) < high


def test_networks_of_monai_start_as_their_classes_do() -> None:
    text = "monai:UNet(spatial_dims=2, in_channels=1, out_channels=1, channels=(4, 8), strides=(2,))"
    prior, torch_rule = (build_network(text, torch_generator(1), initial=rule) for rule in ("lesion_prior", "torch"))
    ours, theirs = prior.state_dict(), torch_rule.state_dict()
    assert len([name for name in ours if not torch.equal(ours[name], theirs[name])]) == 1  # the last bias
    with pytest.raises(UsageError, match="initial must be torch or lesion_prior, got xavier"):
        build_network(text, torch_generator(1), initial="xavier")


def test_an_unknown_rule_is_named() -> None:
    with pytest.raises(UsageError, match="no rule for initial weights is named 'pytorch'"):
        build_network("unet3d", torch_generator(1), initial="pytorch")

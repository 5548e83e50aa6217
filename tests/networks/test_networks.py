import pytest
import torch

from lesionloss.core.errors import UsageError
from lesionloss.core.randomness import torch_generator
from lesionloss.networks import build_network, check_network, logits_of, network_axes, network_multiple, seed_dropout


def parameters(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_unet3d_has_the_number_of_parameters_that_its_paper_prints() -> None:
    assert parameters(build_network("unet3d(inputs=2)", torch_generator("any"))) == 2_906_913


def test_vnet_has_the_layers_of_the_published_one() -> None:
    # 16 to 256 filters; 1, 2, 3, 3, 3 convolutions of 3³, strided and transposed ones of 2³, batch norms, 1³ head
    widths, depths = [16, 32, 64, 128, 256], [1, 2, 3, 3, 3]

    def convolution(a: int, b: int, side: int) -> int:
        return a * b * side**3 + b + 2 * b

    expected = convolution(3, 16, 3)
    for below, above, depth in zip(widths, widths[1:], depths[1:], strict=False):
        expected += convolution(below, above, 2) + depth * convolution(above, above, 3) + convolution(above, below, 2)
    expected += sum(depth * convolution(width, width, 3) for width, depth in zip(widths, depths[:4], strict=False))
    expected += 16 * 2 + 2
    assert parameters(build_network("vnet(outputs=2)", torch_generator("any"))) == expected


@pytest.mark.parametrize(("text", "total"), [("unet3d(filters=4)", 2221.98425), ("vnet(filters=2)", 8390.80401)])
def test_weights_of_plans_that_exist_stay_as_they_were(text: str, total: float) -> None:
    # sums of magnitudes, stored when the first tables were made; each part is filled by one stream in one order
    state = build_network(text, torch_generator("golden")).state_dict()
    assert sum(float(value.double().abs().sum()) for value in state.values()) == pytest.approx(total, rel=1e-7)
    first = next(iter(state.values())).flatten()[:2].tolist()
    assert first == pytest.approx([0.08369254, 0.15900715], rel=1e-6)


@pytest.mark.parametrize(
    "text", ["unet3d(filters=4, linear_up=True)", "vnet(filters=2)", "unet3d(filters=8, levels=2, outputs=3)"]
)
def test_output_has_the_shape_of_the_input(text: str) -> None:
    network = build_network(text, torch_generator("weights")).eval()
    outputs = 3 if "outputs=3" in text else 1
    assert network(torch.zeros(2, 3, 16, 32, 16)).shape == (2, outputs, 16, 32, 16)


@pytest.mark.parametrize(
    "text",
    [
        "unet3d(filters=4)",
        "vnet(filters=2)",
        "longitudinal_vnet(filters=2, residual=True)",
        "unet2d(filters=2)",
        "plain_unet(filters=2)",
        "resnet34_unet(filters=4)",
        "monai:UNet(spatial_dims=3, channels=(4, 8), strides=(2,), dropout=0.5)",
        "monai:DynUNet(spatial_dims=2, kernel_size=[3, 3, 3], strides=[1, 2, 2], upsample_kernel_size=[2, 2])",
        "monai:UNETR(img_size=16, feature_size=2, hidden_size=8, mlp_dim=8, num_heads=2)",
    ],
)
def test_same_generator_same_weights_and_no_global_randomness(text: str) -> None:
    before = torch.get_rng_state()
    first, second, other = (build_network(text, torch_generator("w", seed)).state_dict() for seed in (1, 1, 2))
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)
    assert all(bool(torch.isfinite(tensor).all()) for tensor in first.values())


def checkerboard(logits: torch.Tensor) -> float:
    """The amplitude of the pattern of period 2 (X, Y, Z), in standard deviations; a smooth map has none."""
    found = torch.tensor(0.0)
    for axis in range(3):
        line = logits.movedim(axis, 0)
        bends = line[1:-1] - (line[:-2] + line[2:]) / 2
        signs = torch.tensor([1.0, -1.0]).repeat(len(bends) // 2)[:, None, None]
        found = torch.maximum(found, (bends * signs).mean().abs() / 2)
    return float(found / logits.std())


@pytest.mark.parametrize("name", ["vnet", "longitudinal_vnet"])
def test_linear_interpolation_leaves_no_checkerboard_where_transposed_convolutions_do(name: str) -> None:
    wave = torch.sin(torch.linspace(0, torch.pi, 32))
    image = (wave[:, None, None] * wave[:, None] * wave).expand(1, 3, -1, -1, -1)
    found = {}
    for up in ("", ", linear_up=True"):
        networks = [build_network(f"{name}(filters=4{up})", torch_generator("w", seed)).eval() for seed in range(3)]
        found[up] = [checkerboard(logits_of(network(image)).detach()[0, 0, 7:-7, 7:-7, 7:-7]) for network in networks]
    assert max(found[", linear_up=True"]) < 0.01 < min(found[""])


@pytest.mark.parametrize("outputs", [1, 2, 4])
def test_an_untrained_network_expects_few_lesions(outputs: int) -> None:
    network = build_network(f"unet3d(filters=4, outputs={outputs})", torch_generator("w")).eval()
    logits = network(torch.zeros(1, 3, 8, 8, 8))
    lesion = torch.sigmoid(logits) if outputs == 1 else 1 - torch.softmax(logits, dim=1)[:, :1]
    assert float(lesion.detach().max()) == pytest.approx(0.01, rel=1e-3)


def test_dropout_follows_its_generator() -> None:
    network = build_network("vnet(filters=2)", torch_generator("w")).train()
    x = torch.randn(2, 3, 16, 16, 16, generator=torch_generator("x"))

    def output(seed: int) -> torch.Tensor:
        seed_dropout(network, torch_generator("dropout", seed))
        return network(x)

    assert torch.equal(output(1), output(1))
    assert not torch.equal(output(1), output(2))


def test_dropout_without_generator_refuses_to_draw_from_the_global_state() -> None:
    network = build_network("vnet(filters=2)", torch_generator("w")).train()
    with pytest.raises(RuntimeError, match="needs a generator"):
        network(torch.zeros(2, 3, 16, 16, 16))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("unet", "no network is named 'unet'; did you mean 'unet3d'"),
        ("unet3d(filter=8)", "no parameter 'filter'; did you mean 'filters'"),
        ("unet3d(filters='8')", "filters must be of type int, got '8'"),
        ("unet3d(filters=0)", "filters must be positive"),
        ("unet3d(filters=True)", "filters must be of type int, got True"),
        ("longitudinal_vnet(residual=1)", "residual must be of type bool, got 1"),
        ("unet3d(in_channels=2, inputs=2)", "'inputs' gives 'inputs' a second time"),
        ("plain_unet(axes=4)", "axes must be 2 or 3, got 4"),
        ("plain_unet(levels=2)", "levels must be 3 or more"),
        ("resnet34_unet(filters=6)", "filters must be a multiple of 4, got 6"),
        ("unet3d(8)", "write NAME or NAME"),
        ("unet3d(filters=__import__('os'))", "must be a plain number or word"),
        ("unet3d(**{})", "write NAME or NAME"),
        ("1 + 1", "write NAME or NAME"),
        ("unet3d(", "write NAME or NAME"),
    ],
)
def test_wrong_texts_are_explained(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message.replace("(", r"\(")):
        check_network(text)


def test_text_survives_the_check_and_tells_the_multiple() -> None:
    assert check_network("unet3d( filters = 8 )") == "unet3d(filters=8)"
    assert network_multiple("unet3d") == 8
    assert network_multiple("vnet") == 16
    assert network_multiple("unet3d(levels=3)") == 4
    assert (network_multiple("resnet34_unet"), network_axes("resnet34_unet")) == (32, 2)
    assert (network_multiple("plain_unet(axes=3, levels=3)"), network_axes("plain_unet(axes=3)")) == (4, 3)


def test_the_other_spelling_of_channels_gives_the_same_text() -> None:
    assert check_network("unet3d(in_channels=2, out_channels=4)") == "unet3d(inputs=2, outputs=4)"

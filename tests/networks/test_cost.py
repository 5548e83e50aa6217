"""What a network costs, against numbers worked out by hand; and the command that shows it."""

import json

import pytest
from typer.testing import CliRunner

from lesionloss.cli import app
from lesionloss.core.errors import UsageError
from lesionloss.networks.cost import network_cost, parse_shape


def test_two_levels_by_hand() -> None:
    found = network_cost("unet3d(inputs=2, filters=4, levels=2, group=4)", (1, 2, 4, 4, 4))
    fine, coarse = 4**3, 2**3
    first, second, third = 27 * 2 * 4 * fine, 27 * 4 * 8 * coarse, 27 * 12 * 4 * fine
    assert found.multiply_adds == first + second + third + 4 * fine
    assert {part.name: part.multiply_adds for part in found.parts} == {
        "down": first + second,
        "up": third,
        "head": 4 * fine,
    }
    weights = 27 * (2 * 4 + 4 * 8 + 12 * 4) + 4 + 8 + 4 + 2 * (4 + 8 + 4)
    assert found.parameters == weights + 4 + 1
    assert {part.name: part.parameters for part in found.parts}["head"] == 5
    # kept in float32: the input; behind each ReLU; behind each norm where a convolution or the pooling reads it; the
    # joined features; the pooling's result, and its places as 8-byte numbers; mean and scale of each norm's groups
    values = 2 * fine + (4 * fine + 4 * fine) + (4 * coarse + 4 * coarse * 2) + 8 * coarse + 12 * fine + 8 * fine
    assert found.activations == 4 * (values + 2 * (1 + 2 + 1))


def test_memory_and_work_grow_with_the_input_and_weights_do_not() -> None:
    small, twice = (network_cost("vnet(filters=2)", (images, 3, 32, 32, 32)) for images in (1, 2))
    assert twice.parameters == small.parameters
    assert twice.multiply_adds == 2 * small.multiply_adds
    assert 1.9 < twice.activations / small.activations <= 2


def test_outputs_are_named() -> None:
    found = network_cost("longitudinal_vnet(filters=2)", (2, 3, 32, 32, 32))
    assert dict(found.outputs) == dict.fromkeys(("logits", "baseline", "followup"), (2, 1, 32, 32, 32))
    deep = network_cost("plain_unet(filters=2)", (1, 3, 32, 32)).outputs
    assert deep[1:] == (("deep 1", (1, 1, 16, 16)), ("deep 2", (1, 1, 8, 8)))


def test_channels_follow_the_input_where_the_text_says_none() -> None:
    assert network_cost("unet3d", (1, 2, 32, 32, 32)).parameters == 2_906_913
    assert network_cost("unet3d", (1, 2, 32, 32, 32)).text == "unet3d(inputs=2)"
    assert network_cost("unet2d").input == (1, 3, 256, 256)


@pytest.mark.parametrize(
    ("text", "shape", "message"),
    [
        ("unet3d", "1x3x33x32x32", "needs sides that are multiples of 8, got 33×32×32"),
        ("unet2d", "1x3x32x32x32", "takes 2 axes of space"),
        ("unet3d(inputs=2)", "1x3x32x32x32", "takes 2 channels, but the input 1×3×32×32×32 has 3"),
        ("vnet", "1x3x16x16x16", "can't take an input of 1×3×16×16×16: Expected more than 1 value"),
        ("vnet", "3x80x80x80", "takes 3 axes of space, but the input 3×80×80×80 has 2"),
        ("vnet", "1x3x0x80x80", "--input must be like"),
        ("vnet", "80", "--input must be like"),
    ],
)
def test_inputs_that_do_not_fit_are_explained(text: str, shape: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        network_cost(text, parse_shape(shape))


def test_the_command_lists_and_shows() -> None:
    run = CliRunner().invoke(app, ["networks"], env={"COLUMNS": "160"})
    assert run.exit_code == 0
    for name in ("unet3d", "vnet", "longitudinal_vnet", "unet2d", "plain_unet", "resnet34_unet"):
        assert name in run.stdout
    assert "9,484,451" in run.stdout
    run = CliRunner().invoke(app, ["networks", "unet3d", "--input", "1x2x32x32x32"], env={"COLUMNS": "160"})
    assert "2,906,913" in run.stdout
    assert "Cabezas & Diez" in run.stdout
    run = CliRunner().invoke(app, ["networks", "unet3d", "--input", "1x2x32x32x32", "--json"])
    record = json.loads(run.stdout)[0]
    assert record["multiply_adds"] == 5_210_374_144
    assert record["outputs"] == [["logits", [1, 1, 32, 32, 32]]]
    assert "Examples" in CliRunner().invoke(app, ["networks", "--help"]).stdout


def test_the_list_takes_an_input_where_it_fits() -> None:
    run = CliRunner().invoke(app, ["networks", "--input", "2x2x32x32x32", "--json"])
    inputs = {record["text"]: record["input"] for record in json.loads(run.stdout)}
    assert inputs["unet3d(inputs=2)"] == [2, 2, 32, 32, 32]
    assert inputs["unet2d"] == [1, 3, 256, 256]

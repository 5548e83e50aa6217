"""Others' weights in our networks, files that are no weights, and parts that must not move."""

import pickle
import re
import struct
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from typer.testing import CliRunner

from coactseg_by_hand import Published, published_shapes, random_state
from lesionloss.cli import app
from lesionloss.core.errors import DataError, UsageError
from lesionloss.core.randomness import torch_generator
from lesionloss.networks import Outputs, build_network, logits_of, seed_dropout
from lesionloss.networks.checkpoint_names import coactseg_name, coactseg_single_name, resnet34_name
from lesionloss.networks.pretrained_weights import freeze, load_weights, name_map
from lesionloss.networks.tensor_files import read_tensors

TEXT = "longitudinal_vnet(outputs=2, filters=2"


@pytest.fixture
def published(tmp_path: Path) -> tuple[Path, dict[str, Tensor]]:
    state = random_state(published_shapes(3, 2, 2), torch_generator("state"))
    torch.save(state, tmp_path / "vnet_best_model.pth")
    return tmp_path / "vnet_best_model.pth", state


def test_the_published_network_has_the_parameters_of_ours() -> None:
    counted = {"running_mean", "running_var", "num_batches_tracked"}
    shapes = published_shapes(3, 2, 16)
    total = sum(torch.Size(shape).numel() for name, shape in shapes.items() if name.split(".")[-1] not in counted)
    network = build_network("longitudinal_vnet(outputs=2)", torch_generator("w"))
    assert total == sum(parameter.numel() for parameter in network.parameters()) == 9_484_502


@pytest.mark.parametrize(
    ("options", "slope", "inner", "residual", "deep"),
    [
        ("", 0.0, 0.0, False, False),
        (", leaky=0.01, inner_relu=True, deep_skip=True", 0.01, 0.0, False, True),
        (", leaky=0.01, residual=True, deep_skip=True", 0.01, 0.01, True, True),
    ],
)
def test_published_weights_give_the_published_output(
    tmp_path: Path, options: str, slope: float, inner: float, residual: bool, deep: bool
) -> None:
    state = random_state(published_shapes(3, 2, 2, residual=residual), torch_generator("state"))
    path = tmp_path / "vnet_best_model.pth"
    torch.save(state, path)
    network = build_network(f"{TEXT}{options})", torch_generator("w")).eval()
    report = load_weights(network, path, coactseg_name)
    assert (len(report.taken), report.left, report.missing) == (len(state), (), ())
    x = torch.randn(1, 3, 16, 32, 16, generator=torch_generator("x"))
    reference = Published(state, slope=slope, inner_slope=inner, residual=residual, deep=deep)
    with torch.no_grad():
        found, (baseline, followup, new) = network(x), reference(x)
    for ours, theirs in ((found.baseline, baseline), (found.followup, followup), (found.logits, new)):
        assert float(theirs.std()) > 1e-3
        assert torch.allclose(ours, theirs, atol=1e-6, rtol=1e-5)


def test_two_classes_in_a_file_become_one_channel_with_the_same_probabilities(
    published: tuple[Path, dict[str, Tensor]],
) -> None:
    path, state = published
    network = build_network("longitudinal_vnet(filters=2)", torch_generator("w")).eval()
    report = load_weights(network, path, coactseg_name)
    assert sum(row.remark == "two classes reduced to one channel" for row in report.taken) == 6
    x = torch.randn(1, 3, 16, 16, 16, generator=torch_generator("x"))
    with torch.no_grad():
        new = Published(state, slope=0.0, inner_slope=0.0, residual=False, deep=False)(x)[2]
        assert torch.allclose(network(x).logits.sigmoid(), new.softmax(1)[:, 1:], atol=1e-6)


def test_what_was_left_and_what_is_missing_is_reported(tmp_path: Path) -> None:
    state = random_state(published_shapes(3, 2, 2), torch_generator("state"))
    state["decoder.crossAtt_5.query_conv.weight"] = torch.zeros(1, 16, 3, 3, 3)
    state["encoder.block_one.conv.0.weight"] = torch.zeros(2, 1, 3, 3, 3)
    torch.save(
        {"epoch": 3, "state_dict": {f"module.{name}": value for name, value in state.items()}}, tmp_path / "a.pth"
    )
    network = build_network(TEXT + ", residual=True)", torch_generator("w"))
    report = load_weights(network, tmp_path / "a.pth", coactseg_name)
    assert {row.theirs: row.remark for row in report.left} == {
        "decoder.crossAtt_5.query_conv.weight": "no counterpart",
        "encoder.block_one.conv.0.weight": "the network has 2×3×3×3×3",
    }
    missing = {row.ours for row in report.missing}
    assert "encoder.blocks.0.convolutions.0.weight" in missing
    assert "encoder.blocks.0.shortcut.weight" in missing
    assert "2 left in the file" in report.summary()
    kinds = [row["what"] for row in report.table()]
    assert (kinds.count("taken"), kinds.count("left")) == (len(state) - 2, 2)
    assert kinds.count("missing") == len(missing)
    own = network.state_dict()["encoder.down.0.0.weight"]
    assert torch.equal(own, state["encoder.block_one_dw.conv.0.weight"])


def test_the_single_head_network_takes_all_but_the_branches(published: tuple[Path, dict[str, Tensor]]) -> None:
    path, state = published
    network = build_network("vnet(outputs=2, filters=2)", torch_generator("w"))
    report = load_weights(network, path, coactseg_single_name)
    own = network.state_dict()
    assert torch.equal(own["decoder.3.6.weight"], state["decoder.block_six.conv.6.weight"])
    assert torch.equal(own["up.0.1.running_mean"], state["decoder.block_eight_up.conv.1.running_mean"])
    assert {row.ours.split(".")[0] for row in report.missing} == {"decoder", "head"}
    assert all(row.ours.startswith(("decoder.0.", "head.")) for row in report.missing)
    assert all(row.theirs.split(".")[1].startswith(("block_nine", "block_c2f", "out_conv")) for row in report.left)


def test_our_own_weights_come_back_and_resnet_weights_fit_the_encoder(tmp_path: Path) -> None:
    first, second = (build_network("resnet34_unet(filters=4)", torch_generator("w", seed)) for seed in (1, 2))
    save_file(first.state_dict(), tmp_path / "model.safetensors")
    report = load_weights(second, tmp_path / "model.safetensors")
    assert not report.left
    assert not report.missing
    assert all(torch.equal(value, second.state_dict()[name]) for name, value in first.state_dict().items())
    classifier = {
        name.removeprefix("encoder."): value for name, value in first.state_dict().items() if "encoder" in name
    }
    torch.save(classifier | {"fc.weight": torch.zeros(10, 32), "fc.bias": torch.zeros(10)}, tmp_path / "resnet34.pth")
    third = build_network("resnet34_unet(filters=4)", torch_generator("w", 3))
    report = load_weights(third, tmp_path / "resnet34.pth", resnet34_name)
    assert [row.theirs for row in report.left] == ["fc.weight", "fc.bias"]
    assert {row.ours.split(".")[0] for row in report.missing} == {"decoder", "head", "deep_heads"}


def test_published_resnet_names_are_those_of_the_encoder() -> None:
    names = list(build_network("resnet34_unet(filters=4)", torch_generator("w")).state_dict())
    for name in (
        "conv1.weight",
        "bn1.running_var",
        "layer1.2.bn2.bias",
        "layer2.0.downsample.1.weight",
        "layer4.2.conv2.weight",
    ):
        assert f"encoder.{name}" in names


def test_the_command_shows_what_fits(published: tuple[Path, dict[str, Tensor]]) -> None:
    path, _ = published
    arguments = ["networks", "vnet(filters=2)", "--weights", str(path), "--layout", "coactseg_single"]
    run = CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})
    assert run.exit_code == 0
    assert re.search(r"left +decoder\.out_conv_3\.bias", run.stdout)
    assert "encoder.block_one.conv.0.weight" in run.stdout
    assert "tensors taken" in run.stdout
    run = CliRunner().invoke(app, ["networks", "--weights", str(path)])
    assert isinstance(run.exception, UsageError)


class Innocent:
    """A class that a pickle would have to call."""


def damaged(kind: str, path: Path) -> None:
    state = {"a": torch.zeros(3)}
    if kind == "absent":
        return
    if kind == "pickle":
        path.write_bytes(pickle.dumps({"a": 1}))
    elif kind == "object":
        torch.save({"a": torch.zeros(3), "b": Innocent()}, path)
    elif kind == "text":
        path.write_text("these are no weights")
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "numbers":
        torch.save({"epoch": 1}, path)
    elif kind == "tensor":
        torch.save(torch.zeros(3), path)
    elif kind == "half":
        torch.save(state, path)
        path.write_bytes(path.read_bytes()[:300])
    elif kind == "bomb":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("archive/data.pkl", bytes(10_000_000))
    elif kind == "header":
        path.write_bytes(struct.pack("<Q", 2**40) + b"{" + b" " * 20)
    elif kind == "nan":
        torch.save({"head.bias": torch.tensor([float("nan")])}, path)
    else:
        torch.save(state, path)


@pytest.mark.parametrize(
    ("kind", "error", "message"),
    [
        ("absent", UsageError, "no weights file"),
        ("pickle", DataError, "holds more than tensors"),
        ("object", DataError, "holds more than tensors, which could run code"),
        ("text", DataError, "not a readable weights file"),
        ("empty", DataError, "not a readable weights file"),
        ("numbers", DataError, "holds no tensors; its keys are epoch"),
        ("tensor", DataError, "holds a Tensor; named tensors"),
        ("half", DataError, "not a readable weights file"),
        ("bomb", DataError, "unpacks to 10000000 bytes from"),
        ("header", DataError, "not a readable safetensors file"),
        ("nan", DataError, "'head.bias' holds NaN"),
        ("other", DataError, "none of its 1 tensors fits the network; 'a': no such part"),
    ],
)
def test_files_that_are_no_weights_get_one_clear_line(
    tmp_path: Path, kind: str, error: type[Exception], message: str
) -> None:
    damaged(kind, tmp_path / "a.pth")
    network = build_network("unet3d(filters=2, levels=2)", torch_generator("w"))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(error, match=message) as caught:
        load_weights(network, tmp_path / "a.pth")
    assert "\n" not in str(caught.value)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_two_tensors_for_one_place_are_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1), "b": torch.zeros(1)}, tmp_path / "a.pth")
    network = build_network("unet3d(filters=2, levels=2)", torch_generator("w"))
    with pytest.raises(DataError, match=r"'b' and 'a' both map to 'head\.bias'"):
        load_weights(network, tmp_path / "a.pth", lambda name: "head.bias")


def test_prefixes_of_wrappers_are_taken_off(tmp_path: Path) -> None:
    torch.save({"model": {"_orig_mod.head.bias": torch.zeros(1), "_orig_mod.x": torch.zeros(2)}}, tmp_path / "a.pth")
    assert set(read_tensors(tmp_path / "a.pth")) == {"head.bias", "x"}


def test_an_unknown_layout_names_the_nearest() -> None:
    assert name_map("coactseg") is coactseg_name
    with pytest.raises(UsageError, match="no layout of weights is named 'coactsegg'; did you mean 'coactseg'"):
        name_map("coactsegg")


def steps(network: nn.Module, count: int) -> None:
    """A few steps with momentum and weight decay, which would move anything that can move."""
    optimiser = torch.optim.AdamW(network.parameters(), lr=0.1, weight_decay=0.5)
    for step in range(count):
        seed_dropout(network, torch_generator("dropout", step))
        outputs = network.train()(torch.randn(2, 3, 16, 16, 32, generator=torch_generator("x", step)))
        extra = torch.zeros(())
        if isinstance(outputs, Outputs) and outputs.baseline is not None and outputs.followup is not None:
            extra = (outputs.baseline + outputs.followup).square().mean()
        optimiser.zero_grad(set_to_none=True)
        (logits_of(outputs).square().mean() + extra).backward()
        optimiser.step()


@pytest.mark.parametrize(
    ("text", "pattern", "part"),
    [
        ("longitudinal_vnet(filters=2)", "encoder.*", "encoder."),
        ("vnet(filters=2)", "encoder.[01].*", ("encoder.0.", "encoder.1.")),
        ("monai:UNet(spatial_dims=3, channels=(4, 8), strides=(2,), norm='batch')", "body.model.0.*", "body.model.0."),
    ],
)
def test_frozen_weights_and_statistics_stay_and_the_others_move(
    text: str, pattern: str, part: str | tuple[str, ...]
) -> None:
    network = build_network(text, torch_generator("w"))
    frozen = freeze(network, [pattern])
    assert frozen
    assert all(name.startswith(part) for name in frozen)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    steps(network, 2)
    after = network.state_dict()
    kept = [name for name in before if name.startswith(part)]
    assert any(name.endswith("running_mean") for name in kept)
    assert all(torch.equal(before[name], after[name]) for name in kept)
    assert all(
        not torch.equal(value, after[name]) for name, value in before.items() if name not in kept and value.ndim > 1
    )


def test_a_pattern_that_matches_nothing_is_an_error() -> None:
    network = build_network("longitudinal_vnet(filters=2)", torch_generator("w"))
    with pytest.raises(UsageError, match=r"'encoders\.\*' matches no parameter; the network's parts: decoder, encoder"):
        freeze(network, ["encoders.*"])

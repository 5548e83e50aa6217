"""Networks of the user's: by module and class, or registered in a file; what is found by trying, and what may run."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

import lesionloss as ll
import miniature
from lesionloss import DataError, UsageError
from lesionloss.cli import app
from lesionloss.core.files import sha256_of
from lesionloss.core.randomness import torch_generator
from lesionloss.networks import (
    NETWORKS,
    as_outputs,
    build_network,
    check_network,
    code_digest,
    network_axes,
    network_channels,
    network_multiple,
    parse_network,
    seed_dropout,
    with_channels,
)
from lesionloss.networks.bundle import BundleRecord, load_bundle, save_bundle
from lesionloss.networks.initial_weights import PRIOR
from lesionloss.training.start import weights_hash

MODULE = '''
import torch
from torch import nn
from torch.nn.functional import max_pool2d, interpolate

print("this module runs")


class Flat(nn.Module):
    """A U of two levels for slices."""

    def __init__(self, in_chans, num_classes, width=4, dropout=0.0):
        super().__init__()
        self.one = nn.Conv2d(in_chans, width, 3, padding=1)
        self.two = nn.Conv2d(width, width, 3, padding=1)
        self.drop = nn.Dropout2d(dropout)
        self.scale = nn.Parameter(torch.randn(1))
        self.end = nn.Conv2d(2 * width, num_classes, 1)

    def forward(self, x):
        x = self.one(x)
        y = interpolate(self.drop(self.two(max_pool2d(x, 2))), scale_factor=2) * self.scale
        return self.end(torch.cat([x, y], 1))


class Fixed(nn.Module):
    """Two channels in, three maps out, whatever is asked."""

    def __init__(self):
        super().__init__()
        self.one = nn.Conv3d(2, 4, 3, padding=1)
        self.end = nn.Conv3d(4, 3, 1)

    def forward(self, x):
        return [self.end(self.one(x)), self.end(self.one(x))[..., ::2, ::2, ::2]]


class Classifier(nn.Module):
    def __init__(self, in_channels=1, out_channels=1):
        super().__init__()
        self.one = nn.Conv3d(in_channels, out_channels, 3)

    def forward(self, x):
        return self.one(x).mean((2, 3, 4))


class Broken(nn.Module):
    def __init__(self, in_channels=1):
        raise ValueError("not today")


not_a_network = 3
'''
FLAT = "own_nets_of_test:Flat(width=3, dropout=0.5)"


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    path = tmp_path / "own_nets_of_test.py"
    path.write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr("lesionloss.networks.own_networks._allowed", set())
    yield path
    sys.modules.pop("own_nets_of_test", None)


@pytest.mark.usefixtures("module")
def test_a_class_by_its_module_is_a_network_like_the_others() -> None:
    assert check_network(f" {FLAT} ") == FLAT
    assert (network_axes(FLAT), network_multiple(FLAT), network_channels(FLAT)) == (2, 2, (3, 1))
    before = torch.get_rng_state()
    one, same, other = (build_network(FLAT, torch_generator(name)) for name in ("w", "w", "v"))
    assert torch.equal(before, torch.get_rng_state())
    assert weights_hash(one) == weights_hash(same) != weights_hash(other)
    x = torch.randn(2, 3, 8, 8, generator=torch_generator("x"))
    assert torch.sigmoid(one.eval()(torch.zeros_like(x))).mean().item() == pytest.approx(PRIOR, rel=0.3)

    def trained(seed: int) -> Tensor:
        seed_dropout(one.train(), torch_generator("dropout", seed))
        return as_outputs(one(x)).logits

    assert torch.equal(trained(1), trained(1))
    assert not torch.equal(trained(1), trained(2))
    torch_start = build_network(FLAT, torch_generator("w"), initial="torch").eval()
    assert abs(torch.sigmoid(torch_start(torch.zeros_like(x))).mean().item() - PRIOR) > 0.1


def test_channels_follow_the_data_unless_the_text_states_them(module: Path) -> None:
    assert with_channels(FLAT, ["t1"], ["a", "b"]) == FLAT[:-1] + ", in_chans=1, num_classes=3)"
    assert with_channels(FLAT, ["a", "b", "c"], ["lesion"]) == FLAT  # one map fits one class
    stated = FLAT[:-1] + ", in_chans=2)"
    assert with_channels(stated, ["t1"], ["lesion"]) == stated
    assert with_channels("unet3d(filters=4)", ["t1"], ["a", "b"]) == "unet3d(filters=4, inputs=1, outputs=3)"
    assert with_channels("monai:BasicUNet", ["t1"], ["a"]) == "monai:BasicUNet(in_channels=1)"
    fixed = "own_nets_of_test:Fixed"
    assert (network_axes(fixed), network_multiple(fixed), network_channels(fixed)) == (3, 1, (2, 3))
    assert with_channels(fixed, ["t1"], ["a"]) == fixed
    assert len(as_outputs(build_network(fixed, torch_generator("w"))(torch.zeros(1, 2, 4, 4, 4))).deep) == 1
    network = build_network(FLAT, torch_generator("w"), channels=["t1"], classes=["a", "b"]).eval()
    assert network(torch.zeros(1, 1, 8, 8)).shape == (1, 3, 8, 8)
    with pytest.raises(UsageError, match="give channels and classes, or neither"):
        build_network(FLAT, torch_generator("w"), channels=["t1"])
    assert code_digest(FLAT) == sha256_of(module)
    assert code_digest("monai:BasicUNet") == code_digest("unet3d") == ""


@pytest.mark.usefixtures("module")
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("own_nets_of_test:Flatt", "no class 'Flatt' of an nn.Module; did you mean 'Flat'"),
        ("own_nets_of_test:not_a_network", "no class 'not_a_network' of an nn.Module"),
        ("own_nets_of_test:Flat(wide=3)", "no parameter 'wide'; did you mean 'width'"),
        ("own_nets_of_test:Flat(width='a')", "own_nets_of_test:Flat refuses these values"),
        ("own_nets_of_test:Broken", "refuses these values: not today"),
        ("own_nets_of_test:Classifier", "gives no logits on its input's grid"),
        ("no_such_package.nets:UNet", r"importing no_such_package.nets fails \(ModuleNotFoundError.*--with FILE.py"),
        (".own_nets_of_test:Flat", "is no name of a module"),
        ("own_nets_of_test:Flat(width=__import__('os'))", "must be a plain number or word"),
        ("own_nets_of_test:Flat(3)", "have no names"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        check_network(text)
    assert "\n" not in str(caught.value)


def test_a_colon_in_a_value_names_no_module() -> None:
    assert parse_network("unet3d(filters='a:b')").library == ""
    assert parse_network("monai:UNet(act='a:b')").library == "monai"


def test_a_registered_function_is_a_network_and_replaces_itself() -> None:
    def make(inputs: int = 1, outputs: int = 2) -> nn.Module:
        """Made: by a function."""
        return nn.Conv2d(inputs, outputs, 1)

    ll.network("made", source="a test")(make)
    try:
        ll.network("made", source="a test")(make)
        assert network_channels("made") == (1, 2)
        assert NETWORKS.names()[-1] == "made"
        with pytest.raises(UsageError, match="a network named 'unet3d' exists already"):
            ll.network("unet3d", source="a test")(make)
    finally:
        NETWORKS.remove("made")

    def silent(inputs: int = 1) -> nn.Module:
        return nn.Conv2d(inputs, 1, 1)

    for name, source, words in (("x y", "here", "Python identifier"), ("x", " ", "a source"), ("x", "h", "docstring")):
        with pytest.raises(UsageError, match=words):
            ll.network(name, source=source)(silent)

    def numbers(inputs: int = 1) -> Any:
        """Numbers: no network."""
        return inputs

    ll.network("numbers", source="a test")(numbers)
    try:
        with pytest.raises(UsageError, match=r"must be an nn\.Module; its function gives a int"):
            check_network("numbers")
    finally:
        NETWORKS.remove("numbers")


def bundle_with(folder: Path, text: str) -> Path:
    """A model whose record names this network, as a stranger could write it."""
    network = build_network("unet2d(inputs=3, filters=2, levels=2)", torch_generator("w"))
    plain = BundleRecord(network="unet2d(inputs=3, filters=2, levels=2)", channels=("a", "b", "c"), window=(16, 16))
    save_bundle(folder, network, plain)
    record = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps(record | {"sha256": "", "network": text}))
    return folder


def test_a_model_never_runs_code_that_its_record_names(
    module: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = bundle_with(tmp_path / "model", "own_nets_of_test:Flat(width=3)")
    words = r"own_nets_of_test:Flat is code, which a model does not get run; .*add --with own_nets_of_test"
    for _ in range(2):
        with pytest.raises(DataError, match=words):
            load_bundle(folder)
    result = CliRunner().invoke(app, ["predict", str(folder), "--cohort", "x", "--out", str(tmp_path / "out")])
    assert isinstance(result.exception, UsageError | DataError)
    assert "own_nets_of_test" not in sys.modules
    assert "this module runs" not in capfd.readouterr().out
    own = build_network("own_nets_of_test:Flat(width=3)", torch_generator("w"))  # named by the user: it is imported
    record = BundleRecord(network="own_nets_of_test:Flat(width=3)", channels=("a", "b", "c"), window=(8, 8))
    save_bundle(tmp_path / "own", own, record)
    assert weights_hash(load_bundle(tmp_path / "own").network) == weights_hash(own)


def test_with_allows_the_module_of_a_model(module: Path, tmp_path: Path) -> None:
    folder = bundle_with(tmp_path / "model", "own_nets_of_test:Flat(width=3)")
    result = CliRunner().invoke(
        app, ["--with", "own_nets_of_test", "predict", str(folder), "--cohort", "absent.npz", "--out", str(tmp_path)]
    )
    assert "which a model does not get run" not in str(result.exception)
    with pytest.raises(DataError, match="not the weights of own_nets_of_test:Flat"):
        load_bundle(folder)
    wrong = CliRunner().invoke(app, ["--with", "no_such_module", "networks"])
    assert "--with no_such_module: importing no_such_module fails" in str(wrong.exception)


def test_the_command_line_takes_channels_from_the_data(module: Path, tmp_path: Path) -> None:
    miniature.hippocampus(tmp_path / "data")
    result = CliRunner().invoke(
        app, ["networks", "unet3d(filters=4)", "--data", str(tmp_path / "data"), "--json"], catch_exceptions=False
    )
    (found,) = json.loads(result.stdout)
    assert found["text"] == "unet3d(filters=4, inputs=1, outputs=3)"
    assert found["outputs"][0][1][:2] == [1, 3]
    assert "1 channels (" in result.stderr
    listed = CliRunner().invoke(app, ["networks", "--data", str(tmp_path / "data")], env={"COLUMNS": "200"})
    assert "vnet(inputs=1, outputs=3)" in listed.output
    shown = CliRunner().invoke(app, ["networks", FLAT], env={"COLUMNS": "200"})
    assert "A U of two levels for slices" in shown.output

"""A model in a folder: what was saved comes back, and nothing else gets further than a clear refusal."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from lesionloss import DataError, UsageError
from lesionloss.core.randomness import torch_generator
from lesionloss.inference.run_network import probabilities_of
from lesionloss.networks import build_network
from lesionloss.networks.bundle import FORMAT, BundleRecord, load_bundle, read_record, save_bundle
from lesionloss.networks.mean_network import MeanNetwork

TEXT = "unet3d(filters=4, levels=2)"
RECORD = BundleRecord(
    network=TEXT,
    channels=("baseline", "followup", "difference"),
    preparation={"margin_voxels": 3},
    window=(16, 16, 16),
    threshold=0.4,
    training={"loss": "dice", "cases": ["a"]},
    licence="CC-BY-4.0",
    data_note="synthetic",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_bundle(tmp_path / "model", build_network(TEXT, torch_generator("w")), RECORD)
    return tmp_path / "model"


def changed(folder: Path, changes: dict[str, Any]) -> None:
    record = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps(record | {"sha256": ""} | changes))


def reweighed(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors")
    changed(folder, {"weights_sha256": ""})


def test_several_networks_are_one_whose_probability_is_their_mean(tmp_path: Path) -> None:
    images = torch.rand(1, 3, 16, 16, 16, generator=torch_generator("images"))
    for outputs in (1, 3):
        text = f"unet3d(filters=4, levels=2, outputs={outputs})"
        members = [build_network(text, torch_generator("w", seed), initial="torch") for seed in range(3)]
        record = RECORD.model_copy(update={"network": text, "members": 3})
        save_bundle(tmp_path / text, MeanNetwork(members), record)
        network = load_bundle(tmp_path / text).network
        with torch.inference_mode():
            joined = probabilities_of(network(images), 1)
            each = torch.stack([probabilities_of(member(images), 1) for member in members])
        torch.testing.assert_close(joined, each.mean(0))
        assert (each.std(0) > 1e-3).any()
        assert network.multiple == members[0].multiple
        with pytest.raises(DataError, match="lacks"):
            changed(tmp_path / text, {"members": 4})
            load_bundle(tmp_path / text)


def test_weights_of_half_precision_come_back_rounded(folder: Path) -> None:
    network = build_network(TEXT, torch_generator("w"))
    whole = (folder / "model.safetensors").stat().st_size
    save_bundle(folder, network, RECORD, half=True)
    assert (folder / "model.safetensors").stat().st_size < 0.6 * whole
    stored = load_bundle(folder).network.state_dict()
    assert all(torch.equal(part.half().float(), stored[name]) for name, part in network.state_dict().items())


@pytest.mark.parametrize(
    "text", [TEXT, "longitudinal_vnet(filters=2)", "monai:UNet(spatial_dims=3, channels=(4, 8), strides=(2,))"]
)
def test_a_bundle_comes_back_as_it_was(text: str, tmp_path: Path) -> None:
    network = build_network(text, torch_generator("w"))
    written = save_bundle(tmp_path / "b", network, RECORD.model_copy(update={"network": text}))
    for place in (tmp_path / "b", tmp_path / "b" / "model.json"):
        bundle = load_bundle(place)
        assert bundle.record == written
        assert not bundle.network.training
        states = zip(network.state_dict().items(), bundle.network.state_dict().items(), strict=True)
        assert all(name == other and torch.equal(a, b) for (name, a), (other, b) in states)
    assert written.licence == "CC-BY-4.0"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"format": FORMAT + 1}, f"format {FORMAT + 1}, this lesionloss reads {FORMAT}; install a newer"),
        ({"format": 2}, "a model of lesionloss 0.1 (format 2), which this version can't read; train it again"),
        ({"format": "2"}, "format must be a whole number"),
        ({"format": True}, "format must be a whole number"),
        ({"network": "__import__('os').system('true')"}, "network: "),
        ({"network": "unet3d(filters=4, levels=2).x"}, "network: "),
        ({"network": "unet9d"}, "no network is named 'unet9d'"),
        ({"network": "unet3d(filters=100000000)"}, "a number above"),
        ({"network": "monai:UNet(spatial_dims=3, channels=(4, 8), strides=(2,), num_res_units=10**9)"}, "network: "),
        ({"network": "monai:UNet(spatial_dims=3, channels=(4, 8), strides=(2,), num_res_units=99999)"}, "above"),
        ({"network": "-" * 9000 + "1"}, "network"),
        ({"network": "unet3d(filters=8, levels=2)"}, "fetch the model again"),
        ({"channels": []}, "channels"),
        ({"threshold": 1.5}, "threshold"),
        ({"threshold": float("nan")}, "threshold"),
        ({"window": [0, 8, 8]}, "window"),
        ({"run_this": "rm"}, "unknown key run_this; known: format, network"),
        ({"weights": "../other/model.safetensors"}, "weights: must be the name of a file beside"),
        ({"weights": "/etc/passwd"}, "weights: must be the name"),
        ({"weights": "absent.safetensors"}, "missing"),
        ({"weights_sha256": "0" * 64}, "not the file that"),
    ],
)
def test_a_record_that_cannot_be_believed_is_refused(folder: Path, changes: dict[str, Any], says: str) -> None:
    changed(folder, changes)
    with pytest.raises(DataError, match=re.escape(says)) as caught:
        load_bundle(folder)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["", "{", "[]", "[" * 100_000, " " * 2_000_000, "\x00", '{"format": 3}'])
def test_a_damaged_record_is_refused(folder: Path, content: str) -> None:
    (folder / "model.json").write_text(content)
    with pytest.raises(DataError, match=r"model\.json"):
        load_bundle(folder)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda w: w.pop(next(iter(w))), "lacks"),
        (lambda w: w.update(more=torch.zeros(1)), "holds unknown more"),
        (lambda w: w.update({k: v.double() for k, v in w.items()}), "F64"),
        (lambda w: w.update({k: v[None] for k, v in w.items()}), "F32 (1,"),
        (lambda w: w.update({k: v * float("nan") for k, v in w.items()}), "NaN"),
    ],
)
def test_weights_that_do_not_fit_are_refused(folder: Path, change: Callable[..., object], says: str) -> None:
    reweighed(folder, change)
    with pytest.raises(DataError, match=re.escape(says)):
        load_bundle(folder)


@pytest.mark.parametrize("damage", [lambda c: c[:-10], lambda c: b"", lambda c: b"\xff" * 8 + c[8:], lambda c: c[8:]])
def test_damaged_weights_are_refused(folder: Path, damage: Callable[[bytes], bytes]) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match="not the file that"):
        load_bundle(folder)
    changed(folder, {"weights_sha256": ""})
    with pytest.raises(DataError, match="safetensors"):
        load_bundle(folder)


@pytest.mark.parametrize("name", ["model.safetensors", "model.json"])
def test_links_out_of_the_folder_are_refused(folder: Path, name: str) -> None:
    (folder / name).rename(folder.parent / name)
    (folder / name).symlink_to(folder.parent / name)
    with pytest.raises(DataError, match="outside its folder"):
        load_bundle(folder)


def test_what_is_no_model_says_what_one_is(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such folder; a model is"):
        read_record(tmp_path / "absent")
    with pytest.raises(UsageError, match="no model; a model is"):
        read_record(tmp_path)
    run = tmp_path / "run" / "trials"
    run.mkdir(parents=True)
    folder.rename(run / "abc")
    with pytest.raises(UsageError, match=r"a run with 1 models; name one of them, e\.g\. .*trials/abc"):
        read_record(tmp_path / "run")

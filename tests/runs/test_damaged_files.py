"""Whatever bits are flipped and wherever a file ends: one line of ours, or the content that was written."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from lesionloss.bench.bookkeeping.trial_list import read_trial_list
from lesionloss.bench.plan import Plan
from lesionloss.bench.run_cohort import read_run_cohort
from lesionloss.core.errors import DataError, LesionLossError
from lesionloss.core.npz_files import read_npz
from lesionloss.data.cohort_index import load_index
from lesionloss.data.prepared import load_channels, load_prepared, load_record
from lesionloss.networks.bundle import load_bundle
from lesionloss.networks.tensor_files import read_tensors
from lesionloss.runs.run_files import read_arrays, read_json, read_toml
from lesionloss.runs.scores import read_scores
from lesionloss.training.checkpoint import checksum, read
from tiny_runs import network_folder

Reader = Callable[[Path], object]


def _prepared(path: Path) -> object:
    load_channels(path)
    load_record(path)
    return load_prepared(path).content_sha256


def _arrays(path: Path) -> object:
    return {name: array.tobytes() for name, array in read_arrays(path).items()}


def _checkpoint(path: Path) -> object:
    tensors, record = read(path)
    return checksum(json.dumps(record), tensors)


def _weights(path: Path) -> object:
    load_bundle(path.parent)
    return None


CHECKED: dict[str, Reader] = {  # what is read is what was written
    "cohort/*.npz": _prepared,
    "predictions/*.npz": _arrays,
    "step-1.safetensors": _checkpoint,
    "trial_list.json": lambda path: read_trial_list(path.parent),
    "model.json": _weights,
    "model.safetensors": _weights,
}
READABLE: dict[str, Reader] = {  # checked by the manifest that lists them
    "plan.toml": Plan.load,
    "cohort/index.json": lambda path: (load_index(path.parent), read_run_cohort(path.parent.parent)),
    "scores.csv": read_scores,
    "trial.toml": read_toml,
    "machine.json": read_json,
    "history.csv": lambda path: None,
    "MODEL.safetensors": read_tensors,
}


def _file(finished: Path, name: str) -> Path:
    if name == "step-1.safetensors":
        path, tensors = finished / name, {"a": torch.arange(12.0).reshape(3, 4), "b": torch.arange(5)}
        text = json.dumps({"format": 2, "key": "k", "step": 1})
        save_file(tensors, path, metadata={"record": text, "sha256": checksum(text, tensors)})
        return path
    places = [*finished.glob(name), *network_folder(finished).glob(name.lower())]
    return sorted(places)[0]


@pytest.mark.parametrize("name", [*CHECKED, *READABLE])
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), near=st.sampled_from((0, 300, -800)), bit=st.integers(-1, 7))
def test_a_damaged_file_is_one_line_or_what_it_was(
    finished: Path, name: str, place: float, near: int, bit: int
) -> None:
    """`near`: anywhere, in the first 300 bytes or in the last 800, where headers are; bit -1: the file ends there."""
    reader, path = (CHECKED | READABLE)[name], _file(finished, name)
    whole = path.read_bytes()
    before = reader(path)
    span = range(len(whole))[near:] if near < 0 else range(len(whole))[: near or None]
    where = span[int(place * len(span))]
    damaged = whole[:where] if bit < 0 else whole[:where] + bytes([whole[where] ^ 1 << bit]) + whole[where + 1 :]
    try:
        path.write_bytes(damaged)
        try:
            now = reader(path)
        except LesionLossError as error:
            message = str(error)
        else:
            message = ""
            assert name in READABLE or now == before
    finally:
        path.write_bytes(whole)
    assert "\n" not in message


def _archive(path: Path, content: bytes, compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("probability.npy", content)
    return path


def _npy(array: Any) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


WHOLE = _npy(np.zeros((8, 8), np.float32))


@pytest.mark.parametrize(
    "content",
    [
        WHOLE.replace(b"(8, 8)", b"(8, 4)"),
        WHOLE.replace(b"(8, 8)", b"(8, 9)"),
        WHOLE.replace(b"(8, 8)", b"(8, \x00"),
        WHOLE.replace(b"(8, 8), }", b"(8, 10000000000000000000), }"),
        WHOLE.replace(b"'<f4'", b"'|O' "),
        WHOLE[:20],
        b"",
    ],
)
def test_a_header_that_does_not_fit_its_array_is_damage(tmp_path: Path, content: bytes) -> None:
    """With a checksum that fits, as an archive from a stranger may have."""
    with pytest.raises(DataError, match="is damaged"):
        read_arrays(_archive(tmp_path / "a.npz", content))


@example(b"PK\x03\x04")
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=200))
def test_an_array_of_random_bytes_is_damage(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_npz(_archive(tmp_path / "a.npz", b"\x93NUMPY\x01\x00" + content))

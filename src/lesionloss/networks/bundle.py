"""A bundle: a trained network in a folder that can be given away, `model.safetensors` and `model.json`, safe to open.

Nothing in it is run: the weights file holds tensors only, a text of plain values names the network, and both are
checked against each other before memory is allocated.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from torch import nn

from lesionloss.core.errors import DataError, UsageError
from lesionloss.core.files import atomic_file, sha256_of, write_text
from lesionloss.core.randomness import torch_generator
from lesionloss.core.sealed_json import SEAL, is_intact, seal
from lesionloss.core.validation_errors import explain_validation_error
from lesionloss.networks import (
    NETWORKS,
    build_network,
    channels_last,
    check_network,
    is_allowed,
    parse_network,
)
from lesionloss.networks.bundle_weights import check_tensors, fill, joined
from lesionloss.networks.monai_networks import LIBRARY

FORMAT = 3
WEIGHTS, RECORD = "model.safetensors", "model.json"
LARGEST_RECORD = 1 << 20  # bytes; ours have a few thousand
LONGEST_TEXT = 10_000
LARGEST_NUMBER, LONGEST_LIST = 4096, 64  # in the text of a network

Side = Annotated[int, Field(ge=1, le=4096)]
Share = Annotated[float, Field(ge=0, lt=1)]
Words = Annotated[str, Field(max_length=LONGEST_TEXT)]


def _plain_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]{0,99}", name):
        raise ValueError(f"must be the name of a file beside {RECORD}, without folders, got {name!r}")
    return name


def _network(text: str) -> str:
    """The canonical text; numbers in a file of unknown origin must not name a network that takes hours to build."""
    library, name, values = parse_network(text)
    if library not in ("", LIBRARY) and not is_allowed(library):
        raise ValueError(
            f"{library}:{name} is code, which a model does not get run; if you trust it, add --with {library}"
        )
    if not library and name not in NETWORKS:
        raise ValueError(f"no network is named {name!r}; if it is one of your own, name its file: --with FILE.py")
    if any(not _modest(value) for value in values.values()):
        raise ValueError(f"a setting holds a number above {LARGEST_NUMBER} or more than {LONGEST_LIST} values")
    return check_network(text)


def _modest(value: object) -> bool:
    if isinstance(value, list | tuple | set | dict):
        return len(value) <= LONGEST_LIST and all(_modest(inner) for inner in value)
    return not isinstance(value, int | float) or abs(value) <= LARGEST_NUMBER


class BundleRecord(BaseModel):
    """Everything that is needed to use a network.

    Attributes:
        network: Text, as `build_network` reads it.
        members: How many networks of this text it holds; the mean of their probabilities counts.
        channels: Channels of its input, in order, as `PreparedCase` names them.
        classes: The lesion classes.
        preparation: The settings by which its images were prepared.
        window: Sides of the sliding window in voxels.
        overlap: Overlap of neighbouring windows as a share of their side.
        whole_image: Whether it was judged on whole images at once, without windows.
        precision: Inside the network when it was judged; empty: not known.
        merge: Weights of overlapping windows.
        merge_of: What is averaged where windows overlap.
        depth_mm: No lesion is found nearer than this to the outside of the brain mask.
        threshold: A voxel is lesion where its probability is at least this.
        decision: `threshold`, or `argmax`: the most probable of all classes, background included.
        min_volume_mm3: Smaller lesions are removed.
        training: Where the network comes from.
        not_a_medical_device: A warning for whoever finds the file.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = FORMAT
    network: Annotated[Words, AfterValidator(_network)]
    members: Annotated[int, Field(ge=1, le=16)] = 1
    channels: Annotated[tuple[Words, ...], Field(min_length=1)]
    classes: Annotated[tuple[Words, ...], Field(min_length=1)] = ("lesion",)
    preparation: dict[str, Any] = {}
    window: Annotated[tuple[Side, ...], Field(min_length=2, max_length=3)]
    overlap: Share = 0.5
    whole_image: bool = False
    precision: Annotated[str, Field(pattern="^(float32|bf16|fp16)?$")] = ""
    merge: Literal["gaussian", "mean"] = "gaussian"
    merge_of: Literal["logits", "probabilities"] = "logits"
    depth_mm: Annotated[float, Field(ge=0, le=100)] = 0.0
    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.5
    decision: Literal["threshold", "argmax"] = "threshold"
    min_volume_mm3: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    training: dict[str, Any] = {}
    licence: Words = ""
    data_note: Words = ""
    not_a_medical_device: bool = True
    weights: Annotated[str, AfterValidator(_plain_name)] = WEIGHTS
    weights_sha256: Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")] = ""


@dataclass(frozen=True)
class Bundle:
    """A network ready to predict, its record, and the name of the folder it was read from."""

    network: nn.Module
    record: BundleRecord
    name: str = ""


def save_bundle(folder: Path, network: nn.Module, record: BundleRecord, *, half: bool = False) -> BundleRecord:
    """Write weights and record, each file atomically.

    Args:
        folder: The folder of the bundle.
        network: The trained network.
        record: What is needed to use it.
        half: Whether floating-point weights are stored in half precision: half as large, and rounded to 11 bits.

    Returns:
        The record as written, with the digest of the weights.
    """
    from safetensors.torch import save

    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    if half:
        weights = {name: part.half() if part.is_floating_point() else part for name, part in weights.items()}
    with atomic_file(folder / WEIGHTS) as path:
        path.write_bytes(save(weights))
    written = record.model_copy(
        update={"format": FORMAT, "weights": WEIGHTS, "weights_sha256": sha256_of(folder / WEIGHTS)}
    )
    write_text(folder / RECORD, seal(written.model_dump(mode="json")))
    return written


def annotate(folder: Path, *, licence: str | None, data_note: str | None) -> None:
    """State the licence of a bundle and what its data are; None keeps what is there.

    Raises:
        UsageError: As `read_record`.
        DataError: As `read_record`.
    """
    record, path = read_record(folder)
    given = {"licence": licence, "data_note": data_note}
    changed = record.model_copy(update={key: text for key, text in given.items() if text is not None})
    write_text(path, seal(changed.model_dump(mode="json")))


def load_bundle(folder: Path) -> Bundle:
    """Read a bundle.

    Args:
        folder: Its folder, or the model.json in it.

    Returns:
        The network on the CPU, in evaluation mode, and its record.

    Raises:
        UsageError: There is no bundle.
        DataError: Another format, a damaged file, weights that do not fit the network or are not finite, or files that
            lie outside the folder.
    """
    record, path = read_record(folder)
    weights = _inside(path.parent, record.weights)
    digest = sha256_of(weights)
    if record.weights_sha256 not in ("", digest):
        raise DataError(f"{weights} is not the file that {path} was written with; fetch both again")
    check_tensors(weights, record.network, record.members)
    network = joined([build_network(record.network, torch_generator("bundle")) for _ in range(record.members)])
    fill(network, weights)
    return Bundle(channels_last(network).eval(), record.model_copy(update={"weights_sha256": digest}), folder.name)


def read_record(folder: Path) -> tuple[BundleRecord, Path]:
    """Return the record of a bundle and its file, without the weights.

    Raises:
        UsageError: As `load_bundle`.
        DataError: As `load_bundle`.
    """
    path = folder / RECORD if folder.is_dir() else folder
    if path.name != RECORD or not path.is_file():
        raise UsageError(f"{folder}: {_no_bundle(folder)}")
    path = _inside(path.parent, RECORD)
    return _checked(_of_this_format(_json_of(path), path), path), path


def _no_bundle(folder: Path) -> str:
    trials = sorted(file.parent for file in folder.glob(f"trials/*/{RECORD}")) if folder.is_dir() else []
    wanted = f"a model is a folder with {RECORD} and {WEIGHTS}"
    if trials:
        return f"a run with {len(trials)} models; name one of them, e.g. {trials[0]}"
    return f"no model; {wanted}" if folder.exists() else f"no such folder; {wanted}"


def _inside(folder: Path, name: str) -> Path:
    """A file of the folder. Raises DataError where it is missing, or a link to somewhere else."""
    path = folder / name
    if not path.is_file():
        raise DataError(f"{path}: missing; a model needs {RECORD} and its weights in one folder")
    if not path.resolve().is_relative_to(folder.resolve()):
        raise DataError(f"{path} is a link to a file outside its folder; copy that file in if you trust it")
    return path


def _json_of(path: Path) -> dict[str, Any]:
    if path.stat().st_size > LARGEST_RECORD:
        raise DataError(f"{path} has {path.stat().st_size} bytes, more than a record ever has; it is not opened")
    try:
        text = path.read_text(encoding="utf-8")
        found = json.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} is not readable JSON ({type(error).__name__}); fetch the model again") from error
    if not isinstance(found, dict):
        raise DataError(f"{path} holds a {type(found).__name__}, not the record of a model; fetch the model again")
    if found.get(SEAL) and not is_intact(text, found):
        raise DataError(
            f"{path} is damaged or was edited; fetch the model again, or remove the value {SEAL!r} if the edit is yours"
        )
    found.pop(SEAL, None)
    return found


def _of_this_format(found: dict[str, Any], path: Path) -> dict[str, Any]:
    version = found.get("format")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise DataError(f"{path}: format must be a whole number, 1 or more, got {version!r}; is it a model's record?")
    if version < FORMAT:
        raise DataError(
            f"{path}: a model of lesionloss 0.1 (format {version}), which this version can't read; train it again"
        )
    if version > FORMAT:
        raise DataError(
            f"{path}: a model of format {version}, this lesionloss reads {FORMAT}; install a newer lesionloss"
        )
    return found


def _checked(record: Mapping[str, Any], path: Path) -> BundleRecord:
    try:
        return BundleRecord.model_validate(record)
    except ValidationError as error:
        raise DataError(explain_validation_error(error, BundleRecord, str(path))) from error
    except (RecursionError, MemoryError) as error:
        raise DataError(f"{path}: network: nested too deeply; fetch the model again") from error

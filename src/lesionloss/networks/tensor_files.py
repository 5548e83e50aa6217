"""Read tensors from a file of unknown origin: safetensors, or a .pth that torch reads without running code in it."""

import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lesionloss.core.errors import DataError, UsageError

WRAPPERS = ("state_dict", "model_state_dict", "network_weights", "model", "weights", "net")
PREFIXES = ("module.", "_orig_mod.")
SLACK_BYTES = 1 << 16  # for the directory of a zip archive


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the named tensors of a file on the CPU, without the prefixes that wrappers add.

    Args:
        path: A .safetensors or .pth file; it may hold the tensors under `state_dict`, `model` or the like.

    Raises:
        UsageError: There is no such file.
        DataError: The file holds anything but tensors, is damaged, or is an archive that unpacks to more than its size.
    """
    if not path.is_file():
        raise UsageError(f"no weights file {path}; give a .safetensors or .pth file")
    with path.open("rb") as handle:
        head = handle.read(9)
    found = _read_safetensors(path) if head[8:9] == b"{" else _read_pth(path)
    return _without_prefixes(_tensors(found, path))


def _read_safetensors(path: Path) -> Mapping[str, Any]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path, device="cpu")
    except (SafetensorError, ValueError, OSError, KeyError, AttributeError) as error:  # two for unknown types
        raise DataError(f"{path} is not a readable safetensors file ({error}); fetch or save it again") from error


def _read_pth(path: Path) -> Mapping[str, Any]:
    _refuse_bombs(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of how a file was written; what matters is raised
            found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise DataError(
            f"{path} holds more than tensors, which could run code; save only its state_dict, best as .safetensors"
        ) from error
    except Exception as error:  # torch raises whatever its parsers meet
        raise DataError(f"{path} is not a readable weights file; a .safetensors or .pth file is wanted") from error
    if not isinstance(found, Mapping):
        raise DataError(f"{path} holds a {type(found).__name__}; named tensors (a state_dict) are wanted")
    return found


def _refuse_bombs(path: Path) -> None:
    try:
        if not zipfile.is_zipfile(path):
            return
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except Exception as error:  # zipfile raises whatever its parsers meet
        raise DataError(f"{path} is a damaged archive; fetch or save it again") from error
    inside, outside = sum(entry.file_size for entry in entries), path.stat().st_size
    packed = any(entry.compress_type != zipfile.ZIP_STORED for entry in entries)
    if packed or inside > outside + SLACK_BYTES:
        raise DataError(f"{path} unpacks to {inside} bytes from {outside}; torch packs nothing, so it is not opened")


def _tensors(found: Mapping[str, Any], path: Path) -> dict[str, Tensor]:
    for key in ("", *WRAPPERS):
        inner = found if not key else found.get(key)
        if isinstance(inner, Mapping):
            tensors = {str(name): value for name, value in inner.items() if isinstance(value, Tensor)}
            if tensors:
                return tensors
    raise DataError(f"{path} holds no tensors; its keys are {', '.join(map(str, list(found)[:5])) or 'none'}")


def _without_prefixes(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    for prefix in PREFIXES:
        if all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return tensors

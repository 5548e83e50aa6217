"""Checkpoints: one safetensors file each, whole or absent, the last two kept, believed only if the checksum agrees.

The header of a file holds a JSON record and the SHA-256 of record and tensors; nothing in it can run.
"""

import contextlib
import hashlib
import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from lesionloss.core.errors import DataError, LesionLossError, UsageError
from lesionloss.core.files import whole_file
from lesionloss.core.version import __version__
from lesionloss.training.state import State, packed, unpack

FORMAT = 1
GENERATIONS = 2
PATTERN = "step-*.safetensors"
UNFINISHED = ".writing-*"  # what whole_file leaves behind when it is killed


class CheckpointError(LesionLossError):
    """A checkpoint could not be written; the one before is still there."""


@dataclass
class Saving:
    """Where and how often: after `every_steps` steps (0: never for their number) or `every_seconds`, and at the end."""

    folder: Path
    every_steps: int = 0
    every_seconds: float = 120.0
    note: Callable[[str], None] = print
    _last: float = field(default_factory=time.monotonic)

    def due(self, step: int) -> bool:
        """Whether a checkpoint should be written after this step."""
        by_count = self.every_steps > 0 and step % self.every_steps == 0
        return by_count or time.monotonic() - self._last >= self.every_seconds

    def save(self, state: State, key: str) -> None:
        """Write the state and forget all but the last generations. Raises CheckpointError where it can't be written."""
        save(self.folder, state, key)
        self._last = time.monotonic()

    def resume(self, state: State, key: str) -> bool:
        """Bring `state` to the last whole checkpoint; False where there is none. Raises as `restore` does."""
        return restore(self.folder, state, key, self.note)

    def clear(self) -> None:
        """Remove the folder, and the one around it if it is empty then: the training is complete."""
        shutil.rmtree(self.folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            self.folder.parent.rmdir()


def save(folder: Path, state: State, key: str) -> Path:
    """Write a checkpoint of the trial `key` beside the one before; older ones go only when it is whole on disk."""
    tensors, values = packed(state)
    record = {"format": FORMAT, "key": key, "step": state.step, "lesionloss": __version__, **values}
    text = json.dumps(record, sort_keys=True)
    path = folder / f"step-{state.step:08d}.safetensors"
    try:
        with whole_file(path) as temporary:
            save_file(tensors, temporary, metadata={"record": text, "sha256": checksum(text, tensors)})
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"{path} can't be written: {error}; make room, then continue with --resume from the checkpoint before"
        ) from error
    for old in generations(folder)[GENERATIONS:]:
        old.unlink(missing_ok=True)
    return path


def restore(folder: Path, state: State, key: str, note: Callable[[str], None]) -> bool:
    """Bring `state` to the newest checkpoint that is whole; False where the folder holds none.

    A damaged one is noted and the one before taken. Raises UsageError if they belong to another trial or a newer
    version, DataError if there are some and all are damaged.
    """
    for left in folder.glob(UNFINISHED):
        left.unlink(missing_ok=True)
    found = generations(folder)
    for path in found:
        try:
            tensors, record = read(path)
        except DataError as error:
            note(f"{error}; taking the one before")
            continue
        _check(path, record, key)
        unpack(state, tensors, record)
        return True
    if found:
        raise DataError(f"{folder}: all {len(found)} checkpoints are damaged; remove the folder to start again")
    return False


def generations(folder: Path) -> list[Path]:
    """The checkpoints of a folder, the newest first."""
    return sorted(folder.glob(PATTERN), reverse=True)


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and record of a checkpoint. Raises DataError if it is damaged in any place."""
    try:
        with safe_open(path, framework="pt", device="cpu") as stored:
            header = stored.metadata() or {}
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 (not a mapping)
        record = json.loads(header["record"])
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{path} is no whole checkpoint: {reason}") from error
    if not isinstance(record, dict) or checksum(header["record"], tensors) != header.get("sha256"):
        raise DataError(f"{path} is damaged: its checksum does not agree")
    return tensors, record


def checksum(text: str, tensors: dict[str, Tensor]) -> str:
    """SHA-256 of the record's text and of every tensor with its name, kind and shape."""
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _check(path: Path, record: dict[str, Any], key: str) -> None:
    if record.get("format", 0) > FORMAT:
        raise UsageError(
            f"{path} is of format {record['format']}, this version of lesionloss reads {FORMAT}; install a newer one"
        )
    if record.get("key") != key:
        raise UsageError(
            f"{path} belongs to another training (its settings differ); give the same options, or another --out"
        )

"""Checkpoints: one safetensors file each, written atomically, the last two kept, each verified by its checksum.

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

from lesionloss.core.errors import DataError, LesionLossError, UsageError, shown
from lesionloss.core.files import atomic_file
from lesionloss.core.version import __version__
from lesionloss.training.state import State, pack, unpack

FORMAT = 2
GENERATIONS = 2
PATTERN = "step-*.safetensors"
UNFINISHED = ".writing-*"  # what atomic_file leaves behind when it is killed


class CheckpointError(LesionLossError):
    """A checkpoint could not be written; the one before is still there."""


@dataclass
class Checkpoints:
    """Where and how often the checkpoints of a training run are written; there is always one at its end.

    Attributes:
        folder: The folder of the checkpoints.
        every_steps: Steps between two checkpoints; 0: only time counts.
        every_seconds: Seconds between two checkpoints.
        note: Is called with a line for each damaged checkpoint.
    """

    folder: Path
    every_steps: int = 0
    every_seconds: float = 120.0
    note: Callable[[str], None] = print
    _last: float = field(default_factory=time.monotonic)

    def due(self, step: int) -> bool:
        """Return whether a checkpoint should be written after this step."""
        by_count = self.every_steps > 0 and step % self.every_steps == 0
        return by_count or time.monotonic() - self._last >= self.every_seconds

    def save(self, state: State, key: str) -> None:
        """Write a checkpoint and remove all but the last two.

        Raises:
            CheckpointError: It can't be written.
        """
        save(self.folder, state, key)
        self._last = time.monotonic()

    def resume(self, state: State, key: str) -> bool:
        """Bring `state` to the last undamaged checkpoint; False where there is none.

        Raises:
            UsageError: As `restore`.
            DataError: As `restore`.
        """
        return restore(self.folder, state, key, self.note)

    def clear(self) -> None:
        """Remove the folder of a finished training run, and the folder around it if it is empty then."""
        shutil.rmtree(self.folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            self.folder.parent.rmdir()


def save(folder: Path, state: State, key: str) -> Path:
    """Write a checkpoint; older ones are removed only when it is complete on disk.

    Args:
        folder: The folder of the checkpoints.
        state: What is saved.
        key: The key of the trial.

    Returns:
        The file.

    Raises:
        CheckpointError: It can't be written.
    """
    tensors, values = pack(state)
    record = {"format": FORMAT, "key": key, "step": state.step, "lesionloss": __version__, **values}
    text = json.dumps(record, sort_keys=True)
    path = folder / f"step-{state.step:08d}.safetensors"
    try:
        with atomic_file(path) as temporary:
            save_file(tensors, temporary, metadata={"record": text, "sha256": checksum(text, tensors)})
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error  # the text of an OSError repeats the path
        raise CheckpointError(
            f"{path} can't be written: {reason}; make room, then continue with --resume from the checkpoint before"
        ) from error
    for old in generations(folder)[GENERATIONS:]:
        old.unlink(missing_ok=True)
    return path


def restore(folder: Path, state: State, key: str, note: Callable[[str], None]) -> bool:
    """Bring `state` to the newest undamaged checkpoint.

    Args:
        folder: The folder of the checkpoints.
        state: A state of the same network and optimiser; it is changed in place.
        key: The key of the trial.
        note: Is called with a line for each damaged checkpoint.

    Returns:
        False where the folder holds no checkpoint.

    Raises:
        UsageError: The checkpoints are of another trial or of another version.
        DataError: All checkpoints are damaged, or the newest one has no version.
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
    """Return the checkpoints of a folder, newest first."""
    return sorted(folder.glob(PATTERN), reverse=True)


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return tensors and record of a checkpoint.

    Raises:
        DataError: It is damaged.
    """
    try:
        with safe_open(path, framework="pt", device="cpu") as stored:
            header = stored.metadata() or {}
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 (not a mapping)
        record = json.loads(header["record"])
    except (OSError, SafetensorError, KeyError, AttributeError, ValueError, RecursionError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{path} is not a complete checkpoint: {reason}") from error
    if not isinstance(record, dict) or checksum(header["record"], tensors) != header.get("sha256"):
        raise DataError(f"{path} is damaged: its checksum does not agree")
    return tensors, record


def checksum(text: str, tensors: dict[str, Tensor]) -> str:
    """Return the SHA-256 of the record's text and of every tensor with its name, type and shape."""
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _check(path: Path, record: dict[str, Any], key: str) -> None:
    version = record.get("format", 0)
    if not isinstance(version, int):
        raise DataError(f"{path}: format must be a whole number, got {shown(version)}")
    if version < FORMAT:
        raise UsageError(f"{path} was written by lesionloss 0.1, which this version can't continue; start anew")
    if version > FORMAT:
        raise UsageError(
            f"{path} is of format {version}, this version of lesionloss reads {FORMAT}; install a newer one"
        )
    if record.get("key") != key:
        raise UsageError(
            f"{path} belongs to another training run (its settings differ); give the same options, or another --out"
        )

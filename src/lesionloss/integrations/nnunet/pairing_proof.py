"""`lesionloss_pairing.json` beside a trained network: the proof that two training runs differ only in the loss."""

import hashlib
import json
import platform
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor, nn

from lesionloss.core.errors import DataError, UsageError
from lesionloss.core.files import write_text
from lesionloss.integrations.nnunet.seeding import NnunetBatch
from lesionloss.training.start import weights_hash

FILE = "lesionloss_pairing.json"
FORMAT = 1
EVERY = 100  # batches, of which one is hashed; the first is, too
_PACKAGES = ("lesionloss", "torch", "numpy", "nnunetv2", "batchgenerators", "batchgeneratorsv2")

_ON_GPU = (
    "kernels: cuDNN chooses its algorithms by timing and some CUDA kernels add in a varying order, so two training "
    "runs with the same loss differ in their last digits, too",
    "skipped steps: mixed precision skips a step where a gradient overflows, which may happen to one loss and not to "
    "another",
)
_RANKS = "ranks: batches are hashed on the first of several GPUs only; all are seeded"


@dataclass
class PairingRecord:
    """The content of the file.

    Attributes:
        loss: The text of the loss; `nnunet`: nnU-Net's own.
        fold: Number of the fold, or `all`.
        initial_weights_sha256: Beginning of the digest of all weights before the first step.
        batches_sha256: By the number of the batch, from 1: digest of its images, references and names of cases.
        device: What it is trained on, such as `cpu, 2 threads`.
        what_differs: What can't be the same for two losses.
    """

    loss: str
    fold: int | str
    seed: int
    epochs: int
    iterations: int
    initial_weights_sha256: str = ""
    batches_sha256: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    device: str = ""
    what_differs: list[str] = field(default_factory=list)
    format: int = FORMAT

    def note(self, number: int, digest: str) -> None:
        """Add the digest of a batch; a training run that continues may draw some batches a second time."""
        before = self.batches_sha256.get(str(number), digest)
        if before != digest:
            self.what_differs.append(
                f"batch {number} was drawn again, after the training run continued, and was another"
            )
        self.batches_sha256[str(number)] = digest

    def write(self, folder: Path) -> None:
        """Write the file into the folder of a fold."""
        write_text(folder / FILE, json.dumps(asdict(self), indent=1) + "\n")

    def continued(self, folder: Path) -> "PairingRecord":
        """Return the record of a folder, where a training run with the same settings as this one stopped.

        Raises:
            UsageError: There is no record, or one of another training run.
            DataError: The record is damaged.
        """
        path = folder / FILE
        if not path.is_file():
            raise UsageError(f"{folder} has no {FILE}, so nothing proves its pairs; train it anew, without --continue")
        before = _read(path)
        for key in ("format", "loss", "fold", "seed", "epochs", "iterations"):
            if getattr(before, key) != getattr(self, key):
                raise UsageError(
                    f"{path}: {key} is {getattr(before, key)!r}, this training run has {getattr(self, key)!r}; "
                    "train anew, without --continue"
                )
        for key, now in (("versions", self.versions), ("device", self.device)):
            if getattr(before, key) != now:
                before.what_differs.append(f"{key} when the training run continued: {now}")
        return before


def _read(path: Path) -> PairingRecord:
    try:
        record = PairingRecord(**json.loads(path.read_text(encoding="utf-8")))
        if isinstance(record.batches_sha256, dict) and isinstance(record.what_differs, list):
            return record
    except (ValueError, TypeError, RecursionError):
        pass
    raise DataError(f"{path} is damaged; remove it and train anew, without --continue")


def versions() -> dict[str, str]:
    """The versions of Python and of the packages that weights and batches depend on."""
    return {"python": platform.python_version()} | {name: version(name) for name in _PACKAGES}


def device_text(device: torch.device) -> str:
    """What a training run computes on."""
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, CUDA {torch.version.cuda}"
    return f"{device.type}, {torch.get_num_threads()} threads" if device.type == "cpu" else device.type


def known_differences(device: torch.device, several: bool) -> list[str]:
    """What can't be made the same for two losses on a device; `several`: ranks."""
    return [*(() if device.type == "cpu" else _ON_GPU), *((_RANKS,) if several else ())]


def network_digest(network: nn.Module) -> str:
    """The digest of the weights of a network, under whatever torch wraps around it."""
    for wrapper in ("module", "_orig_mod"):  # DistributedDataParallel, torch.compile
        network = getattr(network, wrapper, network)
    return weights_hash(network)


def batch_digest(batch: NnunetBatch) -> str:
    """The digest of all content of a batch."""
    digest = hashlib.sha256(repr([str(key) for key in batch["keys"]]).encode())
    for part in _tensors(batch):
        digest.update(f"{part.dtype}{tuple(part.shape)}".encode())
        digest.update(part.contiguous().numpy().tobytes())
    return digest.hexdigest()


def _tensors(batch: NnunetBatch) -> Iterable[Tensor]:
    target = batch["target"]
    return [batch["data"], *(target if isinstance(target, list) else [target])]

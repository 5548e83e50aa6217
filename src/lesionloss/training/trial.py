"""A trial: everything that determines one training, and the digests by which trials are named and paired."""

import hashlib
import json
from dataclasses import asdict, dataclass, fields, replace
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a network is trained and applied; equal for all losses of a comparison.

    The learning rate falls as (1 - done/steps)^decay; 0 keeps it constant.
    `patch`, `jitter` and `window` are in voxels; `lesion_share` is the share of patches centred on a lesion;
    `precision` is resolved (`float32` or `bf16`); `overlap` is the share by which the windows of inference overlap.
    """

    steps: int
    batch: int
    patch: tuple[int, int, int]
    jitter: int
    lesion_share: float
    learning_rate: float
    decay: float
    augment: bool
    precision: str
    window: tuple[int, int, int]
    overlap: float
    threshold: float


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One training: a loss, a network, patients to learn from and patients to be judged on, and a seed."""

    loss: str
    dataset: str
    target: str
    network: str
    fold: int
    seed: int
    train: tuple[str, ...]
    test: tuple[str, ...]
    recipe: Recipe
    method: str = "network"

    @property
    def key(self) -> str:
        """Digest of all fields: the name of the trial's folder."""
        return _digest(asdict(self))

    @property
    def pair(self) -> str:
        """Digest of all fields but the loss: equal for trials that must share weights, batches and augmentation."""
        return _digest({name: value for name, value in asdict(self).items() if name not in ("loss", "method")})


def _digest(record: dict[str, Any]) -> str:
    text = json.dumps(record, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def flat_record(trial: Trial) -> dict[str, Any]:
    """The trial as one level of plain values, ready for TOML: all fields, the recipe's too, with key and pair."""
    record: dict[str, Any] = {"key": trial.key, "pair": trial.pair}
    for field in fields(trial):
        if field.name != "recipe":
            record[field.name] = _plain(getattr(trial, field.name))
    return record | {name: _plain(value) for name, value in asdict(trial.recipe).items()}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


__all__ = ["Recipe", "Trial", "flat_record", "replace"]

"""A trial: everything that determines one training, and the digests by which trials are named and paired."""

import hashlib
import json
from dataclasses import MISSING, asdict, dataclass, fields, replace
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a network is trained and applied; equal for all losses of a comparison.

    `patch`, `jitter` and `window` are in voxels; `foreground_share` is the share of patches centred on a lesion;
    `precision` is resolved (`float32`, `bf16` or `fp16`); `overlap` is the share by which the windows of inference
    overlap. `augment` is True for flips and rescaled visits, False for nothing, or the texts of
    `data.augment.parse_augmentation`.

    Fields with a default came later. At its default a field is left out of the digests, so that the trials of older
    plans keep their names and their random draws:

    optimiser, schedule, sampler: texts, see `training.optimisers`, `training.schedules`, `training.samplers`. The
        polynomial schedule falls as (1 - done/steps)^poly_power; poly_power 0 keeps the rate constant.
    clip_norm: largest norm of the whole gradient, 0 for no limit. accumulate: batches whose gradients make one step.
    deep_weights: one number per output of a network with deep supervision; empty: each half of the one before.
    consistency_from: step from which the two single-visit heads are pushed apart on new lesions; 0: never.
    validation_share: share of the training patients set aside to choose the best weights. check_every: steps
        between two looks at them (or at the loss, without them). patience: looks without a better score before training
        ends; 0: never.
    start_from, start_layout, start_sha256: a file of weights to begin with, how its names are mapped, and its content.
    freeze: patterns of parameters that do not move.
    pretrain: how the network is pretrained on synthetic patients, see `training.pretraining`; empty: not.
        `start_sha256` is then the content of its file of settings.
    """

    steps: int
    batch: int
    patch: tuple[int, ...]
    jitter: int
    foreground_share: float
    learning_rate: float
    poly_power: float
    augment: bool | tuple[str, ...]
    precision: str
    window: tuple[int, ...]
    overlap: float
    threshold: float
    optimiser: str = "adam"
    schedule: str = "polynomial"
    sampler: str = "weighted"
    clip_norm: float = 0.0
    accumulate: int = 1
    deep_weights: tuple[float, ...] = ()
    consistency_from: int = 0
    validation_share: float = 0.0
    check_every: int = 50
    patience: int = 0
    start_from: str = ""
    start_layout: str = ""
    start_sha256: str = ""
    freeze: tuple[str, ...] = ()
    pretrain: str = ""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One training: a loss, a network, patients to learn from and patients to be judged on, and a seed.

    `loss_sha256`: hash of the user's files that the loss is from, empty for losses of the package. It belongs to the
    loss: the key depends on it, the pair does not.
    """

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
    loss_sha256: str = ""

    @property
    def key(self) -> str:
        """Digest of all fields: the name of the trial's folder."""
        return _digest(_record(self))

    @property
    def pair(self) -> str:
        """Digest of all fields but the loss: equal for trials that must share weights, batches and augmentation."""
        return _digest({name: value for name, value in _record(self).items() if name not in OF_THE_LOSS})


OF_THE_LOSS = ("loss", "method", "loss_sha256")


def _record(trial: Trial) -> dict[str, Any]:
    record = asdict(trial) | {"recipe": recipe_record(trial.recipe)}
    if not trial.loss_sha256:
        del record["loss_sha256"]
    return record


def recipe_record(recipe: Recipe) -> dict[str, Any]:
    """The fields of a recipe as a dictionary, without the later ones that are at their defaults."""
    return {
        field.name: getattr(recipe, field.name)
        for field in fields(recipe)
        if field.default is MISSING or getattr(recipe, field.name) != field.default
    }


def _digest(record: dict[str, Any]) -> str:
    text = json.dumps(record, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def flat_record(trial: Trial) -> dict[str, Any]:
    """The trial as one level of plain values, ready for TOML: key, pair, its fields and `recipe_record`."""
    record: dict[str, Any] = {"key": trial.key, "pair": trial.pair}
    for field in fields(trial):
        if field.name != "recipe" and (field.name != "loss_sha256" or trial.loss_sha256):
            record[field.name] = _plain(getattr(trial, field.name))
    return record | {name: _plain(value) for name, value in recipe_record(trial.recipe).items()}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


__all__ = ["Recipe", "Trial", "flat_record", "recipe_record", "replace"]

"""A trial: everything that determines one training run, and the digests by which trials are named and paired."""

import hashlib
import json
from dataclasses import MISSING, asdict, dataclass, fields
from functools import cached_property
from typing import Any, Literal

# The digests know some fields by the names they had first: a new name of a field must not change any random draw.
DIGEST_NAMES = {
    "foreground_share": "lesion_share",
    "poly_power": "decay",
    "validation_share": "inner_share",
    "patience": "stop_after",
}


@dataclass(frozen=True, kw_only=True)
class TrainingRecipe:
    """How a network is trained and applied; the same for all losses of a comparison.

    A field with a default is left out of the digests while it has its default value.

    Attributes:
        steps: Training steps.
        batch: Patches at once.
        patch: Sides of a patch in voxels.
        jitter: Largest random shift of a patch's centre in voxels.
        foreground_share: Share of patches centred on a lesion voxel.
        learning_rate: At the first step.
        poly_power: Exponent of the polynomial schedule, (1 - done/steps)^poly_power; 0: constant.
        augment: True: flips and rescaled visits; False: none; else the texts of `data.augment.parse_augmentation`.
        precision: float32, bf16 or fp16.
        window: Sides of the sliding window in voxels.
        overlap: Overlap of neighbouring windows as a share of their side.
        threshold: A voxel is lesion where its probability is at least this.
        merge: Weights of overlapping windows: gaussian (the middle counts most) or mean (all voxels alike).
        merge_of: What is averaged where windows overlap: logits or probabilities.
        decision: How classes follow from probabilities, see `inference.masks`.
        optimiser: Text, see `training.optimisers`.
        schedule: Text, see `training.schedules`.
        sampler: Text, see `training.samplers`.
        clip_norm: Largest norm of the whole gradient; 0: no limit.
        accumulate: Batches whose gradients make one step.
        deep_weights: One weight for each output of deep supervision; empty: each half of the one before, or 1 for each
            with `deep_upsampling`.
        deep_upsampling: Up-sample all outputs to full resolution and add their losses up; else labels are made coarser,
            and the weighted mean is taken.
        consistency_from: First step of the term that separates the single-visit heads; 0: never.
        validation_share: Share of the training patients set aside to choose the best weights.
        check_every: Steps between two validations (without validation patients, of the mean loss).
        patience: Validations without a better score before training stops early; 0: never.
        monitor: What a validation measures: dice (the mean Dice) or loss (the mean loss).
        keep: Which weights are tested where there is validation: best or last.
        split_by: Who is set aside for validation, and was for the test: a whole patient, or a case.
        initial: Random weights, see `networks.initial_weights`.
        start_from: A file of weights to start from.
        start_layout: How its names are mapped.
        start_sha256: Digest of that file, or of the settings file of pretraining.
        freeze: Glob patterns of parameters that are not trained.
        pretrain: Pretraining on synthetic patients, see `training.pretraining`; empty: none.
        empty: Option of every loss, see `lesionloss.build`; `average_background` and `pooled` likewise.
        whole_image: Whether networks are applied to whole images at once, without windows.
        mix: Cases of other cohorts among the training cases, see `training.mixture`.
        class_weights: Weights of lesion classes in the mean of a score over classes; 1 for those that are not named.
        loss_class_weights: `class_weights` of `lesionloss.build`, for every loss; empty: none.
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
    merge: Literal["gaussian", "mean"] = "gaussian"
    merge_of: Literal["logits", "probabilities"] = "logits"
    optimiser: str = "adam"
    schedule: str = "polynomial"
    sampler: str = "weighted"
    clip_norm: float = 0.0
    accumulate: int = 1
    deep_weights: tuple[float, ...] = ()
    deep_upsampling: bool = False
    consistency_from: int = 0
    validation_share: float = 0.0
    check_every: int = 50
    patience: int = 0
    monitor: Literal["dice", "loss"] = "dice"
    keep: Literal["best", "last"] = "best"
    split_by: Literal["patient", "case"] = "patient"
    initial: str = "lesion_prior"
    start_from: str = ""
    start_layout: str = ""
    start_sha256: str = ""
    freeze: tuple[str, ...] = ()
    pretrain: str = ""
    empty: Literal["count", "skip"] = "count"
    average_background: bool = False
    pooled: bool = False
    decision: Literal["threshold", "argmax"] = "threshold"
    mix: tuple[str, ...] = ()
    class_weights: tuple[tuple[str, float], ...] = ()
    whole_image: bool = False
    loss_class_weights: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One loss, one network, training and test cases, and a seed.

    Attributes:
        train: Names of the training cases, those of mixtures at the end.
        test: Names of the test cases.
        method: `network`, or `difference_threshold`.
        loss_sha256: Digest of the user's files that define the loss; empty for losses of the package. The key depends
            on it, the pair does not.
        network_sha256: Digest of the code of a network that is neither ours nor MONAI's; else empty.
    """

    loss: str
    dataset: str
    target: str
    network: str
    fold: int
    seed: int
    train: tuple[str, ...]
    test: tuple[str, ...]
    recipe: TrainingRecipe
    method: str = "network"
    loss_sha256: str = ""
    network_sha256: str = ""

    @cached_property  # asked for at every look at a run's status
    def key(self) -> str:
        """Digest of all fields: the name of the trial's folder."""
        return _digest(_digest_record(self))

    @cached_property
    def pair(self) -> str:
        """Digest of all fields but the loss: trials with the same pair share weights, batches and augmentation."""
        return _digest({name: value for name, value in _digest_record(self).items() if name not in OF_THE_LOSS})


OF_THE_LOSS = ("loss", "method", "loss_sha256")
OF_CODE = ("loss_sha256", "network_sha256")  # left out where empty


def _digest_record(trial: Trial) -> dict[str, Any]:
    recipe = {DIGEST_NAMES.get(name, name): value for name, value in recipe_record(trial.recipe).items()}
    record = asdict(trial) | {"recipe": recipe}
    return {name: value for name, value in record.items() if value or name not in OF_CODE}


def recipe_record(recipe: TrainingRecipe) -> dict[str, Any]:
    """Return the fields of a recipe, without those that have a default and are at it."""
    return {
        field.name: getattr(recipe, field.name)
        for field in fields(recipe)
        if field.default is MISSING or getattr(recipe, field.name) != field.default
    }


def _digest(record: dict[str, Any]) -> str:
    text = json.dumps(record, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def flat_record(trial: Trial) -> dict[str, Any]:
    """Return the trial as one level of plain values for TOML: key, pair, its fields and those of `recipe_record`."""
    record: dict[str, Any] = {"key": trial.key, "pair": trial.pair}
    for field in fields(trial):
        if field.name != "recipe" and (field.name not in OF_CODE or getattr(trial, field.name)):
            record[field.name] = _plain(getattr(trial, field.name))
    return record | {name: _plain(value) for name, value in recipe_record(trial.recipe).items()}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value

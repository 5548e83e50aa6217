"""The sections of a plan: loss options, data, network, training, inference, curves. docs/plans.md has every key."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from lesionloss.bench.plan.field_types import (
    Augmentation,
    MetricName,
    NetworkText,
    OptimiserText,
    PrecisionName,
    PretrainingText,
    ProfileName,
    SamplerText,
    ScheduleText,
    Sides,
    Weights,
)
from lesionloss.core.ranges import Natural, Positive, Share
from lesionloss.data.preparation.recipe import CropSettings, PreparationRecipe

DEFAULT_STEPS = 1000
LOWEST_THRESHOLD = 0.001  # smaller probabilities are not stored


class PlanSection(BaseModel):
    """A table of a plan; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class LossOptionsSection(PlanSection):
    """The options of `lesionloss.build` for all losses of the plan.

    Attributes:
        empty: `count` penalises false positives of classes that an image does not hold; `skip` averages over those that
            it holds.
        average_background: Overlap losses average over class 0 too.
        pooled: The batch counts as one image.
    """

    empty: Literal["count", "skip"] = "count"
    average_background: bool = False
    pooled: bool = False


class DataSection(PlanSection):
    """Where the patients come from and how they are prepared.

    Attributes:
        source: `synth`, `shapes`, a folder or `layout:folder`; empty: given later by `--data`.
        margin_voxels: Margin of the crop around the brain, where `prepare` is not given.
        prepare: The steps of preparation; without it, brain mask, crop, z-scores and difference channel.
        synth_patients: Number of built-in patients, of `synth` and of `shapes`.
        synth_seed: Seed of the built-in data, of `synth` and of `shapes`.
    """

    name: str = ""
    source: str = ""
    layout: str = ""
    target: str = ""
    patients: tuple[str, ...] = ()
    margin_voxels: Natural = 4
    prepare: PreparationRecipe | None = None
    synth_patients: Positive = 12
    synth_seed: int = 1
    synth_spacing_mm: Annotated[float, Field(gt=0)] = 2.0
    synth_profile: ProfileName = "demo"
    shapes_axes: Annotated[int, Field(ge=2, le=3)] = 2
    shapes_side: Annotated[int, Field(ge=16)] = 64
    shapes_classes: Annotated[int, Field(ge=1, le=3)] = 1

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        return {"source": value} if isinstance(value, str) else value

    @property
    def preparation(self) -> PreparationRecipe:
        """The steps by which the cases are prepared."""
        if self.prepare is None and self.source == "shapes":
            return PreparationRecipe(steps=("normalise",))
        return self.prepare or PreparationRecipe(crop=CropSettings(margin_voxels=self.margin_voxels))


class NetworkSection(PlanSection):
    """The network and its initial weights.

    Attributes:
        start_from: A file of weights to start from; empty: random weights.
        start_layout: How the names in that file are mapped.
        freeze: Glob patterns of parameters that are not trained.
    """

    text: NetworkText = "unet3d"
    start_from: str = ""
    start_layout: str = ""
    freeze: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        return {"text": value} if isinstance(value, str) else value


class TrainingSection(PlanSection):
    """Length, batches, optimiser and validation of each training run.

    Attributes:
        epochs: Length in epochs instead of `steps`.
        epoch_patches: Patches of an epoch; 0: as many as the sampler counts, else one for each training case.
        patch: Sides of a patch in voxels.
        jitter: Largest random shift of a patch's centre in voxels.
        foreground_share: Share of patches centred on a lesion voxel.
        poly_power: The learning rate falls as (1 - done/steps)^poly_power; 0: constant.
        precision: `auto` uses bf16 where the hardware is fast at it.
        check_every: Steps between two validations; 0: once an epoch.
    """

    steps: Positive = DEFAULT_STEPS
    epochs: Natural = 0
    epoch_patches: Natural = 0
    batch: Positive = 4
    patch: Sides = (32, 32, 32)
    jitter: Natural = 10
    foreground_share: Share = 1.0
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    poly_power: Annotated[float, Field(ge=0)] = 0.9
    augment: Augmentation = True
    precision: PrecisionName = "auto"
    optimiser: OptimiserText = "adam"
    schedule: ScheduleText = "polynomial"
    sampler: SamplerText = "weighted"
    clip_norm: Annotated[float, Field(ge=0)] = 0.0
    accumulate: Positive = 1
    deep_weights: Weights = ()
    consistency_from: Natural = 0
    validation_share: Annotated[float, Field(ge=0, lt=1)] = 0.0
    check_every: Natural = 50
    patience: Natural = 0
    pretrain: PretrainingText = ""

    @model_validator(mode="after")
    def _check_consistency(self) -> "TrainingSection":
        if self.epochs and self.steps != DEFAULT_STEPS:
            raise ValueError(f"give steps or epochs, not both; got steps {self.steps} and epochs {self.epochs}")
        if self.patience and not self.validation_share:
            raise ValueError("patience needs validation patients: give validation_share too, such as 0.2")
        return self


class InferenceSection(PlanSection):
    """The sliding window and the threshold.

    Attributes:
        window: Sides of the window in voxels; empty: those of a training patch.
        overlap: Overlap of neighbouring windows as a share of their side.
        threshold: A voxel is lesion where its probability is at least this.
    """

    window: Sides | tuple[()] = ()
    overlap: Annotated[float, Field(ge=0, lt=1)] = 0.5
    threshold: Annotated[float, Field(ge=LOWEST_THRESHOLD, lt=1)] = 0.5


class CurvesSection(PlanSection):
    """Scores during training, of training patches, training images and test images; training does not depend on them.

    Attributes:
        every_epochs: Epochs between two measurements; 0: no curves.
        metrics: What is measured; empty: the primary metric.
        patches: Largest number of patches scored in an epoch; 0: all.
    """

    every_epochs: Natural = 0
    training_patches: bool = True
    training_images: bool = True
    test_images: bool = True
    metrics: tuple[MetricName, ...] = ()
    patches: Natural = 64

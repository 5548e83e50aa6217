"""The parts of a plan: data, network, training, inference, curves. docs/plans.md says what every key does."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from lesionloss.bench.plan_texts import (
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


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Data(Part):
    """Where the patients come from: `source` is `synth`, `shapes`, a folder or `layout:folder`; empty waits for --data.

    `prepare`: the steps of preparation; without it, brain, crop, z-scores and difference. `synth_*` and `shapes_*` are
    settings of the built-in data; the number and the seed of `synth_*` hold for both.
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


class Network(Part):
    """`start_from`: a file of weights to begin with, names mapped by `start_layout`; `freeze`: patterns of parts."""

    text: NetworkText = "unet3d"
    start_from: str = ""
    start_layout: str = ""
    freeze: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        return {"text": value} if isinstance(value, str) else value


class Training(Part):
    """Steps or epochs, batch and patches (voxels) of one training; docs/plans.md says what each key does.

    The learning rate falls as (1 - done/steps)^poly_power (0: constant); `precision` auto takes bf16 where it is fast.
    `epochs` stands instead of `steps`: an epoch has `epoch_patches` patches, or as many as the sampler counts, or as
    there are training cases. `check_every` 0 is once an epoch.
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
    def _consistent(self) -> "Training":
        if self.epochs and self.steps != DEFAULT_STEPS:
            raise ValueError(f"give steps or epochs, not both; got steps {self.steps} and epochs {self.epochs}")
        if self.patience and not self.validation_share:
            raise ValueError("patience needs patients set aside to judge by: give validation_share too, such as 0.2")
        return self


class Inference(Part):
    """Windows of `window` voxels (empty: as large as a training patch), overlapping by a share of their side."""

    window: Sides | tuple[()] = ()
    overlap: Annotated[float, Field(ge=0, lt=1)] = 0.5
    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.5


class Curves(Part):
    """Scores during training, every so many epochs (0: none): of training patches, training images, test images.

    They are looked at by people only: nothing in a training depends on them. `metrics`: empty is the primary one.
    `patches`: how many of the epoch's patches are looked at (0: all).
    """

    every_epochs: Natural = 0
    training_patches: bool = True
    training_images: bool = True
    test_images: bool = True
    metrics: tuple[MetricName, ...] = ()
    patches: Natural = 64

"""The sections of a plan: loss options, data, network, training, inference, curves; see docs/reference/plans.md."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from lesionloss.bench.plan.field_types import (
    Augmentation,
    ClassWeights,
    InitialName,
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
from lesionloss.bench.plan.folder_names import LONGEST, folder_name, source_folder
from lesionloss.core.number_text import plural
from lesionloss.core.ranges import Natural, Positive, Share
from lesionloss.data.preparation.recipe import CropSettings, PreparationRecipe

BUILT_IN_SOURCES = ("synth", "shapes")
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
        class_weights: How often each class counts, background first; empty: once.
    """

    empty: Literal["count", "skip"] = "count"
    average_background: bool = False
    pooled: bool = False
    class_weights: ClassWeights = ()


class SourceSection(PlanSection):
    """Where patients come from.

    Attributes:
        source: `synth`, `shapes`, a folder or `layout:folder`; empty: given later by `--data`.
        synth_patients: Number of built-in patients, of `synth` and of `shapes`.
        synth_seed: Seed of the built-in data, of `synth` and of `shapes`.
        synth_spacing_mm: Edge of the voxels of `synth`; 0: those of the simulated scanner.
        synth_truth: What counts as lesion in `synth`: new ones, new or enlarging ones, or change of either sign.
    """

    source: str = ""
    layout: str = ""
    target: str = ""
    patients: tuple[str, ...] = ()
    synth_patients: Positive = 12
    synth_seed: int = 1
    synth_spacing_mm: Annotated[float, Field(ge=0)] = 2.0
    synth_profile: ProfileName = "demo"
    synth_truth: Literal["new", "positive", "change"] = "new"
    shapes_axes: Annotated[int, Field(ge=2, le=3)] = 2
    shapes_side: Annotated[int, Field(ge=16)] = 64
    shapes_classes: Annotated[int, Field(ge=1, le=3)] = 1

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        return {"source": value} if isinstance(value, str) else value

    def shown_dataset(self, dataset: str) -> str:
        """Return a data set's name for tables: built-in data by their source, not by the layout of their files."""
        return f"{self.source}-{dataset.rpartition('-')[2]}" if self.source in BUILT_IN_SOURCES else dataset


class MixSection(SourceSection):
    """Cases that are mixed into the training folds, and into nothing else.

    Attributes:
        name: Names and patients of these cases begin with it; empty: that of the source.
        share: Share of the training patches; 0: each case counts as one more training case.
        synth_visible: Lesions of `synth` whose mean difference is at most this (z-scores) do not count; 0: all count.
    """

    name: str = ""
    source: str = "synth"
    synth_spacing_mm: Annotated[float, Field(ge=0)] = 0.0
    synth_profile: ProfileName = "mixed"
    share: Annotated[float, Field(ge=0, lt=1)] = 0.0
    synth_visible: Annotated[float, Field(ge=0)] = 0.4

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        record = {"source": value} if isinstance(value, str) else value
        if not isinstance(record, Mapping) or record.get("name"):
            return record
        return {**record, "name": source_folder("", str(record.get("layout", "")), str(record.get("source", "synth")))}

    @model_validator(mode="after")
    def _check_name(self) -> "MixSection":
        if self.name != folder_name(self.name):
            raise ValueError(
                f"name must have letters, digits, points and dashes only, at most {LONGEST}, got {self.name!r}"
            )
        return self

    def describe(self) -> str:
        """Return what is mixed in and how, in words."""
        built_in = {
            "synth": f"{plural(self.synth_patients, 'synthetic patient')} (profile {self.synth_profile}",
            "shapes": f"{plural(self.synth_patients, 'image')} (synthetic shapes",
        }
        words = built_in.get(self.source)
        what = f"{words}, seed {self.synth_seed})" if words else f"the cases of {self.source}"
        how = f"{100 * self.share:.3g} % of the training patches" if self.share else "each as one more training case"
        return f"{self.name}: {what}, {how}"


class DataSection(SourceSection):
    """Where the patients come from, how they are prepared, and what is mixed into their training folds.

    Attributes:
        margin_voxels: Margin of the crop around the brain, where `prepare` is not given.
        prepare: The steps of preparation; without it, brain mask, crop, z-scores and difference channel.
    """

    name: str = ""
    margin_voxels: Natural = 4
    prepare: PreparationRecipe | None = None
    mix: tuple[MixSection, ...] = ()

    @model_validator(mode="after")
    def _check_mixtures(self) -> "DataSection":
        names = [mixture.name for mixture in self.mix]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise ValueError(f"mix: two mixtures are named {twice!r}; give each a name")
        total = sum(mixture.share for mixture in self.mix)
        if total >= 1:
            raise ValueError(f"mix: the shares of all mixtures must leave something for data; their sum is {total:g}")
        return self

    @property
    def preparation(self) -> PreparationRecipe:
        """The steps by which the cases are prepared."""
        if self.prepare is None and self.source == "shapes":
            return PreparationRecipe(steps=("normalise",))
        return self.prepare or PreparationRecipe(crop=CropSettings(margin_voxels=self.margin_voxels))


class NetworkSection(PlanSection):
    """The network and its initial weights.

    Attributes:
        initial: Random weights, see `networks.initial_weights`.
        start_from: A file of weights to start from; empty: random weights.
        start_layout: How the names in that file are mapped.
        freeze: Glob patterns of parameters that are not trained.
    """

    text: NetworkText = "unet3d"
    initial: InitialName = "lesion_prior"
    start_from: str = ""
    start_layout: str = ""
    freeze: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        return {"text": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _check_initial(self) -> "NetworkSection":
        from lesionloss.networks import ForeignDesign, read_network

        if self.initial == "xavier" and isinstance(read_network(self.text)[0], ForeignDesign):
            raise ValueError('initial: such a network starts as its class does; write "torch" or "lesion_prior"')
        return self


class TrainingSection(PlanSection):
    """Length, batches, optimiser and validation of each training run.

    Attributes:
        epochs: Length in epochs instead of `steps`.
        epoch_patches: Patches of an epoch; 0: as many as the sampler counts, else one for each training case.
        patch: Sides of a patch in voxels.
        jitter: Largest random shift of a patch's centre in voxels.
        foreground_share: Share of patches centred on a lesion voxel.
        deep_upsampling: Up-sample deep outputs to full resolution and add the losses up, instead of coarser labels.
        poly_power: The learning rate falls as (1 - done/steps)^poly_power; 0: constant.
        precision: `auto` uses bf16 where the hardware is fast at it.
        check_every: Steps between two validations; 0: once an epoch.
        monitor: What a validation measures: the mean Dice or the mean loss of the validation cases.
        keep: Which weights are tested where there is validation.
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
    deep_upsampling: bool = False
    consistency_from: Natural = 0
    validation_share: Annotated[float, Field(ge=0, lt=1)] = 0.0
    check_every: Natural = 50
    patience: Natural = 0
    monitor: Literal["dice", "loss"] = "dice"
    keep: Literal["best", "last"] = "best"
    pretrain: PretrainingText = ""

    @model_validator(mode="after")
    def _check_consistency(self) -> "TrainingSection":
        if self.epochs and self.steps != DEFAULT_STEPS:
            raise ValueError(f"give steps or epochs, not both; got steps {self.steps} and epochs {self.epochs}")
        if self.patience and not self.validation_share:
            raise ValueError("patience needs validation patients: give validation_share too, such as 0.2")
        if self.monitor == "loss" and not self.validation_share:
            raise ValueError('monitor = "loss" needs validation patients: give validation_share too, such as 0.2')
        return self


class InferenceSection(PlanSection):
    """The inference mode and the threshold.

    Attributes:
        window: Sides of the window in voxels; empty: those of a training patch.
        overlap: Overlap of neighbouring windows as a share of their side.
        whole_image: Whether the whole image goes through the network at once, without windows.
        merge: Weights of overlapping windows: most in the middle of a window, or all voxels alike.
        merge_of: What is averaged where windows overlap.
        threshold: A voxel is lesion where its probability is at least this.
        decision: `threshold`, or `argmax`: the most probable of all classes, background included.
    """

    window: Sides | tuple[()] = ()
    overlap: Annotated[float, Field(ge=0, lt=1)] = 0.5
    whole_image: bool = False
    merge: Literal["gaussian", "mean"] = "gaussian"
    merge_of: Literal["logits", "probabilities"] = "logits"
    threshold: Annotated[float, Field(ge=LOWEST_THRESHOLD, lt=1)] = 0.5
    decision: Literal["threshold", "argmax"] = "threshold"


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

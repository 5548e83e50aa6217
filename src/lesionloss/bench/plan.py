"""A plan: what is asked, declared before the data are seen. TOML on disk, checked as a whole before anything runs."""

import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

import tomli_w
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from lesionloss.catalogue import nearest
from lesionloss.errors import UsageError

Positive = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _checked_loss(text: str) -> str:
    from lesionloss.criterion import build

    return str(build(text))


def _checked_network(text: str) -> str:
    from lesionloss.networks import check_network

    return check_network(text)


def _checked_metric(name: str) -> str:
    from lesionloss.metrics import choose

    choose(name)
    return name


def _checked_precision(name: str) -> str:
    from lesionloss.training.precision import PRECISIONS

    if name not in PRECISIONS:
        raise UsageError(f"must be one of {', '.join(PRECISIONS)}, got {name!r}")
    return name


def _checked_optimiser(text: str) -> str:
    from lesionloss.training.optimisers import check_optimiser

    return check_optimiser(text)


def _checked_schedule(text: str) -> str:
    from lesionloss.training.schedules import check_schedule

    return check_schedule(text)


def _checked_sampler(text: str) -> str:
    from lesionloss.training.samplers import check_sampler

    return check_sampler(text)


def _checked_pretraining(text: str) -> str:
    from lesionloss.training.pretraining import check_pretraining

    return check_pretraining(text)


def _checked_test(name: str) -> str:
    from lesionloss.statistics.differences import TESTS

    if name not in TESTS:
        raise ValueError(f"no test is named {name!r}; {nearest(name, list(TESTS))}")
    return name


def _checked_augmentation(value: bool | tuple[str, ...]) -> bool | tuple[str, ...]:
    from lesionloss.data.augment import format_augmentation, parse_augmentation

    return value if isinstance(value, bool) else format_augmentation(parse_augmentation(value))


LossText = Annotated[str, AfterValidator(_checked_loss)]
NetworkText = Annotated[str, AfterValidator(_checked_network)]
MetricName = Annotated[str, AfterValidator(_checked_metric)]
PrecisionName = Annotated[str, AfterValidator(_checked_precision)]
OptimiserText = Annotated[str, AfterValidator(_checked_optimiser)]
ScheduleText = Annotated[str, AfterValidator(_checked_schedule)]
SamplerText = Annotated[str, AfterValidator(_checked_sampler)]
PretrainingText = Annotated[str, AfterValidator(_checked_pretraining)]
TestName = Annotated[str, AfterValidator(_checked_test)]
Augmentation = Annotated[bool | tuple[str, ...], AfterValidator(_checked_augmentation)]
Sides = tuple[Positive, Positive, Positive] | tuple[Positive, Positive]
Weights = tuple[Annotated[float, Field(ge=0)], ...]


class Data(Part):
    """Where the patients come from. `source` is `synth`, a folder, or `layout:folder`; empty waits for --data."""

    source: str = ""
    layout: str = ""
    target: str = ""
    patients: tuple[str, ...] = ()
    margin_voxels: Annotated[int, Field(ge=0)] = 4
    synth_patients: Positive = 12
    synth_seed: int = 1
    synth_spacing_mm: Annotated[float, Field(gt=0)] = 2.0


class Network(Part):
    """`start_from`: a file of weights to begin with, names mapped by `start_layout`; `freeze`: patterns of parts."""

    text: NetworkText = "unet3d"
    start_from: str = ""
    start_layout: str = ""
    freeze: tuple[str, ...] = ()


class Training(Part):
    """Steps, batch and patches (voxels) of one training; docs/howto/training.md says what each key does.

    The learning rate falls as (1 - done/steps)^decay (0: constant); `precision` auto takes bf16 where it is fast.
    """

    steps: Positive = 1000
    batch: Positive = 4
    patch: Sides = (32, 32, 32)
    jitter: Annotated[int, Field(ge=0)] = 10
    lesion_share: Share = 1.0
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    decay: Annotated[float, Field(ge=0)] = 0.9
    augment: Augmentation = True
    precision: PrecisionName = "auto"
    optimiser: OptimiserText = "adam"
    schedule: ScheduleText = "polynomial"
    sampler: SamplerText = "weighted"
    clip_norm: Annotated[float, Field(ge=0)] = 0.0
    accumulate: Positive = 1
    deep_weights: Weights = ()
    consistency_from: Annotated[int, Field(ge=0)] = 0
    inner_share: Annotated[float, Field(ge=0, lt=1)] = 0.0
    check_every: Positive = 50
    stop_after: Annotated[int, Field(ge=0)] = 0
    pretrain: PretrainingText = ""

    @model_validator(mode="after")
    def _consistent(self) -> "Training":
        if self.stop_after and not self.inner_share:
            raise ValueError("stop_after needs patients set aside to judge by: give inner_share too, such as 0.2")
        return self


class Inference(Part):
    """Windows of `window` voxels (empty: as large as a training patch), overlapping by a share of their side."""

    window: Sides | tuple[()] = ()
    overlap: Annotated[float, Field(ge=0, lt=1)] = 0.5
    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.5


class Plan(Part):
    """Which losses are compared, on what, with which network, how often, and by what they are judged.

    `folds_file`: folds to take instead of made ones: those of `save_folds`, nnU-Net's splits_final.json, or a list of
    validation cases (one fold).
    """

    name: str
    question: str = ""
    losses: Annotated[tuple[LossText, ...], Field(min_length=1)]
    baseline_loss: LossText
    primary_metric: MetricName = "dice"
    metrics: tuple[MetricName, ...] = ("dice", "jaccard", "precision", "recall", "hd95", "assd", "lesion_f1")
    test: TestName = "sign_flip"
    folds: Annotated[int, Field(ge=1)]
    fold_seed: int = 0
    folds_file: str = ""
    seeds: Annotated[tuple[int, ...], Field(min_length=1)]
    data: Data = Data()
    network: Network = Network()
    training: Training = Training()
    inference: Inference = Inference()

    @model_validator(mode="after")
    def _consistent(self) -> "Plan":
        from lesionloss.networks import network_multiple

        if self.baseline_loss not in self.losses:
            raise ValueError(f"baseline_loss {self.baseline_loss!r} is not one of losses: {', '.join(self.losses)}")
        if self.training.pretrain and self.network.start_from:
            raise ValueError("training.pretrain and network.start_from both say what to begin with; leave one out")
        if self.folds < 2 and not self.folds_file:
            raise ValueError("folds must be 2 or more; one fold needs a folds_file that says who is tested")
        if self.primary_metric not in self.metrics:
            raise ValueError(f"primary_metric {self.primary_metric!r} is not one of metrics")
        for name, values in (("losses", self.losses), ("seeds", self.seeds), ("metrics", self.metrics)):
            twice = sorted({str(value) for value in values if values.count(value) > 1})
            if twice:
                raise ValueError(f"{name} names {', '.join(twice)} twice")
        multiple = network_multiple(self.network.text)
        for key, sides in (("training.patch", self.training.patch), ("inference.window", self.inference.window)):
            if any(side % multiple for side in sides):
                raise ValueError(
                    f"{key}: {self.network.text} needs sides that are multiples of {multiple}, got {list(sides)}"
                )
        return self

    @staticmethod
    def load(path: str | Path) -> "Plan":
        """Read a TOML file. Raises UsageError with all errors at once, each with its key."""
        path = Path(path)
        if not path.is_file():
            raise UsageError(f"no plan {path}; give a TOML file or one of the presets {', '.join(presets())}")
        return _parse(path.read_text(encoding="utf-8"), str(path))

    @staticmethod
    def preset(name: str) -> "Plan":
        """A plan that comes with the package. Raises UsageError for an unknown name."""
        if name not in presets():
            raise UsageError(f"no preset is named {name!r}; {nearest(name, presets())}")
        return _parse(_preset_folder().joinpath(f"{name}.toml").read_text(encoding="utf-8"), f"preset {name}")

    def changed(self, changes: Mapping[str, object]) -> "Plan":
        """This plan with other values for some keys, checked again. Raises UsageError."""
        return _validated(self.model_dump() | dict(changes), f"plan {self.name}")

    def to_toml(self) -> str:
        """The whole plan, defaults included: `Plan.load` reads it back."""
        return tomli_w.dumps(self.model_dump(mode="json"))


_PARTS: dict[str, type[Part]] = {
    "data": Data,
    "network": Network,
    "training": Training,
    "inference": Inference,
}


def _preset_folder() -> Any:
    return resources.files("lesionloss.bench") / "presets"


def presets() -> list[str]:
    """Names of the plans that come with the package."""
    return sorted(file.name.removesuffix(".toml") for file in _preset_folder().iterdir() if file.name.endswith(".toml"))


def _parse(text: str, where: str) -> Plan:
    try:
        record = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{where} is not valid TOML: {error}") from error
    return _validated(record, where)


def _validated(record: Mapping[str, object], where: str) -> Plan:
    try:
        return Plan.model_validate(record)
    except ValidationError as error:
        raise UsageError(f"{where}: " + "; ".join(_explain(dict(item)) for item in error.errors())) from error


def _explain(item: Mapping[str, Any]) -> str:
    """One error of pydantic as `key: what is wrong`, with the nearest known key for an unknown one."""
    key = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        part: type[Part] = _PARTS[str(item["loc"][0])] if len(item["loc"]) > 1 else Plan
        return f"unknown key {key}; {nearest(str(item['loc'][-1]), list(part.model_fields))}"
    message = str(item["msg"]).removeprefix("Value error, ")
    if item["type"] == "missing":
        return f"{key}: missing"
    value = f", got {item['input']!r}" if item["type"] != "value_error" else ""
    return f"{key}: {message}{value}" if key else message + value

"""The plan as a checked record: read from TOML, checked as a whole before anything runs, written back with defaults."""

from collections.abc import Mapping
from itertools import product
from os import PathLike
from pathlib import Path
from typing import Annotated, Any, Literal

import tomli_w
from pydantic import Field, ValidationError, model_validator

from lesionloss.bench.plan.field_types import ComparatorText, LossText, MetricName, TestName
from lesionloss.bench.plan.folder_names import folder_name, number_repeated, source_folder
from lesionloss.bench.plan.sections import (
    CurvesSection,
    DataSection,
    InferenceSection,
    LossOptionsSection,
    NetworkSection,
    PlanSection,
    TrainingSection,
)
from lesionloss.bench.plan.toml_files import BASED_ON, FORMER_NAMES, list_presets, read_plan_text, read_preset
from lesionloss.core.errors import UsageError, expect_type
from lesionloss.core.files import sha256_of
from lesionloss.core.ranges import Positive, Weight
from lesionloss.core.validation_errors import explain_validation_error


class Plan(PlanSection):
    """Which losses are compared, on what data, with which network, how often, and by which metric.

    Attributes:
        losses_files: Python files with losses and networks of the user's own, relative to the plan.
        primary_metrics: Several primary metrics in their order, `primary_metric` first: the next one counts for a loss
            only if all before it are decided.
        margin: By metric, in its unit: the smallest difference that matters; 0: none. Of Dice .01 if it is not given.
        class_weights: By lesion class, its weight in the mean over classes; 1 for those that are not named.
        decision: What gives the verdicts: intervals and p values, or posterior probabilities.
        repeats: Repeats of the cross-validation; each divides the patients into other folds.
        split_by: What folds and validation keep together: all cases of a patient, or one case. With `case`, cases of
            one patient are trained on and tested.
        split: Patients (or cases) to train on and to test, drawn by `fold_seed`: one fold of these sizes instead of
            `folds`.
        folds_file: A file of folds to use instead of folds made here: of `save_folds`, nnU-Net's splits_final.json, or
            a list of validation cases (one fold).
        comparator: The method without training, scored beside the networks where there are two visits; empty: none.
        datasets: Several data sets, instead of `data`. Each pair of data set and network is a run of its own.
        networks: Several networks, instead of `network`.
    """

    name: str
    question: str = ""
    losses: Annotated[tuple[LossText, ...], Field(min_length=1)]
    losses_files: tuple[str, ...] = ()
    baseline_loss: LossText
    loss_options: LossOptionsSection = LossOptionsSection()
    primary_metric: MetricName = "dice"
    primary_metrics: tuple[MetricName, ...] = ()
    metrics: tuple[MetricName, ...] = ("dice", "jaccard", "precision", "recall", "hd95", "assd", "lesion_f1")
    test: TestName = "sign_flip"
    margin: dict[MetricName, Weight] = Field(default_factory=dict)
    class_weights: dict[str, Weight] = Field(default_factory=dict)
    decision: Literal["frequentist", "bayesian"] = "frequentist"
    folds: Positive
    fold_seed: int = 0
    repeats: Positive = 1
    split_by: Literal["patient", "case"] = "patient"
    split: tuple[Positive, Positive] | tuple[()] = ()
    folds_file: str = ""
    seeds: Annotated[tuple[int, ...], Field(min_length=1)]
    comparator: ComparatorText = "matched_difference_threshold"
    data: DataSection = DataSection()
    datasets: tuple[DataSection, ...] = ()
    network: NetworkSection = NetworkSection()
    networks: tuple[NetworkSection, ...] = ()
    training: TrainingSection = TrainingSection()
    inference: InferenceSection = InferenceSection()
    curves: CurvesSection = CurvesSection()

    @model_validator(mode="before")
    @classmethod
    def _load_losses_files(cls, record: Any) -> Any:
        """Register the user's losses and networks before the texts that name them are checked."""
        from lesionloss.core.user_files import load_user_file

        files = record.get("losses_files", ()) if isinstance(record, Mapping) else ()
        if isinstance(files, list | tuple):
            for file in files:
                load_user_file(Path(str(file)))
        return record

    @model_validator(mode="before")
    @classmethod
    def _split_is_one_fold(cls, record: Any) -> Any:
        return {**record, "folds": 1} if isinstance(record, Mapping) and record.get("split") else record

    @model_validator(mode="after")
    def _check_consistency(self) -> "Plan":
        if self.baseline_loss not in self.losses:
            raise ValueError(f"baseline_loss {self.baseline_loss!r} is not one of losses: {', '.join(self.losses)}")
        if self.training.pretrain and self.network.start_from:
            raise ValueError("training.pretrain and network.start_from both give initial weights; leave one out")
        if self.split and self.folds_file:
            raise ValueError("split and folds_file both say who is tested; leave one out")
        if self.folds < 2 and not self.folds_file and not self.split:
            raise ValueError("folds must be 2 or more; one fold needs split = [train, test] or a folds_file")
        if self.repeats > 1 and (self.folds_file or self.split):
            raise ValueError("repeats needs folds made here: leave out folds_file and split")
        named = [("primary_metric", self.primary_metric)]
        for key, metrics in (
            ("curves", self.curves.metrics),
            ("margin", self.margin),
            ("primary_metrics", self.primary_metrics),
        ):
            named += [(key, metric) for metric in metrics]
        for name, metric in named:
            if metric not in self.metrics:
                raise ValueError(f"{name} {metric!r} is not one of metrics")
        if self.primary_metrics and self.primary_metrics[0] != self.primary_metric:
            raise ValueError(f"primary_metrics must begin with primary_metric, {self.primary_metric!r}")
        lists = ("losses", "seeds", "metrics", "primary_metrics")
        for name, values in ((name, getattr(self, name)) for name in lists):
            repeated = sorted({str(value) for value in values if values.count(value) > 1})
            if repeated:
                raise ValueError(f"{name} names {', '.join(repeated)} twice")
        for one, several in (("data", self.datasets), ("network", self.networks)):
            if several and getattr(self, one) != type(getattr(self, one))():
                raise ValueError(f"give {one} or {'datasets' if one == 'data' else 'networks'}, not both")
        for network in self.networks or (self.network,):
            _check_sides(network.text, self.training, self.inference)
        return self

    @property
    def all_folds(self) -> int:
        """The number of folds in all repeats."""
        return self.folds * self.repeats

    @staticmethod
    def load(path: str | Path) -> "Plan":
        """Read a plan from a TOML file.

        Args:
            path: The file.

        Returns:
            The checked plan.

        Raises:
            UsageError: There is no such file, or it is wrong; the message names all errors with their keys.
        """
        expect_type(path, (str, PathLike), "plan", "give the path of a TOML file")
        path = Path(path)
        if not path.is_file():
            raise UsageError(f"no plan {path}; give a TOML file or one of the presets {', '.join(list_presets())}")
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{path} is not text in UTF-8: {error}") from error
        record = read_plan_text(text, str(path))
        files = record.get("losses_files")
        if isinstance(files, list):
            record["losses_files"] = [str(path.resolve().parent / str(file)) for file in files]
        return _validated(record, str(path))

    @staticmethod
    def preset(name: str) -> "Plan":
        """Return a plan that comes with the package.

        Args:
            name: One of `list_presets()`.

        Returns:
            The checked plan.

        Raises:
            UsageError: No preset has this name.
        """
        return _validated(read_preset(name), f"preset {name}")

    def changed(self, changes: Mapping[str, object]) -> "Plan":
        """Return this plan with other values for some keys, checked again.

        Args:
            changes: New values by key, such as `{"seeds": (1, 2)}`; a section is replaced as a whole.

        Returns:
            The changed plan.

        Raises:
            UsageError: The changed plan is wrong; the message names all errors with their keys.
        """
        return _validated(self.model_dump() | dict(changes), f"plan {self.name}")

    def to_toml(self) -> str:
        """Return the whole plan, defaults included, as `Plan.load` reads it back."""
        return tomli_w.dumps(self.declared())

    def declared(self) -> dict[str, Any]:
        """Return all keys and values as TOML holds them; of two keys that exclude each other, the one in use."""
        record = self.model_dump(mode="json", by_alias=True, exclude_none=True)
        if self.training.epochs:
            del record["training"]["steps"]
        for one, several in (("data", "datasets"), ("network", "networks")):
            del record[one if record[several] else several]
        return record

    def changed_keys(self, other: "Plan") -> tuple[str, ...]:
        """Return the keys in which two plans differ, such as `seeds` or `training.steps`."""
        return tuple(self.changes(other))

    def changes(self, other: "Plan") -> dict[str, tuple[Any, Any]]:
        """Return the values of both plans under each key in which they differ; files of losses by their content."""
        ours, theirs = (_flat(plan.declared() | {"losses_files": plan.loss_file_hashes()}) for plan in (self, other))
        both = {key: (ours.get(key), theirs.get(key)) for key in {**ours, **theirs}}
        return {key: values for key, values in both.items() if values[0] != values[1]}

    def loss_file_hashes(self) -> list[str]:
        """Return the SHA-256 digests of the files with losses, sorted."""
        return sorted(sha256_of(Path(file)) for file in self.losses_files)

    def runs(self) -> dict[str, "Plan"]:
        """Return the plans of one data set and one network each, by the names of their folders.

        A plan of one data set and one network returns itself under the name "".
        """
        datasets, networks = self.datasets or (self.data,), self.networks or (self.network,)
        if not self.datasets and not self.networks:
            return {"": self}
        dataset_names = number_repeated([source_folder(data.name, data.layout, data.source) for data in datasets])
        network_names = number_repeated([folder_name(network.text) for network in networks])
        single = {"datasets": (), "networks": ()}
        return {
            f"{dataset_name}--{network_name}": self.model_copy(update=single | {"data": dataset, "network": network})
            for (dataset_name, dataset), (network_name, network) in product(
                zip(dataset_names, datasets, strict=True), zip(network_names, networks, strict=True)
            )
        }


def _flat(record: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The values of a record by dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in record.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


def _check_sides(network: str, training: TrainingSection, inference: InferenceSection) -> None:
    """Raise ValueError for a patch or window that the network can't take.

    A patch of one slice, its last side 1, trains a network for slices on volumes.
    """
    from lesionloss.networks import network_axes, network_multiple

    axes, multiple = network_axes(network), network_multiple(network)
    for key, sides in (("training.patch", training.patch), ("inference.window", inference.window)):
        plane = sides[:2] if axes == 2 and sides[2:] == (1,) else sides
        if sides and len(plane) != axes:
            slices = ", or [x, y, 1] for slices of volumes" if axes == 2 and key == "training.patch" else ""
            raise ValueError(f"{key}: {network} needs {axes} numbers{slices}, got {list(sides)}")
        if any(side % multiple for side in plane):
            raise ValueError(f"{key}: {network} needs sides that are multiples of {multiple}, got {list(sides)}")


def _validated(record: Mapping[str, object], where: str) -> Plan:
    try:
        plan = Plan.model_validate(record)
    except ValidationError as error:
        message = explain_validation_error(error, Plan, where, former_names=FORMER_NAMES, other_keys=[BASED_ON])
        raise UsageError(message) from error
    return with_used_files(plan)


def with_used_files(plan: Plan) -> Plan:
    """Return the plan with every loaded file whose losses or networks it uses among its `losses_files`."""
    from lesionloss.losses.spec import user_files_of
    from lesionloss.networks import user_files_of as files_of_network

    files = [file for text in plan.losses for file in user_files_of(text)]
    files += [file for network in plan.networks or (plan.network,) for file in files_of_network(network.text)]
    used = {file.sha256: str(file.path) for file in files}
    known = set(plan.loss_file_hashes())
    added = [path for digest, path in used.items() if digest not in known]
    return plan.model_copy(update={"losses_files": (*plan.losses_files, *added)}) if added else plan

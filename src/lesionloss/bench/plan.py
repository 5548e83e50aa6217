"""A plan: what is asked, declared before the data are seen. TOML on disk, checked as a whole before anything runs."""

from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import tomli_w
from pydantic import Field, ValidationError, model_validator

from lesionloss.bench.folder_names import dataset_slug, distinct, network_slug
from lesionloss.bench.plan_parts import Curves, Data, Inference, Network, Part, Training
from lesionloss.bench.plan_reading import explained, preset_record, presets, read
from lesionloss.bench.plan_texts import LossText, MetricName, TestName
from lesionloss.core.errors import UsageError
from lesionloss.core.files import sha256_of
from lesionloss.core.ranges import Positive

__all__ = ["Curves", "Data", "Inference", "Network", "Part", "Plan", "Training", "presets"]


class Plan(Part):
    """Which losses are compared, on what, with which network, how often, and by what they are judged.

    `folds_file`: folds to take instead of made ones: those of `save_folds`, nnU-Net's splits_final.json, or a list of
    validation cases (one fold). `losses_files`: Python files with losses of one's own, relative to the plan. `datasets`
    and `networks`, several at once, stand instead of `data` and `network`: each pair of them is a run of its own.
    """

    name: str
    question: str = ""
    losses: Annotated[tuple[LossText, ...], Field(min_length=1)]
    losses_files: tuple[str, ...] = ()
    baseline_loss: LossText
    primary_metric: MetricName = "dice"
    metrics: tuple[MetricName, ...] = ("dice", "jaccard", "precision", "recall", "hd95", "assd", "lesion_f1")
    test: TestName = "sign_flip"
    folds: Positive
    fold_seed: int = 0
    folds_file: str = ""
    seeds: Annotated[tuple[int, ...], Field(min_length=1)]
    data: Data = Data()
    datasets: tuple[Data, ...] = ()
    network: Network = Network()
    networks: tuple[Network, ...] = ()
    training: Training = Training()
    inference: Inference = Inference()
    curves: Curves = Curves()

    @model_validator(mode="before")
    @classmethod
    def _with_losses(cls, record: Any) -> Any:
        """The user's losses have to be known before the texts that name them are read."""
        from lesionloss.losses.registry import load_user_file

        files = record.get("losses_files", ()) if isinstance(record, Mapping) else ()
        if isinstance(files, list | tuple):
            for file in files:
                load_user_file(Path(str(file)))
        return record

    @model_validator(mode="after")
    def _consistent(self) -> "Plan":
        if self.baseline_loss not in self.losses:
            raise ValueError(f"baseline_loss {self.baseline_loss!r} is not one of losses: {', '.join(self.losses)}")
        if self.training.pretrain and self.network.start_from:
            raise ValueError("training.pretrain and network.start_from both say what to begin with; leave one out")
        if self.folds < 2 and not self.folds_file:
            raise ValueError("folds must be 2 or more; one fold needs a folds_file that says who is tested")
        for name, metric in (("primary_metric", self.primary_metric), *(("curves", m) for m in self.curves.metrics)):
            if metric not in self.metrics:
                raise ValueError(f"{name} {metric!r} is not one of metrics")
        for name, values in (("losses", self.losses), ("seeds", self.seeds), ("metrics", self.metrics)):
            twice = sorted({str(value) for value in values if values.count(value) > 1})
            if twice:
                raise ValueError(f"{name} names {', '.join(twice)} twice")
        for one, several in (("data", self.datasets), ("network", self.networks)):
            if several and getattr(self, one) != type(getattr(self, one))():
                raise ValueError(f"give {one} or {'datasets' if one == 'data' else 'networks'}, not both")
        for network in self.networks or (self.network,):
            _check_sides(network.text, self.training, self.inference)
        return self

    @staticmethod
    def load(path: str | Path) -> "Plan":
        """Read a TOML file. Raises UsageError with all errors at once, each with its key."""
        path = Path(path)
        if not path.is_file():
            raise UsageError(f"no plan {path}; give a TOML file or one of the presets {', '.join(presets())}")
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise UsageError(f"{path} is not text in UTF-8: {error}") from error
        record = read(text, str(path))
        files = record.get("losses_files")
        if isinstance(files, list):
            record["losses_files"] = [str(path.resolve().parent / str(file)) for file in files]
        return _validated(record, str(path))

    @staticmethod
    def preset(name: str) -> "Plan":
        """A plan that comes with the package. Raises UsageError for an unknown name."""
        return _validated(preset_record(name), f"preset {name}")

    def changed(self, changes: Mapping[str, object]) -> "Plan":
        """This plan with other values for some keys, checked again. Raises UsageError."""
        return _validated(self.model_dump() | dict(changes), f"plan {self.name}")

    def to_toml(self) -> str:
        """The whole plan, defaults included: `Plan.load` reads it back."""
        return tomli_w.dumps(self.declared())

    def declared(self) -> dict[str, Any]:
        """All keys and values, as TOML holds them; what stands instead of another is alone."""
        record = self.model_dump(mode="json", by_alias=True, exclude_none=True)
        if self.training.epochs:
            del record["training"]["steps"]
        for one, several in (("data", "datasets"), ("network", "networks")):
            del record[one if record[several] else several]
        return record

    def same_as(self, other: "Plan") -> tuple[str, ...]:
        """The keys in which two plans differ; files with losses are compared by content."""
        ours, theirs = (plan.declared() | {"losses_files": plan.contents()} for plan in (self, other))
        return tuple(key for key in {**ours, **theirs} if ours.get(key) != theirs.get(key))

    def contents(self) -> list[str]:
        """Hashes of the files with losses."""
        return sorted(sha256_of(Path(file)) for file in self.losses_files)

    def runs(self) -> dict[str, "Plan"]:
        """The plans of one data set and one network each, by the names of their folders; itself, as "", for one."""
        datasets, networks = self.datasets or (self.data,), self.networks or (self.network,)
        if not self.datasets and not self.networks:
            return {"": self}
        names = [distinct([dataset_slug(d) for d in datasets]), distinct([network_slug(n.text) for n in networks])]
        alone = {"datasets": (), "networks": ()}
        return {
            f"{dataset_name}--{network_name}": self.model_copy(update=alone | {"data": dataset, "network": network})
            for (dataset_name, dataset), (network_name, network) in product(
                zip(names[0], datasets, strict=True), zip(names[1], networks, strict=True)
            )
        }


def _check_sides(network: str, training: Training, inference: Inference) -> None:
    """Raises ValueError for a patch or window that the network can't take.

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
        raise UsageError(explained(error, Plan, where)) from error
    return with_used_files(plan)


def with_used_files(plan: Plan) -> Plan:
    """The plan with all loaded files whose losses it names among its `losses_files`."""
    from lesionloss.losses.spec import user_files_of

    used = {file.sha256: str(file.path) for text in plan.losses for file in user_files_of(text)}
    known = set(plan.contents())
    more = [path for digest, path in used.items() if digest not in known]
    return plan.model_copy(update={"losses_files": (*plan.losses_files, *more)}) if more else plan

"""The plan of `lesionloss nnunet bench`: which losses, folds and seeds of one of nnU-Net's configurations."""

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationError, field_validator, model_validator

from lesionloss.bench.plan.field_types import MetricName
from lesionloss.bench.plan.sections import PlanSection
from lesionloss.core.errors import UsageError
from lesionloss.core.ranges import Natural, Positive
from lesionloss.core.user_files import load_user_file
from lesionloss.core.validation_errors import explain_validation_error
from lesionloss.integrations.nnunet.installation import (
    configuration_of,
    dataset_name,
    file_ending,
    folder_of,
    number_of_folds,
)
from lesionloss.integrations.nnunet.stored_losses import loss_text
from lesionloss.metrics import choose

LossName = Annotated[str, AfterValidator(loss_text)]
ENDING = ".nii.gz"
FOLDS = (0, 1, 2, 3, 4)


class NnunetPlan(PlanSection):
    """Training runs of nnU-Net that differ in the loss, on the same folds and seeds.

    Attributes:
        dataset: Number or full name, such as `501`.
        losses: Texts as `lesionloss.build` reads them; `nnunet` is nnU-Net's own loss.
        losses_files: Python files with losses of the user's own, relative to the plan.
        epochs: None: nnU-Net's number, 1000; likewise `iterations` (250 an epoch) and `validation_iterations` (50).
        metrics: Scored on the predictions of the validation cases.
        probabilities: nnU-Net keeps probability maps, too, for metrics of calibration (large files).
    """

    dataset: str
    configuration: str
    plans: str = "nnUNetPlans"
    losses: Annotated[tuple[LossName, ...], Field(min_length=2)]
    losses_files: tuple[str, ...] = ()
    baseline_loss: LossName
    folds: Annotated[tuple[Natural, ...], Field(min_length=1)] = FOLDS
    seeds: Annotated[tuple[Natural, ...], Field(min_length=1)]
    epochs: Positive | None = None
    iterations: Positive | None = None
    validation_iterations: Positive | None = None
    device: Literal["cuda", "cpu", "mps"] = "cuda"
    primary_metric: MetricName = "dice"
    metrics: tuple[MetricName, ...] = ("dice", "precision", "recall", "hd95", "lesion_f1")
    probabilities: bool = False

    @field_validator("dataset", mode="before")
    @classmethod
    def _number_as_text(cls, value: Any) -> Any:
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value

    @model_validator(mode="after")
    def _check_consistency(self) -> "NnunetPlan":
        for key in ("losses", "folds", "seeds", "metrics"):
            values: tuple[object, ...] = getattr(self, key)
            repeated = sorted({str(value) for value in values if values.count(value) > 1})
            if repeated:
                raise ValueError(f"{key} names {', '.join(repeated)} twice")
        if self.baseline_loss not in self.losses:
            raise ValueError(f"baseline_loss {self.baseline_loss!r} is not one of losses: {', '.join(self.losses)}")
        if self.primary_metric not in self.metrics:
            raise ValueError(f"primary_metric {self.primary_metric!r} is not one of metrics")
        needing = [name for name in self.metrics if choose(name).metric.needs]
        if needing and not self.probabilities:
            raise ValueError(f"metrics: {', '.join(needing)} need probability maps; set probabilities = true")
        return self


def load_plan(path: Path) -> NnunetPlan:
    """Read a plan from a TOML file.

    Raises:
        UsageError: There is no such file, or it is wrong; the message names all errors with their keys.
    """
    try:
        record = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; give a TOML file, see docs/howto/nnunet.md") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is not valid TOML: {error}") from error
    files = record.get("losses_files", ())
    for file in files if isinstance(files, list) else ():
        load_user_file(path.resolve().parent / str(file))  # before the texts that name their losses are checked
    try:
        return NnunetPlan.model_validate(record)
    except ValidationError as error:
        raise UsageError(explain_validation_error(error, NnunetPlan, str(path))) from error


def check_data(plan: NnunetPlan) -> str:
    """Compare a plan with what nnU-Net has preprocessed.

    Returns:
        The full name of the data set.

    Raises:
        UsageError: Data set, plans, configuration or a fold are missing, or the configuration can't give pairs.
    """
    name = dataset_name(plan.dataset)
    found = configuration_of(name, plan.plans, plan.configuration)
    if found.get("previous_stage"):
        raise UsageError(
            f"configuration: {plan.configuration} learns from predictions of {found['previous_stage']}, which differ "
            f"between losses, so its batches are no pairs; compare losses in {found['previous_stage']} or in 3d_fullres"
        )
    ending = file_ending(name)
    if ending != ENDING:
        raise UsageError(f"dataset: {name} has files {ending}; only predictions in {ENDING} are scored")
    file = folder_of("nnUNet_preprocessed") / name / "splits_final.json"
    folds = number_of_folds(file) if file.is_file() else len(FOLDS)  # nnU-Net makes five where there is no file
    if max(plan.folds) >= folds:
        raise UsageError(f"folds: {file} has folds 0 to {folds - 1}, the plan names {max(plan.folds)}")
    return name

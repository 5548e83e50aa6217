"""The metrics of cases for torchmetrics and Lightning: a class for each, such as `LesionF1Metric`, over all ranks.

metric = LesionF1Metric(spacing_mm=(1, 1, 1))
metric.update(probabilities, references)        # (B, C, *space) and (B, 1, *space)
metric.compute()                                # the mean over the cases of all processes
"""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from lesionloss.core.extras import missing_extra, require
from lesionloss.integrations.case_scores import class_names, expect_reduction, metric_class, scoring
from lesionloss.metrics.metric_registry import Better

try:
    import torchmetrics
    from torchmetrics.utilities import dim_zero_cat
except ModuleNotFoundError as error:
    raise missing_extra(error, "lesionloss.integrations.torchmetrics") or error from None
require("metrics", "lesionloss.integrations.torchmetrics")


class CaseMetric(torchmetrics.Metric):
    """Any metric of cases as a `torchmetrics.Metric`. Each case is scored whole; scores are kept until `reset`."""

    is_differentiable = False
    full_state_update = False
    cases: list[Tensor]

    def __init__(
        self,
        metric: str,
        *,
        include_background: bool = False,
        threshold: float = 0.5,
        spacing_mm: Sequence[float] | None = None,
        penalised: bool = True,
        reduction: Literal["mean", "none"] = "mean",
    ) -> None:
        """Choose a metric.

        Args:
            metric: As `lesionloss.score` takes it, such as "nsd(tolerance_mm=2)".
            include_background: Whether channel 0 of several is scored too.
            threshold: A voxel is of a class where its probability is at least this; masks are taken as they are.
            spacing_mm: Voxel size in mm along each axis; None takes that of MetaTensors.
            penalised: Whether a missed case has the worst value, as in reports; else distances are infinite there.
            reduction: "mean" over the cases where the metric is defined, or "none": one value for each case.

        Raises:
            UsageError: there is no such metric, option or reduction.
        """
        super().__init__()
        expect_reduction(reduction, ("mean", "none"))
        self.scoring = scoring(metric, include_background, threshold, spacing_mm, penalised)
        self.reduction = reduction
        self.add_state("cases", default=[], dist_reduce_fx="cat")

    @property
    def higher_is_better(self) -> bool | None:  # type: ignore[override]
        """Which values are better; None for descriptions."""
        return {Better.HIGHER: True, Better.LOWER: False}.get(self.scoring.chosen.metric.direction)

    def update(self, preds: Tensor, target: Tensor, brain: Tensor | None = None, ignore: Tensor | None = None) -> None:
        """Score the cases of a batch: the mean over the classes in which the metric is defined.

        Args:
            preds: (B, C, *space), masks or probabilities, a channel for each class or one for the lesion.
            target: (B, C, *space) masks, or (B, 1, *space) class numbers.
            brain: (B, *space) masks of the brain, for metrics that need them.
            ignore: (B, *space) masks of voxels that are ignored.

        Raises:
            UsageError: shapes do not fit, or no voxel size is known.
            DataError: what is no mask or probability.
        """
        self.cases.append(self.scoring.of_batch(preds, target, brain, ignore).nanmean(1).to(self.device))

    def compute(self) -> Tensor:
        """The mean over all cases in which the metric is defined, NaN if there is none; or the value of each, (N,)."""
        cases = dim_zero_cat(self.cases) if len(self.cases) else torch.empty(0, device=self.device)
        return cases.nanmean() if self.reduction == "mean" else cases


def __getattr__(name: str) -> Any:  # each class takes the options of its metric
    """The class of a metric, such as `LesionF1Metric`."""
    return metric_class(CaseMetric, name, __name__)


def __dir__() -> list[str]:
    """The classes of this module, with those of all metrics."""
    return [*globals(), *class_names()]

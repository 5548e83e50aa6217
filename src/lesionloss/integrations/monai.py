"""The losses and metrics in MONAI's own form: `as_monai` for losses, a class such as `LesionF1Metric` for each metric.

SupervisedTrainer(..., loss_function=as_monai("hytver"), amp=True)
SupervisedEvaluator(..., key_val_metric={"f1": IgniteMetricHandler(LesionF1Metric(), output_transform=...)})
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.nn.modules.loss import _Loss

from lesionloss.core.errors import UsageError
from lesionloss.core.extras import missing_extra, require
from lesionloss.integrations.case_scores import class_names, expect_reduction, metric_class, scoring
from lesionloss.losses.criterion import Loss, build
from lesionloss.losses.input_checks import plain_labels, plain_tensor

try:
    from monai.config import TensorOrList
    from monai.metrics import CumulativeIterationMetric
    from monai.metrics.utils import do_metric_reduction
except ModuleNotFoundError as error:
    raise missing_extra(error, "lesionloss.integrations.monai") or error from None
require("metrics", "lesionloss.integrations.monai")

Reduction = Literal["mean", "sum", "none"]
MetricReduction = Literal["none", "mean", "sum", "mean_batch", "sum_batch", "mean_channel", "sum_channel"]


class MonaiLoss(_Loss):
    """A loss as MONAI's own are called: `loss(input, target)`, and `loss(input, target, mask)` as its masked losses."""

    def __init__(self, loss: Loss, include_background: bool, reduction: Reduction) -> None:
        """Wrap a loss; see `as_monai`."""
        super().__init__()
        self.loss, self.include_background, self.reduction = loss, include_background, reduction

    def forward(self, input: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """The value of the loss.

        Args:
            input: logits (B, C, *space), a MetaTensor or not, without an activation; one axis of space or more.
            target: (B, 1, *space) class numbers, or (B, C, *space), one-hot or soft.
            mask: (B, 1, *space); voxels where it is 0 are ignored.

        Returns:
            A scalar; with `reduction="none"` (B, 1, ...) with the axes of input, or (1, 1, ...) if the batch is pooled.

        Raises:
            UsageError: shapes or types do not fit.
            DataError: as for `lesionloss.build`.
        """
        logits, labels = plain_tensor(input, "input"), plain_labels(target)
        if logits.dim() != labels.dim():
            raise UsageError(
                f"target must be (B, 1, *space) or (B, C, *space) for input {tuple(logits.shape)}, "
                f"got {tuple(labels.shape)}; target.unsqueeze(1) adds a channel"
            )
        known = None if mask is None else plain_tensor(mask, "mask").expand(labels.shape[0], *mask.shape[1:])
        axes = logits.dim()
        if axes == 3:  # one axis of space, as in MONAI's own tests
            logits, labels, known = logits[..., None], labels[..., None], None if known is None else known[..., None]
        if self.loss.options.multilabel:
            logits, labels = self._channels(logits, labels)
        images = self.loss(logits, labels, valid=known, reduce=False)
        if self.reduction == "none":
            return images.reshape(-1, *[1] * (axes - 1))
        return images.mean() if self.reduction == "mean" else images.sum()

    def _channels(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Channels that are tasks of their own, with one map for each, without the first if that is the background."""
        channels = logits.shape[1]
        if channels > 1 and labels.shape[1] == 1:
            labels = torch.cat([labels == number for number in range(channels)], dim=1)
        first = 0 if self.include_background or channels == 1 else 1
        return logits[:, first:], labels[:, first:]

    def __repr__(self) -> str:
        """The loss and what was added."""
        return f"as_monai({self.loss!r}, include_background={self.include_background}, reduction={self.reduction!r})"


def as_monai(loss: Loss | str, *, include_background: bool | None = None, reduction: Reduction = "mean") -> MonaiLoss:
    """Make a loss that MONAI's trainers and `DeepSupervisionLoss` take, with MONAI's conventions.

    Args:
        loss: What `lesionloss.build` gives, or its text. It has its own activation: a sigmoid for one channel or with
            `multilabel`, else a softmax.
        include_background: Whether channel 0 of several counts: in the mean over classes of overlap losses, and with
            `multilabel` as a task of its own. None: in the mean as the loss was built, and as a task, yes.
        reduction: "mean" or "sum" over images, or "none": one value for each image, in MONAI's broadcastable shape.

    Returns:
        A `torch.nn.Module`, a subclass of torch's `_Loss` as all losses of MONAI are.

    Raises:
        UsageError: the loss is no text and no `Loss`, or there is no such reduction.
    """
    made = build(loss) if isinstance(loss, str) else loss
    if not isinstance(made, Loss):
        raise UsageError(f"as_monai takes what lesionloss.build gives, or its text; got {type(loss).__name__}")
    expect_reduction(reduction, ("mean", "sum", "none"))
    if include_background is not None and not made.options.multilabel:
        made = Loss(made.spec, replace(made.options, average_background=include_background), made.kernel)
    return MonaiLoss(made, include_background is not False, reduction)


class CaseMetric(CumulativeIterationMetric):
    """Any metric of cases as a `CumulativeIterationMetric`, with MONAI's buffers and reductions."""

    def __init__(
        self,
        metric: str,
        *,
        include_background: bool = False,
        threshold: float = 0.5,
        spacing_mm: Sequence[float] | None = None,
        penalised: bool = True,
        reduction: MetricReduction = "mean",
        get_not_nans: bool = False,
    ) -> None:
        """Choose a metric.

        Args:
            metric: As `lesionloss.score` takes it, such as "nsd(tolerance_mm=2)".
            include_background: Whether channel 0 of several is scored too.
            threshold: A voxel is of a class where its probability is at least this; masks are taken as they are.
            spacing_mm: Voxel size in mm along each axis; None takes that of MetaTensors.
            penalised: Whether a missed case has the worst value, as in reports; else distances are infinite there.
            reduction: MONAI's, over what is not NaN: first over classes, then over cases.
            get_not_nans: Whether `aggregate` also gives how many values were defined.

        Raises:
            UsageError: there is no such metric, option or reduction.
        """
        super().__init__()
        expect_reduction(reduction, get_args(MetricReduction))
        self.scoring = scoring(metric, include_background, threshold, spacing_mm, penalised)
        self.reduction, self.get_not_nans = reduction, get_not_nans

    def _compute_list(self, y_pred: TensorOrList, y: TensorOrList | None = None, **maps: TensorOrList) -> Tensor:
        if y is None or len(y) != len(y_pred):
            raise UsageError("a reference is needed for each prediction: metric(y_pred, y)")
        rows = [
            self._compute_tensor(pred[None], ref[None], **{name: each[at][None] for name, each in maps.items()})
            for at, (pred, ref) in enumerate(zip(y_pred, y, strict=True))
        ]
        return torch.cat(rows)

    def _compute_tensor(self, y_pred: Tensor, y: Tensor | None = None, **maps: Tensor) -> Tensor:
        if y is None:
            raise UsageError("a reference is needed: metric(y_pred, y)")
        return self.scoring.of_batch(y_pred, y, **maps)

    def aggregate(self, reduction: MetricReduction | None = None) -> Tensor | tuple[Tensor, Tensor]:
        """Reduce the scores of all cases of all processes since `reset`.

        Args:
            reduction: None: as the metric was made.

        Returns:
            The reduced scores; with `get_not_nans` also how many were defined.

        Raises:
            UsageError: no case was scored.
        """
        buffer: Callable[[], Tensor | None] = self.get_buffer  # MONAI leaves it without types
        scores = buffer()
        if scores is None:
            raise UsageError("no case was scored: call metric(y_pred, y) before aggregate()")
        value, not_nans = do_metric_reduction(scores, reduction or self.reduction)
        return (value, not_nans) if self.get_not_nans else value


def __getattr__(name: str) -> Any:  # each class takes the options of its metric
    """The class of a metric, such as `LesionF1Metric`."""
    return metric_class(CaseMetric, name, __name__)


def __dir__() -> list[str]:
    """The names of this module, with the classes of all metrics."""
    return [*globals(), *class_names()]

"""From batches of masks or probability maps to the scores of their cases, for metrics of MONAI and torchmetrics."""

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

import torch
from torch import Tensor

from lesionloss.core.call_text import format_call
from lesionloss.core.errors import DataError, UsageError, shown
from lesionloss.metrics import Case, choose, list_metrics
from lesionloss.metrics.averages import value_of
from lesionloss.metrics.metric_registry import ChosenMetric, Metric

T = TypeVar("T")


@dataclass(frozen=True)
class Scoring:
    """Which metric, and how masks are read; see `CaseMetric` of the modules beside this one."""

    chosen: ChosenMetric
    include_background: bool
    threshold: float
    spacing_mm: tuple[float, ...] | None
    penalised: bool

    def of_batch(
        self, prediction: Tensor, reference: Tensor, brain: Tensor | None = None, ignore: Tensor | None = None
    ) -> Tensor:
        """Score a batch.

        Args:
            prediction: (B, C, *space), masks or probabilities, a channel for each class or one for the lesion.
            reference: (B, C, *space) masks, or (B, 1, *space) class numbers.
            brain: (B, *space) or (B, 1, *space), masks of the brain, for metrics that need them.
            ignore: likewise, voxels that are ignored.

        Returns:
            (B, channels) in float32, on the device of `prediction`; NaN where the metric is undefined.

        Raises:
            UsageError: the shapes do not fit, or no spacing is known.
            DataError: what is no mask or probability.
        """
        batch, channels, *space = prediction.shape
        if tuple(reference.shape) not in ((batch, channels, *space), (batch, 1, *space)):
            raise UsageError(
                f"references must be {(batch, channels, *space)} or {(batch, 1, *space)} for predictions "
                f"{tuple(prediction.shape)}, got {tuple(reference.shape)}"
            )
        given, known = _host(prediction), _masks(_host(reference), channels)
        beside = {"brain": brain, "ignore": ignore}
        first = 0 if self.include_background or channels == 1 else 1
        rows = []
        for image in range(batch):
            spacing = self.spacing_mm or _spacing(reference, image) or _spacing(prediction, image)
            if spacing is None:
                raise UsageError("no voxel size: pass spacing_mm=(x, y, z) in mm, because these are no MetaTensors")
            maps = {name: _host(x[image]).reshape(space) != 0 for name, x in beside.items() if x is not None}
            cases = [
                Case(given[image, c], known[image, c], spacing_mm=spacing, threshold=self.threshold, **maps)
                for c in range(first, channels)
            ]
            rows.append([self._value(case) for case in cases])
        scores = torch.tensor(rows, dtype=torch.float32, device=prediction.device)
        return scores.reshape(batch, channels - first)  # also where there is no image

    def _value(self, case: Case) -> float:
        value = value_of(self.chosen, case)
        return value.penalised if self.penalised else value.raw


def scoring(
    metric: str, include_background: bool, threshold: float, spacing_mm: Sequence[float] | None, penalised: bool
) -> Scoring:
    """What a metric of another library computes.

    Raises:
        UsageError: there is no such metric or option.
    """
    spacing = None if spacing_mm is None else tuple(float(step) for step in spacing_mm)
    return Scoring(choose(metric), include_background, threshold, spacing, penalised)


def _host(x: Tensor) -> Tensor:
    plain = x.detach().as_subclass(Tensor).cpu()
    return plain.float() if plain.dtype in (torch.float16, torch.bfloat16) else plain


def _masks(reference: Tensor, channels: int) -> Tensor:
    """(B, C, *space) whole numbers of references (B, C, *space) or (B, 1, *space)."""
    if reference.is_floating_point() and not bool((reference == reference.round()).all()):
        raise DataError("references must be masks or class numbers, whole; got shares such as 0.5")
    numbers = reference.long()
    if numbers.shape[1] == channels:
        return numbers
    return torch.cat([numbers == channel for channel in range(channels)], dim=1)


def _spacing(x: Tensor, image: int) -> tuple[float, ...] | None:
    """The voxel size of an image of a MetaTensor; None for other tensors."""
    affine = getattr(x, "affine", None)
    if affine is None:
        return None
    turned = torch.as_tensor(affine)
    turned = turned[min(image, len(turned) - 1)] if turned.dim() == 3 else turned
    axes = x.dim() - 2
    return tuple(turned[:axes, :axes].double().square().sum(0).sqrt().tolist())


def class_name(metric: Metric) -> str:
    """The name of a metric's class: LesionF1Metric for lesion_f1."""
    return "".join(word.capitalize() for word in metric.name.split("_")) + "Metric"


def class_names() -> list[str]:
    """The names of the classes of all metrics."""
    return [class_name(metric) for metric in list_metrics()]


@cache
def metric_class(base: type[T], name: str, module: str) -> type[T]:
    """A class with the options of one metric as keywords, made from one that takes the metric as text.

    Args:
        base: Its first argument is the text of a metric, its others are keywords.
        name: As `class_name` gives it.
        module: Where the class is found by its name.

    Raises:
        AttributeError: no metric has such a class.
    """
    for record in list_metrics():
        if class_name(record) == name:
            return _class_of(base, record, module)
    raise AttributeError(f"no metric has a class named {name!r}; known: {', '.join(class_names())}")


def _class_of(base: type[T], record: Metric, module: str) -> type[T]:
    shared = [each for each in inspect.signature(base).parameters.values() if each.kind is each.KEYWORD_ONLY]
    options = list(_option_keywords(record))
    signature = inspect.Signature(options + shared)
    initialise: Callable[..., None] = base.__init__

    def __init__(self: Any, *positional: Any, **keywords: Any) -> None:
        try:
            arguments = signature.bind(*positional, **keywords).arguments
        except TypeError as error:
            raise TypeError(f"{class_name(record)}: {error}; it takes {', '.join(signature.parameters)}") from None
        given = {option.name: arguments.pop(option.name) for option in options if option.name in arguments}
        initialise(self, format_call(record.name, given), **arguments)

    members = {
        "__init__": __init__,
        "__doc__": f"{record.title}.\n\nSource: {record.source}. For all arguments see `{base.__name__}`.",
        "__module__": module,
        "__signature__": signature,
    }
    return type(class_name(record), (base,), members)


def _option_keywords(record: Metric) -> Iterator[inspect.Parameter]:
    options = dict(record.options)
    if record.can_count_empty:
        options["both_empty"] = record.empty.both
    for name, default in options.items():
        yield inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default)


def expect_reduction(reduction: object, known: Sequence[str]) -> None:
    """Compare a reduction with those that there are.

    Raises:
        UsageError: it is none of them.
    """
    if reduction not in known:
        raise UsageError(f"reduction must be one of {', '.join(known)}; got {shown(reduction)}")

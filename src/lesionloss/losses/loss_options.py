"""The options that all losses share: how they are read, kept and written."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from lesionloss.core.errors import UsageError, shown

Empty = Literal["count", "skip"]


@dataclass(frozen=True)
class LossOptions:
    """How a batch is read; set when a loss is built, the same for all of its terms."""

    pooled: bool = False  # the batch counts as one image
    average_background: bool = False  # overlap losses average over class 0 too
    skip_empty: bool = False  # a class that is absent from the reference leaves the overlap terms
    multilabel: bool = False  # each channel is an independent binary task
    ignore_index: int | None = None  # voxels with this label are ignored
    class_weights: tuple[float, ...] | None = None  # how often each class counts, background first; None: once
    over_ranks: bool = True  # a pooled batch is that of all processes of a training run


def read_options(
    pooled: bool,
    empty: str,
    average_background: bool,
    multilabel: bool,
    ignore_index: int | None,
    class_weights: Sequence[float] | None,
) -> LossOptions:
    """Check the options of `build`.

    Raises:
        UsageError: one has no such value.
    """
    if empty not in ("count", "skip"):
        raise UsageError(f'empty must be "count" or "skip", got {empty!r}')
    switches = {"pooled": pooled, "average_background": average_background, "multilabel": multilabel}
    for name, value in switches.items():
        if not isinstance(value, bool):
            raise UsageError(f"{name} must be True or False, got {value!r}")
    if ignore_index is not None and (isinstance(ignore_index, bool) or not isinstance(ignore_index, int)):
        raise UsageError(f"ignore_index must be a whole number or None, got {ignore_index!r}")
    weights = None if class_weights is None else _class_weights(class_weights)
    return LossOptions(pooled, average_background, empty == "skip", multilabel, ignore_index, weights)


def _class_weights(given: Sequence[float]) -> tuple[float, ...]:
    try:
        weights = tuple(map(float, given))
    except (TypeError, ValueError):
        weights = ()
    if not weights or not all(0 <= weight < math.inf for weight in weights) or max(weights) == 0:
        raise UsageError(
            f"class_weights must be finite numbers that are not negative and not all 0, one for each class, background "
            f"first; got {shown(given)}"
        )
    return weights


def differences(options: LossOptions) -> list[str]:
    """The options of `build` that are not at their defaults, as written there."""
    entries: list[tuple[str, object, object]] = [
        ("pooled", options.pooled, False),
        ("empty", "skip" if options.skip_empty else "count", "count"),
        ("average_background", options.average_background, False),
        ("multilabel", options.multilabel, False),
        ("ignore_index", options.ignore_index, None),
        ("class_weights", options.class_weights, None),
    ]
    return [f"{name}={value!r}" for name, value, default in entries if value is not default]

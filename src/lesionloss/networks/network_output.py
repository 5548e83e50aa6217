"""What a network gives: logits, and for some networks what else it predicts."""

from typing import Any, NamedTuple

from torch import Tensor

from lesionloss.core.errors import UsageError


class Outputs(NamedTuple):
    """Logits of what is asked, and what is supervised beside it.

    logits: (B, C, *space) at full resolution, the only part that inference needs.
    deep: logits of coarser levels, highest resolution first, for deep supervision; only in training.
    baseline, followup: logits of all lesions of one visit, (B, C, *space), of networks that predict them.
    """

    logits: Tensor
    deep: tuple[Tensor, ...] = ()
    baseline: Tensor | None = None
    followup: Tensor | None = None


def as_outputs(result: Tensor | Outputs) -> Outputs:
    """What a network's forward gave, as a record: a plain tensor is the logits alone."""
    return result if isinstance(result, Outputs) else Outputs(result)


def logits_of(result: Tensor | Outputs) -> Tensor:
    """The logits (B, C, *space) of what a network's forward gave."""
    return as_outputs(result).logits


def tidy(result: Any, axes: int) -> Tensor | Outputs:
    """One form for what MONAI's networks give.

    A stack (B, heads, C, *space) has its main head first; a list is put in order of resolution, of equals the last
    first. What is not a map (a penalty beside the logits) is left out.
    """
    if isinstance(result, Tensor):
        if result.ndim == axes + 3:
            first, *rest = result.unbind(1)
            return Outputs(first, tuple(rest))
        return result
    if isinstance(result, list | tuple):
        maps = [part for part in result if isinstance(part, Tensor) and part.ndim == axes + 2]
        maps.reverse()
        maps.sort(key=lambda part: -part.shape[2:].numel())
        if maps:
            return Outputs(maps[0], tuple(maps[1:]))
    raise UsageError(f"the network gives a {type(result).__name__}, which holds no map of logits")

"""The outputs of a network: logits, and for some networks more maps."""

from typing import Any, NamedTuple

from torch import Tensor

from lesionloss.core.errors import UsageError


class Outputs(NamedTuple):
    """The logits, and further logits that are trained beside them.

    Attributes:
        logits: (B, C, *space) at full resolution, the only output that inference needs.
        deep: Logits of coarser levels, highest resolution first, for deep supervision; only in training.
        baseline: Logits of all lesions of the baseline, (B, C, *space), of networks that predict them.
        followup: Logits of all lesions of the follow-up, (B, C, *space), of networks that predict them.
    """

    logits: Tensor
    deep: tuple[Tensor, ...] = ()
    baseline: Tensor | None = None
    followup: Tensor | None = None


def as_outputs(result: Tensor | Outputs) -> Outputs:
    """Return the result of a network's forward as a record; a tensor is the logits alone."""
    return result if isinstance(result, Outputs) else Outputs(result)


def logits_of(result: Tensor | Outputs) -> Tensor:
    """Return the logits (B, C, *space) of the result of a network's forward."""
    return as_outputs(result).logits


def normalise_outputs(result: Any, axes: int) -> Tensor | Outputs:
    """Bring the outputs of foreign networks into one form.

    Args:
        result: `Outputs`; a tensor (B, C, *space); a stack (B, heads, C, *space), main head first; or a list of maps,
            which is sorted by resolution, of equals the last first, without what is no map (such as a penalty).
        axes: Axes of space.

    Raises:
        UsageError: There is no map of logits.
    """
    if isinstance(result, Outputs):
        return result
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

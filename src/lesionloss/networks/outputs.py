"""What a network gives: logits, and for some networks what else it predicts."""

from typing import NamedTuple

from torch import Tensor


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

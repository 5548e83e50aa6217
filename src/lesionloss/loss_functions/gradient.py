"""Losses that were published as a gradient, here as the function that has it."""

from torch import Tensor

from lesionloss.hyperparameters import Order, Share
from lesionloss.kernels.terms import Tail
from lesionloss.registry import loss
from lesionloss.voxels import Voxels


@loss("weighted_gradient", source="Cabezas & Diez 2024, eq. 5, sign corrected")
def weighted_gradient(v: Voxels, *, gamma: Order = 2, lesion: Share | None = None) -> Tensor:
    """Weighted gradient: cross-entropy without its first Taylor terms, so that sure voxels pull no more."""
    on_lesion, on_background = v.term_sums(Tail(gamma), Tail(gamma))
    share = v.class_voxels[:, 0] / v.n if lesion is None else lesion
    return (share * on_lesion + (1 - share) * on_background) / v.n

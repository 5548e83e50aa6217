"""Losses that were published as a gradient, here as the function that has it."""

from torch import Tensor

from lesionloss.core.ranges import Positive, Share
from lesionloss.losses.kernels.terms import Tail
from lesionloss.losses.registry import loss
from lesionloss.losses.voxels import Voxels


@loss("weighted_gradient", source="Cabezas & Diez 2024, eq. 5, sign corrected")
def weighted_gradient(v: Voxels, *, gamma: Positive = 2, lesion: Share | None = None) -> Tensor:
    """Weighted gradient: cross-entropy without its first Taylor terms, so that sure voxels pull no more.

    Formula: mean w (ce - Σ_(j<gamma) q^j / j) = mean w Σ_(j>=gamma) q^j / j
    gamma: exponent of the error in the gradient (γ in eq. 5)
    lesion: weight of a lesion voxel (α in eq. 5), the background has the rest; None takes the share of background
        voxels
    Limits: weighted_gradient(gamma=1) is weighted cross-entropy. The gradient is w q^gamma / n, pushing towards the
        reference.
    Empty: an ordinary image, all of it background. With lesion=None its weight is 1 - 1 = 0, so such an image costs
        nothing.
    Released: eq. 5 is printed with the wrong sign for the lesion. The released code sums instead of averaging,
        weights by the batch instead of the image, and reports the value of another loss (generalised Dice) beside
        this gradient.
    Example: weighted_gradient(gamma=2, lesion=0.8)
    """
    on_lesion, on_background = v.term_sums(Tail(gamma), Tail(gamma))
    share = v.class_voxels[:, 0] / v.n if lesion is None else lesion
    return (share * on_lesion + (1 - share) * on_background) / v.n

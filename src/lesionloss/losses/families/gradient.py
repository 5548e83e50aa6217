"""Losses that were published as a gradient, written here as a function with that gradient."""

from torch import Tensor

from lesionloss.core.ranges import Positive, Share
from lesionloss.losses.kernels.terms import Tail
from lesionloss.losses.registry import loss
from lesionloss.losses.voxels import Voxels


@loss("weighted_gradient", source="Cabezas & Diez 2024, eq. 5, sign corrected")
def weighted_gradient(v: Voxels, *, gamma: Positive = 2, lesion: Share | None = None) -> Tensor:
    """Weighted gradient: cross-entropy without its first Taylor terms; well-classified voxels have little gradient.

    Formula: mean w (ce - Σ_(j<gamma) q^j / j) = mean w Σ_(j>=gamma) q^j / j
    gamma: exponent of the error in the gradient (γ in eq. 5)
    lesion: weight of lesion voxels (α in eq. 5); background voxels have 1 - lesion. None: the share of background
        voxels in the image
    Limits: gamma=1 is weighted cross-entropy. The size of the gradient is w q^gamma / n per voxel.
    Empty: no special case for images without lesions; but with lesion=None the weight of their background, and so the
        loss, is 0.
    Released: eq. 5 is printed with the wrong sign for lesion voxels. The released code sums instead of averaging,
        computes weights per batch instead of per image, and logs the value of another loss (generalised Dice).
    Example: weighted_gradient(gamma=2, lesion=0.8)
    """
    on_lesion, on_background = v.term_sums(Tail(gamma), Tail(gamma))
    share = v.class_voxels[:, 0] / v.n if lesion is None else lesion
    return (share * on_lesion + (1 - share) * on_background) / v.n

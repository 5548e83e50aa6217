"""Losses that add up something per voxel: cross-entropy and its weighted and focal kinds."""

from torch import Tensor

from lesionloss.core.ranges import Exponent, Weight
from lesionloss.losses.index import log_cosh, weighted
from lesionloss.losses.kernels.terms import Focal
from lesionloss.losses.registry import loss
from lesionloss.losses.voxels import Voxels


@loss("cross_entropy", source="Cabezas & Diez 2024, eq. 1; Yeung 2023 (DSC++), eq. 1")
def cross_entropy(v: Voxels) -> Tensor:
    """Cross-entropy: every voxel counts the same, so the background decides.

    Formula: mean ce
    Limits: focal(gamma=0, lesion=1, background=1) and weighted_gradient(gamma=1, lesion=0.5) times 2 are the same.
    Empty: an ordinary image, all of it background.
    Example: cross_entropy
    """
    lesion, background = v.term_sums()
    return (lesion + background) / v.n


@loss("weighted_cross_entropy", source="HyTver 2025 (weightedce); Taghanaki 2019 (mCE) and Yeung 2023, eq. 14")
def weighted_cross_entropy(
    v: Voxels, *, lesion: Weight = 0.9, background: Weight = 0.1, normalise: bool = True
) -> Tensor:
    """Weighted cross-entropy: a lesion voxel weighs more than a background voxel.

    Formula: Σ w ce / Σ w; with normalise=False: Σ w ce / n
    lesion: weight of a lesion voxel
    background: weight of a background voxel
    normalise: divide by the sum of the weights instead of the number of voxels
    Limits: equal weights give cross_entropy.
    Empty: an ordinary image, all of it background. With normalise=False it is then scaled by the background's weight.
    Example: weighted_cross_entropy(lesion=0.7, background=0.3)
    """
    on_lesion, on_background = v.term_sums()
    total = weighted(lesion, on_lesion, background, on_background)
    if not normalise:
        return total / v.n
    of_background = v.class_voxels[:, 0]
    weight = lesion * v.class_voxels[:, 1:].sum(1) + background * of_background
    return total / weight.clamp_min(v.eps)


@loss("focal", source="Lin 2017, eq. 5; Cabezas & Diez 2024, eq. 2")
def focal(v: Voxels, *, gamma: Exponent = 2.0, lesion: Weight = 0.25, background: Weight = 0.75) -> Tensor:
    """Focal: cross-entropy of the voxels that are still wrong.

    Formula: mean w q^gamma ce
    gamma: how strongly sure voxels are forgotten (γ in the papers)
    lesion: weight of a lesion voxel (α in the papers)
    background: weight of a background voxel (1 - α in the papers)
    Limits: focal(gamma=0, lesion=1, background=1) is cross_entropy.
    Empty: an ordinary image, all of it background.
    Released: Cabezas & Diez print α before both terms, which would be a mere scale; their code has 1 - α on the
        background.
    Example: focal(gamma=2, lesion=0.75, background=0.25)
    """
    on_lesion, on_background = v.term_sums(Focal(gamma), Focal(gamma))
    return weighted(lesion, on_lesion, background, on_background) / v.n


@loss("logcosh", source="HyTver 2025, released code (Logcosh)")
def logcosh(v: Voxels) -> Tensor:
    """Log-cosh: a smooth squared error of the probability, per voxel.

    Formula: mean log cosh(t - p), averaged over the lesion classes
    Empty: finding nothing costs 0.
    Released: HyTver's table calls it Logcosh; it is not the log-cosh Dice of Jadon (log_cosh_dice).
    Example: logcosh
    """
    errors = log_cosh(v.p - v.onehot)
    if v.valid is not None:
        errors = errors * v.valid[:, None]
    columns = errors if v.options.average_background else errors[:, 1:]
    return v.total(columns).mean(1) / v.n

"""Losses that are means over voxels: cross-entropy, its weighted and focal variants, and log-cosh."""

from torch import Tensor

from lesionloss.core.ranges import Exponent, Weight
from lesionloss.losses.index import log_cosh, weighted
from lesionloss.losses.kernels.terms import Focal
from lesionloss.losses.registry import loss
from lesionloss.losses.voxels import Voxels, column_mean


@loss("cross_entropy", source="Cabezas & Diez 2024, eq. 1; Yeung 2023 (DSC++), eq. 1")
def cross_entropy(v: Voxels) -> Tensor:
    """Cross-entropy: all voxels have equal weight, so the background dominates.

    Formula: mean ce
    Limits: focal(gamma=0, lesion=1, background=1) and 2*weighted_gradient(gamma=1, lesion=0.5) are equal to it.
    Empty: no special case for images without lesions.
    Example: cross_entropy
    """
    lesion, background = v.term_sums()
    return (lesion + background) / v.n


@loss("weighted_cross_entropy", source="HyTver 2025 (weightedce); Taghanaki 2019 (mCE) and Yeung 2023, eq. 14")
def weighted_cross_entropy(
    v: Voxels, *, lesion: Weight = 0.9, background: Weight = 0.1, normalise: bool = True
) -> Tensor:
    """Weighted cross-entropy: lesion voxels have a larger weight than background voxels.

    Formula: Σ w ce / Σ w; with normalise=False: Σ w ce / n
    lesion: weight of lesion voxels
    background: weight of background voxels
    normalise: divide by the sum of the weights instead of the number of voxels
    Limits: equal weights give cross_entropy.
    Empty: no special case for images without lesions; with normalise=False the value then scales with background=.
    Example: weighted_cross_entropy(lesion=0.7, background=0.3)
    """
    on_lesion, on_background = v.term_sums()
    total = weighted(lesion, on_lesion, background, on_background)
    if not normalise:
        return total / v.n
    counted = v.weighted_class_voxels
    weight = lesion * counted[:, 1:].sum(1) + background * counted[:, 0]
    return total / weight.clamp_min(v.eps)


@loss("focal", source="Lin 2017, eq. 5; Cabezas & Diez 2024, eq. 2")
def focal(v: Voxels, *, gamma: Exponent = 2.0, lesion: Weight = 0.25, background: Weight = 0.75) -> Tensor:
    """Focal: cross-entropy that down-weights well-classified voxels.

    Formula: mean w q^gamma ce
    gamma: how strongly well-classified voxels are down-weighted (γ in the papers)
    lesion: weight of lesion voxels (α in the papers)
    background: weight of background voxels (1 - α in the papers)
    Limits: focal(gamma=0, lesion=1, background=1) is cross_entropy.
    Empty: no special case for images without lesions.
    Released: Cabezas & Diez print α in both terms, which only scales the loss; their code has 1 - α for the background.
    Example: focal(gamma=2, lesion=0.75, background=0.25)
    """
    on_lesion, on_background = v.term_sums(Focal(gamma), Focal(gamma))
    return weighted(lesion, on_lesion, background, on_background) / v.n


@loss("logcosh", source="HyTver 2025, released code (Logcosh)")
def logcosh(v: Voxels) -> Tensor:
    """Log-cosh: smooth squared error of the probability, per voxel.

    Formula: mean log cosh(t - p), averaged over the lesion classes
    Empty: 0 for an empty prediction.
    Released: HyTver's table calls it Logcosh; it is not the log-cosh Dice of Jadon (log_cosh_dice).
    Example: logcosh
    """
    errors = log_cosh(v.p - v.onehot)
    if v.valid is not None:
        errors = errors * v.valid[:, None]
    columns, weights = (errors if v.options.average_background else errors[:, 1:]), v.class_weights
    return column_mean(v.total(columns), weights and weights[-columns.shape[1] :]) / v.n

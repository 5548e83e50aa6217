"""The unified focal family: focal cross-entropy and focal Tversky under the same delta and gamma."""

import torch
from torch import Tensor

from lesionloss.core.ranges import Share, Sharpness
from lesionloss.losses.index import power, shortfall, weighted
from lesionloss.losses.kernels.terms import CrossEntropy, Focal
from lesionloss.losses.registry import loss
from lesionloss.losses.voxels import Voxels

_UNIFIED = "Yeung 2022 (Unified Focal); Yeung 2023 (DSC++), eq. 18-21"
_UNIFIED_PLUS_PLUS = "Yeung 2023 (DSC++), section on compound losses"


@loss("symmetric_focal", source="Yeung 2022 (Unified Focal)")
def symmetric_focal(v: Voxels, *, delta: Share = 0.6, gamma: Share = 0.5) -> Tensor:
    """Symmetric focal: weighted cross-entropy that down-weights well-classified voxels of both classes.

    Formula: mean w q^gamma ce, w = delta on lesions, 1 - delta on background
    delta: weight of lesion voxels (δ); background voxels have 1 - delta
    gamma: how strongly well-classified voxels are down-weighted (γ)
    Limits: gamma=0 is weighted_cross_entropy(lesion=delta, background=1 - delta, normalise=False).
    Empty: no special case for images without lesions.
    Example: symmetric_focal(delta=0.7)
    """
    lesion, background = v.term_sums(Focal(gamma), Focal(gamma))
    return weighted(delta, lesion, 1 - delta, background) / v.n


@loss("asymmetric_focal", source="Yeung 2022 (Unified Focal); Yeung 2023 (DSC++), eq. 19")
def asymmetric_focal(v: Voxels, *, delta: Share = 0.6, gamma: Share = 0.5) -> Tensor:
    """Asymmetric focal: weighted cross-entropy that down-weights well-classified background voxels.

    Formula: mean w q^gamma ce on background, mean w ce on lesions; w = delta on lesions, 1 - delta on background
    delta: weight of lesion voxels (δ); background voxels have 1 - delta
    gamma: how strongly well-classified background voxels are down-weighted (γ)
    Limits: gamma=0 is weighted_cross_entropy(lesion=delta, background=1 - delta, normalise=False).
    Empty: no special case for images without lesions.
    Released: MONAI also averages over the two classes, which gives half of this value.
    Example: asymmetric_focal(delta=0.7)
    """
    lesion, background = v.term_sums(CrossEntropy(), Focal(gamma))
    return weighted(delta, lesion, 1 - delta, background) / v.n


def _focal_tversky(v: Voxels, delta: float, exponents: tuple[float, float], sharpen: float = 1.0) -> Tensor:
    """Mean over all classes of (1 - index(1 - δ, δ)) to a power of the background's and one of the lesions: (I,)."""
    short = shortfall(v.counts(average_background=True, sharpen=sharpen), fp=1 - delta, fn=delta)
    of_background, of_lesion = exponents
    return v.class_mean(torch.cat([power(short[:, :1], of_background), power(short[:, 1:], of_lesion)], dim=1))


@loss("symmetric_focal_tversky", source="Yeung 2022 (Unified Focal)")
def symmetric_focal_tversky(v: Voxels, *, delta: Share = 0.6, gamma: Share = 0.5) -> Tensor:
    """Symmetric focal Tversky: the Tversky losses of all classes to the power 1 - gamma.

    Formula: mean over all classes of (1 - index(1 - delta, delta))^(1 - gamma)
    delta: weight of false negatives (δ; the other way round in eq. 21); false positives have 1 - delta
    gamma: subtracted from the exponent (γ)
    Limits: gamma=0 is tversky(fp=1 - delta, fn=delta) with average_background=True.
    Empty: 0 for an empty prediction; with false positives about 1 in the lesion class, which is half of the mean.
    Example: symmetric_focal_tversky(delta=0.7)
    """
    return _focal_tversky(v, delta, (1 - gamma, 1 - gamma))


@loss("asymmetric_focal_tversky", source="Yeung 2022 (Unified Focal); Yeung 2023 (DSC++), eq. 20")
def asymmetric_focal_tversky(v: Voxels, *, delta: Share = 0.6, gamma: Share = 0.5) -> Tensor:
    """Asymmetric focal Tversky: the Tversky losses of all classes, those of lesions to the power 1 - gamma.

    Formula: mean over all classes of (1 - index(1 - delta, delta))^(1 - gamma), for the background without the
        exponent
    delta: weight of false negatives (δ; the other way round in eq. 21); false positives have 1 - delta
    gamma: subtracted from the exponent of the lesion classes (γ)
    Limits: gamma=0 is tversky(fp=1 - delta, fn=delta) with average_background=True.
    Empty: 0 for an empty prediction; with false positives about 1 in the lesion class, which is half of the mean.
    Released: the authors' code gives NaN (0·∞) at a perfect prediction.
    Example: asymmetric_focal_tversky(delta=0.7)
    """
    return _focal_tversky(v, delta, (1, 1 - gamma))


@loss("symmetric_unified_focal", source=_UNIFIED)
def symmetric_unified_focal(v: Voxels, *, tversky_share: Share = 0.5, delta: Share = 0.6, gamma: Share = 0.5) -> Tensor:
    """Symmetric unified focal: symmetric focal Tversky and symmetric focal.

    Formula: tversky_share·symmetric_focal_tversky + (1 - tversky_share)·symmetric_focal
    tversky_share: share of the overlap part (λ in the code, 1 - λ in eq. 18)
    delta: weight of lesion voxels and of false negatives (δ)
    gamma: focusing parameter of both parts (γ; 0.5 in the code, 0.1 in Table II)
    Limits: tversky_share=1 is symmetric_focal_tversky, tversky_share=0 is symmetric_focal.
    Empty: as in its two parts.
    Released: λ weighs the cross-entropy in eq. 18, and the overlap in the authors' code.
    Example: symmetric_unified_focal(delta=0.7, gamma=0.1)
    """
    return tversky_share * symmetric_focal_tversky(v, delta=delta, gamma=gamma) + (1 - tversky_share) * symmetric_focal(
        v, delta=delta, gamma=gamma
    )


@loss("asymmetric_unified_focal", source=_UNIFIED)
def asymmetric_unified_focal(
    v: Voxels, *, tversky_share: Share = 0.5, delta: Share = 0.6, gamma: Share = 0.5
) -> Tensor:
    """Asymmetric unified focal: asymmetric focal Tversky and asymmetric focal.

    Formula: tversky_share·asymmetric_focal_tversky + (1 - tversky_share)·asymmetric_focal
    tversky_share: share of the overlap part (λ in the code, 1 - λ in eq. 18)
    delta: weight of lesion voxels and of false negatives (δ)
    gamma: focusing parameter of both parts (γ; 0.5 in the code, 0.1 in Table II)
    Limits: tversky_share=1 is asymmetric_focal_tversky, tversky_share=0 is asymmetric_focal.
    Empty: as in its two parts.
    Released: λ weighs the cross-entropy in eq. 18, and the overlap in the authors' code.
    Example: asymmetric_unified_focal(delta=0.7, gamma=0.1)
    """
    return tversky_share * asymmetric_focal_tversky(v, delta=delta, gamma=gamma) + (
        1 - tversky_share
    ) * asymmetric_focal(v, delta=delta, gamma=gamma)


@loss("symmetric_unified_focal_plus_plus", source=_UNIFIED_PLUS_PLUS)
def symmetric_unified_focal_plus_plus(
    v: Voxels, *, tversky_share: Share = 0.5, delta: Share = 0.6, gamma: Share = 0.5, sharpen: Sharpness = 2.0
) -> Tensor:
    """Symmetric unified focal++: symmetric unified focal with sharpened errors, as in Dice++.

    Formula: symmetric_unified_focal with errors sharpened as in dice_plus_plus
    tversky_share: share of the overlap part (λ)
    delta: weight of lesion voxels and of false negatives (δ)
    gamma: focusing parameter of both parts (γ of the unified focal loss)
    sharpen: how strongly uncertain errors are down-weighted (γ of DSC++); below 1: see dice_plus_plus
    Limits: sharpen=1 is symmetric_unified_focal.
    Empty: as in its two parts.
    Example: symmetric_unified_focal_plus_plus
    """
    overlap = _focal_tversky(v, delta, (1 - gamma, 1 - gamma), sharpen)
    return tversky_share * overlap + (1 - tversky_share) * symmetric_focal(v, delta=delta, gamma=gamma)


@loss("asymmetric_unified_focal_plus_plus", source=_UNIFIED_PLUS_PLUS)
def asymmetric_unified_focal_plus_plus(
    v: Voxels, *, tversky_share: Share = 0.5, delta: Share = 0.6, gamma: Share = 0.5, sharpen: Sharpness = 2.0
) -> Tensor:
    """Asymmetric unified focal++: asymmetric unified focal with sharpened errors, as in Dice++.

    Formula: asymmetric_unified_focal with errors sharpened as in dice_plus_plus
    tversky_share: share of the overlap part (λ)
    delta: weight of lesion voxels and of false negatives (δ)
    gamma: focusing parameter of both parts (γ of the unified focal loss)
    sharpen: how strongly uncertain errors are down-weighted (γ of DSC++); below 1: see dice_plus_plus
    Limits: sharpen=1 is asymmetric_unified_focal.
    Empty: as in its two parts.
    Example: asymmetric_unified_focal_plus_plus
    """
    overlap = _focal_tversky(v, delta, (1, 1 - gamma), sharpen)
    return tversky_share * overlap + (1 - tversky_share) * asymmetric_focal(v, delta=delta, gamma=gamma)

"""The unified focal family: focal cross-entropy and focal Tversky under the same delta and gamma."""

import torch
from torch import Tensor

from lesionloss.hyperparameters import Share, Sharpness
from lesionloss.index import power, shortfall
from lesionloss.kernels.terms import CROSS_ENTROPY, Focal
from lesionloss.registry import loss
from lesionloss.voxels import Voxels

_UNIFIED = "Yeung 2022 (Unified Focal); Yeung 2023 (DSC++), eq. 18-21"
_UNIFIED_PLUS_PLUS = "Yeung 2023 (DSC++), section on compound losses"


@loss("symmetric_focal", source="Yeung 2022 (Unified Focal)")
def symmetric_focal(v: Voxels, *, delta: Share = 0.6, gamma: Share = 0.5) -> Tensor:
    """Symmetric focal: weighted cross-entropy, focused on what is still wrong in both classes."""
    lesion, background = v.term_sums(Focal(gamma), Focal(gamma))
    return (delta * lesion + (1 - delta) * background) / v.n


@loss("asymmetric_focal", source="Yeung 2022 (Unified Focal); Yeung 2023 (DSC++), eq. 19")
def asymmetric_focal(v: Voxels, *, delta: Share = 0.6, gamma: Share = 0.5) -> Tensor:
    """Asymmetric focal: weighted cross-entropy, focused on what is still wrong in the background only."""
    lesion, background = v.term_sums(CROSS_ENTROPY, Focal(gamma))
    return (delta * lesion + (1 - delta) * background) / v.n


def _focal_tversky(v: Voxels, delta: float, exponents: tuple[float, float], sharpen: float = 1.0) -> Tensor:
    """Mean over all classes of (1 - index(1 - δ, δ)) to a power of the background's and one of the lesions: (I,)."""
    short = shortfall(v.counts(background=True, sharpen=sharpen), fp=1 - delta, fn=delta)
    of_background, of_lesion = exponents
    return v.class_mean(torch.cat([power(short[:, :1], of_background), power(short[:, 1:], of_lesion)], dim=1))


@loss("symmetric_focal_tversky", source="Yeung 2022 (Unified Focal)")
def symmetric_focal_tversky(v: Voxels, *, delta: Share = 0.6, gamma: Share = 0.5) -> Tensor:
    """Symmetric focal Tversky: the Tversky loss of all classes to the power 1 - gamma."""
    return _focal_tversky(v, delta, (1 - gamma, 1 - gamma))


@loss("asymmetric_focal_tversky", source="Yeung 2022 (Unified Focal); Yeung 2023 (DSC++), eq. 20")
def asymmetric_focal_tversky(v: Voxels, *, delta: Share = 0.6, gamma: Share = 0.5) -> Tensor:
    """Asymmetric focal Tversky: the Tversky loss of all classes, of the lesions to the power 1 - gamma."""
    return _focal_tversky(v, delta, (1, 1 - gamma))


@loss("symmetric_unified_focal", source=_UNIFIED)
def symmetric_unified_focal(v: Voxels, *, tversky_share: Share = 0.5, delta: Share = 0.6, gamma: Share = 0.5) -> Tensor:
    """Symmetric unified focal: symmetric focal Tversky and symmetric focal."""
    return tversky_share * symmetric_focal_tversky(v, delta=delta, gamma=gamma) + (1 - tversky_share) * symmetric_focal(
        v, delta=delta, gamma=gamma
    )


@loss("asymmetric_unified_focal", source=_UNIFIED)
def asymmetric_unified_focal(
    v: Voxels, *, tversky_share: Share = 0.5, delta: Share = 0.6, gamma: Share = 0.5
) -> Tensor:
    """Asymmetric unified focal: asymmetric focal Tversky and asymmetric focal."""
    return tversky_share * asymmetric_focal_tversky(v, delta=delta, gamma=gamma) + (
        1 - tversky_share
    ) * asymmetric_focal(v, delta=delta, gamma=gamma)


@loss("symmetric_unified_focal_plus_plus", source=_UNIFIED_PLUS_PLUS)
def symmetric_unified_focal_plus_plus(
    v: Voxels, *, tversky_share: Share = 0.5, delta: Share = 0.6, gamma: Share = 0.5, sharpen: Sharpness = 2.0
) -> Tensor:
    """Symmetric unified focal++: symmetric unified focal with sharpened counts."""
    overlap = _focal_tversky(v, delta, (1 - gamma, 1 - gamma), sharpen)
    return tversky_share * overlap + (1 - tversky_share) * symmetric_focal(v, delta=delta, gamma=gamma)


@loss("asymmetric_unified_focal_plus_plus", source=_UNIFIED_PLUS_PLUS)
def asymmetric_unified_focal_plus_plus(
    v: Voxels, *, tversky_share: Share = 0.5, delta: Share = 0.6, gamma: Share = 0.5, sharpen: Sharpness = 2.0
) -> Tensor:
    """Asymmetric unified focal++: asymmetric unified focal with sharpened counts."""
    overlap = _focal_tversky(v, delta, (1, 1 - gamma), sharpen)
    return tversky_share * overlap + (1 - tversky_share) * asymmetric_focal(v, delta=delta, gamma=gamma)

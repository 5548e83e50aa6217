"""Poly losses: cross-entropy and focal loss with another coefficient of the first term of their Taylor series."""

from typing import Annotated

from torch import Tensor

from lesionloss.core.ranges import Exponent, Range, Weight
from lesionloss.losses.index import weighted
from lesionloss.losses.kernels.terms import Poly
from lesionloss.losses.registry import loss
from lesionloss.losses.voxels import Voxels

Coefficient = Annotated[float, Range(-1)]


@loss("poly_cross_entropy", source="Leng 2022 (PolyLoss), Poly-1")
def poly_cross_entropy(v: Voxels, *, epsilon: Coefficient = 1.0) -> Tensor:
    """Poly cross-entropy: cross-entropy, and a term that is linear in the probability.

    Formula: mean (ce + epsilon q)
    epsilon: what is added to the coefficient of q in ce = q + q²/2 + ... (ε₁ in the paper); below 0, well-classified
        voxels weigh less
    Limits: epsilon=0 is cross_entropy, epsilon=-1 is 2*weighted_gradient(gamma=2, lesion=0.5).
    Empty: no special case for images without lesions.
    Example: poly_cross_entropy(epsilon=2)
    """
    lesion, background = v.term_sums(Poly(0.0, epsilon), Poly(0.0, epsilon))
    return (lesion + background) / v.n


@loss("poly_focal", source="Leng 2022 (PolyLoss), Poly-1 of the focal loss")
def poly_focal(
    v: Voxels, *, gamma: Exponent = 2.0, epsilon: Coefficient = 1.0, lesion: Weight = 0.25, background: Weight = 0.75
) -> Tensor:
    """Poly focal: focal loss, and a term that is a power of the error.

    Formula: mean w q^gamma (ce + epsilon q)
    gamma: how strongly well-classified voxels are down-weighted (γ)
    epsilon: what is added to the coefficient of q^(gamma+1) (ε₁ in the paper)
    lesion: weight of lesion voxels (α)
    background: weight of background voxels (1 - α)
    Limits: epsilon=0 is focal; gamma=0 with equal weights of 1 is poly_cross_entropy.
    Empty: no special case for images without lesions.
    Released: the paper prints no α; code of others weighs the focal part only, here both parts have the weight.
    Example: poly_focal(gamma=2, epsilon=-1)
    """
    on_lesion, on_background = v.term_sums(Poly(gamma, epsilon), Poly(gamma, epsilon))
    return weighted(lesion, on_lesion, background, on_background) / v.n

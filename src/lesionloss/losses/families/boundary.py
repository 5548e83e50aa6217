"""Losses of the boundary: errors weighed by their distance to the border of the reference."""

import torch
from torch import Tensor

from lesionloss.core.ranges import Exponent, PositiveExponent
from lesionloss.losses import reference_maps
from lesionloss.losses.border_distances import border_distance
from lesionloss.losses.index import rarity
from lesionloss.losses.input_checks import may_look
from lesionloss.losses.registry import loss
from lesionloss.losses.voxels import Voxels, times_columns

_DISTANCE = "distance_mm"
_WHY = "the border of the reference is where class numbers change"


def _errors(v: Voxels) -> Tensor:
    """|t - p| of the lesion classes, (R, K-1, V); 0 in masked voxels."""
    p = v.p[:, 1:]
    errors = torch.where(v.onehot[:, 1:] > 0, 1 - p, p)
    return errors if v.valid is None else errors * v.valid[:, None]


def _distance(v: Voxels) -> Tensor:
    """The distance in mm to the border of the reference, (R, K-1, V)."""
    return v.reference_map(_DISTANCE).abs().to(v.logits.dtype)


@loss("boundary", source="Kervadec 2019 and 2021 (boundary loss)", maps=[_DISTANCE])
def boundary(v: Voxels) -> Tensor:
    """Boundary: the probability times the signed distance to the border of the reference.

    Formula: mean φ (p - t) = mean |φ| |p - t| per lesion class, φ = distance in mm, negative in lesions; a voxel beside
        the border has a distance of one voxel
    Limits: hausdorff_dt(alpha=1, one_sided=True) has the square of p - t. The value is in mm and needs a weight beside
        other losses; in the paper it is 0.01 at first and grows while the other falls:
        "(1, 0.01)*dice_ce + (0.01, 1)*boundary".
    Empty: 0 without a gradient, whatever is predicted; so add another loss.
    Border: what is outside of the patch is neither lesion nor background; masked voxels count as background.
    Soft labels: refused.
    Released: the paper has φ p, which only shifts the value, below 0. The authors' code has a distance of 0 in lesion
        voxels beside the border, so lesions of one voxel have no gradient.
    Example: boundary + dice_ce
    """
    poison = v.refuse_parts(_WHY)
    return v.total(_distance(v) * _errors(v)) / v.n[:, None] + poison


@loss("surface", source="Celaya 2023 (generalised surface loss), eq. 12-13", maps=[_DISTANCE])
def surface(v: Voxels, *, power: Exponent = 1.0) -> Tensor:
    """Surface: the share of the squared distances to the border that wrong voxels have; from 0 to 1.

    Formula: Σ w Σ φ² (1 - (1 - t - p)²) / (Σ w Σ φ² + s) over lesion classes, φ = distance in mm as in boundary,
        w = N_c^-power
    power: how strongly the weight grows as a class becomes rarer (1 in eq. 13, 2 in the authors' code)
    Limits: with one lesion class power= changes nothing. The paper lets its weight grow from 0 to 1 as that of another
        loss falls: "(1, 0)*dice_ce + (0, 1)*surface".
    Empty: 0 without a gradient, whatever is predicted; so add another loss.
    Border: as in boundary. Soft labels are refused.
    Released: the paper adds class 0, which changes nothing with one lesion class, and weighs classes by their voxels in
        all images; here in each.
    Example: surface + dice_ce
    """
    poison = v.refuse_parts(_WHY)
    squares, errors = _distance(v).square(), _errors(v)
    if v.valid is not None:
        squares = squares * v.valid[:, None]
    weights = rarity(v.class_voxels[:, 1:], power)
    if v.class_weights is not None:
        weights = times_columns(weights, [weight / max(v.class_weights) for weight in v.class_weights[1:]])
    wrong = (weights * v.total(squares * errors * (2 - errors))).sum(1)
    return wrong / ((weights * v.total(squares)).sum(1) + v.eps) + poison


@loss("hausdorff_dt", source="Karimi & Salcudean 2020, loss by distance transforms", maps=[_DISTANCE])
def hausdorff_dt(v: Voxels, *, alpha: PositiveExponent = 2.0, one_sided: bool = False) -> Tensor:
    """Hausdorff by distance transform: squared errors weighed by their distances to both borders.

    Formula: mean (p - t)² (φ_t^alpha + φ_p^alpha) per lesion class, φ_t and φ_p = distances in mm to the borders of the
        reference and of p > 1/2; with one_sided=True: mean (p - t)² φ_t^alpha
    alpha: power of the distances: how much more far errors cost (α)
    one_sided: leave out the distances to the predicted border, which have to be computed at each step
    Limits: the value is in mm^alpha, often far above that of other losses, beside which it needs a small weight. See
        boundary for one_sided=True and alpha=1.
    Empty: the distances to the predicted border weigh false positives where p > 1/2; else 0. With one_sided=True always
        0, so add another loss.
    Border: as in boundary. Soft labels are refused.
    Released: MONAI has the same, in voxels.
    Example: 0.01*hausdorff_dt(alpha=2) + dice_ce
    """
    poison = v.refuse_parts(_WHY)
    weights = _distance(v).pow(alpha)
    if not one_sided:
        weights = weights + _predicted_distance(v).pow(alpha)
    return v.total(weights * _errors(v).square()) / v.n[:, None] + poison


def _predicted_distance(v: Voxels) -> Tensor:
    """The distance in mm to the border of p > 1/2, (R, K-1, V)."""
    predicted = v.p.detach()[:, 1:] > 0.5
    if v.valid is not None:
        predicted = predicted & v.valid[:, None]
    mask = predicted.reshape(*predicted.shape[:2], *v.space)
    if may_look(v.logits):
        return reference_maps.compute(_DISTANCE, mask, v.spacing_mm).flatten(2).abs().to(v.logits.dtype)
    return border_distance(mask, v.spacing_mm, v.logits.dtype).flatten(2)

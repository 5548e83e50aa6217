"""Losses that look at the hardest voxels only. The choice of voxels has no gradient."""

import torch
from torch import Tensor

from lesionloss.hyperparameters import Percent
from lesionloss.registry import loss
from lesionloss.voxels import Voxels


def share_of(k: float, n: Tensor) -> Tensor:
    """⌈k n / 100⌉, exact where k n / 100 is whole though k is not."""
    return torch.ceil(n.double() * k / 100 - 1e-9)


@loss("topk_cross_entropy", source="Wu 2016; Hosseini 2025")
def topk_cross_entropy(v: Voxels, *, k: Percent = 10.0) -> Tensor:
    """Top-k cross-entropy: the mean of the k percent largest cross-entropies of each image.

    Formula: mean of the max(1, ⌈k n / 100⌉) largest ce of the image
    k: percent of the valid voxels that count
    Limits: k=100 is cross_entropy.
    Empty: an ordinary image, all of it background.
    Released: other code ranks the voxels of the whole batch together, lets masked voxels into the percentage, and
        gives NaN when the number of voxels rounds to 0.
    Example: topk_cross_entropy(k=10)
    """
    ce = v.per_voxel(v.cross_entropy)
    if v.valid is not None:
        ce = torch.where(v.valid, ce, -1.0)  # below every cross-entropy, so never among the largest
    rows = v.image_rows(ce)
    kept = share_of(k, v.n).clamp_min(1)[:, None]
    most = max(1, int(share_of(k, torch.tensor(rows.shape[1]))))
    largest = rows.topk(most, dim=1).values.clamp_min(0)
    chosen = torch.arange(most, device=rows.device) < kept
    return torch.where(chosen, largest, 0.0).sum(1) / kept[:, 0].to(rows.dtype)


@loss("topk_dice", source="Hosseini 2025, eq. 2-7")
def topk_dice(v: Voxels, *, k: Percent = 50.0) -> Tensor:
    """Top-k Dice: squared Dice that forgets the lesion voxels which are found most easily.

    Formula: squared Dice over all voxels but the easiest: of the N_c voxels of a class the ⌈k N_c / 100⌉ with the
        lowest p stay
    k: percent of the voxels of a class that stay (K in the paper: 50, for MS lesions 30)
    Limits: k=100 is dice(squared=True).
    Empty: finding nothing costs 0, a false alarm about 1.
    Released: there is no released code. As printed, K=100 is undefined and one voxel more than meant stays; ties
        are broken by order here.
    Example: topk_dice(k=30)
    """
    v.refuse_parts("topk_dice ranks the voxels of a class")
    first = 0 if v.reading.background else 1
    values = [_without_easiest(v, number, k) for number in range(first, v.classes)]
    return torch.stack(values, dim=1)


def _without_easiest(v: Voxels, number: int, k: float) -> Tensor:
    """Squared Dice of one class, (I,), over all voxels but its easiest."""
    p, t = v.image_rows(v.p[:, number]), v.image_rows(v.onehot[:, number])
    held = t > 0
    order = torch.where(held, p.detach(), torch.inf).sort(dim=1, stable=True).indices
    rank = torch.empty_like(order).scatter_(1, order, torch.arange(p.shape[1], device=p.device).expand_as(order))
    in_sums = ~(held & (rank >= share_of(k, t.sum(1, keepdim=True))))
    if v.valid is not None:
        in_sums = in_sums & v.image_rows(v.valid)
    errors = torch.where(in_sums, (p - t).square(), 0.0).sum(1) / 2
    tp = torch.where(in_sums, p * t, 0.0).sum(1)
    return errors / (tp + errors + v.eps)

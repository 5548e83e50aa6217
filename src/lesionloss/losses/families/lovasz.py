"""Lovász losses: the Jaccard loss of a set of wrong voxels, extended from sets to errors of any size."""

import torch
from torch import Tensor

from lesionloss.losses.registry import loss
from lesionloss.losses.voxels import Voxels

_BERMAN = "Berman 2018 (Lovász-Softmax), definition 2 and algorithm 1"


@loss("lovasz_softmax", source=_BERMAN)
def lovasz_softmax(v: Voxels) -> Tensor:
    """Lovász-softmax: Jaccard of the wrong voxels, extended to probabilities; large errors count first.

    Formula: Σ_i m_i (J(i) - J(i-1)) per class, m = |t - p| in decreasing order, J(i) = the Jaccard loss if the first i
        voxels were wrong and all others right
    Limits: where every p is 0 or 1 it is the Jaccard loss of the mask, as jaccard is.
    Empty: the largest p of the class.
    Soft labels: refused.
    Released: the authors average over the classes of the batch that the reference holds, background included
        (here: average_background=True and empty="skip").
    Example: lovasz_softmax
    """
    first = 0 if v.options.average_background else 1
    held = v.onehot[:, first:] > 0
    p = v.p[:, first:]
    return _extension(v, torch.where(held, 1 - p, p), held) + v.refuse_parts("lovasz_softmax ranks voxels")


@loss("lovasz_hinge", source=_BERMAN + ", on the hinge loss")
def lovasz_hinge(v: Voxels) -> Tensor:
    """Lovász hinge: Jaccard of the wrong voxels, extended to hinge errors of the logits.

    Formula: as lovasz_softmax, with m = max(0, 1 - y z), y = 1 in voxels of the class and -1 elsewhere,
        z = log p - log(1 - p), the log-odds of the class
    Limits: 0 where all voxels are right by a log-odds of 1 or more.
    Empty: the largest hinge error: 0 where all log-odds are below -1.
    Soft labels: refused.
    Released: the authors define it for one class; here each of several classes is one against all others.
    Example: lovasz_hinge
    """
    first = 0 if v.options.average_background else 1
    held = v.onehot[:, first:] > 0
    odds = torch.stack([_log_odds(v, number) for number in range(first, v.classes)], dim=1)
    errors = torch.relu(1 - torch.where(held, odds, -odds))
    return _extension(v, errors, held) + v.refuse_parts("lovasz_hinge ranks voxels")


def _log_odds(v: Voxels, number: int) -> Tensor:
    """Log p - log(1 - p) of a class, (R, V), from the logits."""
    z = v.logits
    if z.shape[1] == 1:
        return z[:, 0] if number else -z[:, 0]
    return z[:, number] - torch.cat([z[:, :number], z[:, number + 1 :]], dim=1).logsumexp(1)


def _extension(v: Voxels, errors: Tensor, held: Tensor) -> Tensor:
    """The extended Jaccard loss, (I, classes), of errors (R, classes, V) >= 0; `held`: voxels of the class."""
    rows = [_of_class(v, errors[:, place], held[:, place]) for place in range(errors.shape[1])]
    return torch.stack(rows, dim=1)


def _of_class(v: Voxels, errors: Tensor, held: Tensor) -> Tensor:
    # Voxels are counted in whole numbers, whose running sums are the same on every device.
    each = torch.ones_like(held, dtype=torch.int64) if v.valid is None else v.valid.long()
    weight = v.image_rows(each if v.weight is None else v.weight)
    ordered, order = v.image_rows(errors).sort(dim=1, descending=True, stable=True)
    missed, added = (weight * own for own in (v.image_rows(held), ~v.image_rows(held)))
    missed, added = missed.gather(1, order), added.gather(1, order)
    size = missed.sum(1, keepdim=True)
    right = (size - missed.cumsum(1)).clamp_min(0)
    union = size + added.cumsum(1) - added
    # J(i) - J(i-1) without the subtraction, which would lose its digits: the union grows by `added` only.
    parts = (missed, added, right, union)
    missed, added, right, union = (part.to(errors.dtype) for part in parts)
    after = union + added
    steps = torch.where(missed > 0, missed, right * added / torch.where(after > 0, after, 1.0))
    steps = torch.where(union > 0, steps / torch.where(union > 0, union, 1.0), (added > 0).to(errors.dtype))
    return (ordered * steps).sum(1)

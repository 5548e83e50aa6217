"""Wrong losses. Most mistakes were found in released code; each must be caught by the law made for it."""

import torch
from torch import Tensor

from lesionloss import Voxels
from lesionloss.losses.registry import LossFunction


def _dice(v: Voxels) -> Tensor:
    c = v.counts()
    return 1 - (c.tp + v.eps) / (c.tp + (c.fp + c.fn) / 2 + v.eps)


def sign_error(v: Voxels, *, ce_share: float = 0.5) -> Tensor:
    """Sign error: only the lesion term has the minus, as in HyTver's code."""
    p, t = v.p[:, 1].clamp(1e-3, 1 - 1e-3), v.onehot[:, 1]
    term = -(0.3 * t * p.log()) + 0.7 * (1 - t) * (1 - p).log()
    ce = v.total(term if v.valid is None else term * v.valid) / v.n
    return ce_share * ce + (1 - ce_share) * _dice(v).mean(1)


def precedence_error(v: Voxels) -> Tensor:
    """Precedence error: this Combo multiplies the weight into the wrong product."""
    lesion, background = v.term_sums()
    return (0.5 * lesion - 0.5 * background * 0.5) / v.n + v.class_mean(_dice(v))


def swapped_weights(v: Voxels, *, fp: float = 0.3, fn: float = 0.7) -> Tensor:
    """Swapped weights: Tversky that weighs false positives by fn."""
    c = v.counts()
    errors = fn * c.fp + fp * c.fn
    return errors / (c.tp + errors + v.eps)


def leaking_weight(v: Voxels, *, fp: float = 0.3, fn: float = 0.7) -> Tensor:
    """Leaking weight: fn weighs false positives too."""
    c = v.counts()
    errors = (fp + 0.1 * fn) * c.fp + fn * c.fn
    return errors / (c.tp + errors + v.eps)


def double_sigmoid(v: Voxels) -> Tensor:
    """Double sigmoid: a sigmoid of probabilities."""
    p, t = torch.sigmoid(v.p[:, 1:]), v.onehot[:, 1:]
    inside = 1.0 if v.valid is None else v.valid[:, None]
    tp, fp, fn = v.total(p * t), v.total(p * (1 - t) * inside), v.total((1 - p) * t)
    return 1 - (tp + v.eps) / (tp + (fp + fn) / 2 + v.eps)


def mask_on_logits(v: Voxels) -> Tensor:
    """Mask on logits: a masked voxel has a probability of one half, and is half a false positive."""
    logits = v.logits if v.valid is None else v.logits * v.valid[:, None]
    p = torch.sigmoid(logits) if v.logits.shape[1] == 1 else logits.softmax(1)[:, 1:]
    t = v.onehot[:, 1:]
    tp, fp, fn = v.total(p * t), v.total(p * (1 - t)), v.total((1 - p) * t)
    return 1 - (tp + v.eps) / (tp + (fp + fn) / 2 + v.eps)


def batch_leak(v: Voxels) -> Tensor:
    """Batch leak: all images have the weights of the first one."""
    share = v.class_voxels[:1, 0] / v.n[:1]
    lesion, background = v.term_sums()
    return (share * lesion + (1 - share) * background) / v.n


def missing_class_axis(v: Voxels) -> Tensor:
    """Missing class axis: the first two voxels are used as the classes."""
    p, t = v.p[:, 1].reshape(v.p.shape[0], -1)[:, :2], v.onehot[:, 1][:, :2]
    return (1 - p * t - (1 - p) * (1 - t)).mean(1)


def masked_topk(v: Voxels) -> Tensor:
    """Masked top-k: the hardest tenth of all voxels, masked ones included."""
    ce = v.cross_entropy[:, 0]
    return v.image_rows(ce).topk(max(1, v.n.shape[0] and ce.shape[1] // 10), dim=1).values.mean(1)


def no_false_negatives(v: Voxels) -> Tensor:
    """No false negatives: false positives are added twice, as in a released Dice++."""
    c = v.counts()
    return c.fp / (c.tp + c.fp + v.eps)


def infinite_slope(v: Voxels) -> Tensor:
    """Infinite slope: a root without a floor."""
    c = v.counts()
    return ((c.fp + c.fn) / (2 * c.tp + c.fp + c.fn + v.eps)).sqrt()


def log_of_zero(v: Voxels) -> Tensor:
    """Log of zero: the logarithm of a probability that can be 0."""
    p = v.p[:, 1]
    own = torch.where(v.onehot[:, 1] > 0, p, 1 - p)
    ce = -own.log()
    return v.total(ce if v.valid is None else torch.where(v.valid, ce, 0.0)) / v.n


def clipped_log(v: Voxels) -> Tensor:
    """Clipped log: the clip keeps it finite, and removes the gradient where the prediction is most wrong."""
    p = v.p[:, 1].clamp(0.2, 0.8)
    own = torch.where(v.onehot[:, 1] > 0, p, 1 - p)
    return v.total(-own.log() if v.valid is None else torch.where(v.valid, -own.log(), 0.0)) / v.n


def half_smoothed(v: Voxels) -> Tensor:
    """Half smoothed: only the denominator is smoothed, so an empty prediction of an empty image has a loss of 1."""
    c = v.counts()
    return 1 - c.tp / (c.tp + (c.fp + c.fn) / 2 + 1)


def detached(v: Voxels) -> Tensor:
    """Detached: a value without a gradient."""
    return _dice(v).detach()


def position_dependent(v: Voxels) -> Tensor:
    """Position dependent: noise that depends on the position of a voxel breaks ties."""
    noise = torch.arange(v.logits.shape[-1]) / v.logits.shape[-1]
    return v.mean(v.cross_entropy * (1 + 0.1 * noise))


def rounded_labels(v: Voxels) -> Tensor:
    """Rounded labels: soft labels are rounded."""
    t = (v.onehot[:, 1:] > 0.5).to(v.p.dtype)
    p = v.p[:, 1:]
    inside = 1.0 if v.valid is None else v.valid[:, None]
    tp, fp, fn = v.total(p * t), v.total(p * (1 - t) * inside), v.total((1 - p) * t)
    return (fp + fn) / (2 * tp + fp + fn + v.eps)


def wrong_gradient(v: Voxels) -> Tensor:
    """Wrong gradient: the value of one loss and the gradient of another."""
    other = v.term_sums()[1] / v.n
    return v.class_mean(_dice(v)).detach() + other - other.detach()


def unscaled_class_weights(v: Voxels) -> Tensor:
    """Unscaled class weights: the loss grows with the weights of the classes."""
    return v.total(v.per_voxel(v.weigh(v.cross_entropy))) / v.n


def untitled(v: Voxels, *, gamma: float = 2.0) -> Tensor:
    """It has no title and explains nothing."""
    return v.mean(v.wrong.pow(gamma) * v.cross_entropy)


def unweighted(v: Voxels) -> Tensor:
    """Unweighted: sums over voxels that forget their weights."""
    p, t = v.p[:, 1:], v.onehot[:, 1:]
    inside = t.new_ones(()) if v.valid is None else v.valid[:, None]
    tp, fp, fn = (v.pool(x.sum(-1)) for x in (p * t, p * (1 - t) * inside, (1 - p) * t))
    return (fp + fn) / (2 * tp + fp + fn + v.eps)


CAUGHT_BY: dict[LossFunction, str] = {
    sign_error: "gradient_sign",
    precedence_error: "gradient_sign",
    swapped_weights: "error_weights",
    leaking_weight: "error_weights",
    double_sigmoid: "empty_reference",
    mask_on_logits: "masked_voxels",
    batch_leak: "independent_images",
    missing_class_axis: "voxel_order",
    masked_topk: "masked_voxels",
    no_false_negatives: "false_negatives",
    infinite_slope: "perfect_prediction",
    log_of_zero: "extreme_logits",
    clipped_log: "lesion_gradient",
    half_smoothed: "empty_reference",
    detached: "lesion_gradient",
    position_dependent: "voxel_order",
    rounded_labels: "soft_labels",
    wrong_gradient: "finite_differences",
    unscaled_class_weights: "class_weights",
    untitled: "documented",
    unweighted: "weights",
}

"""Values that make no sense are refused, never used: NaN logits, labels out of range."""

import math

import torch
from torch import Tensor

from lesionloss.core.errors import DataError

ONE_HOT_TOLERANCE = 1e-2  # half-precision shares of several classes add up to 1 only so well


def refuse_sums(wrong: Tensor) -> None:
    """Refuse labels that don't add up to 1.

    Args:
        wrong: (R, V) bool, where they don't.

    Raises:
        DataError: there is such a voxel.
    """
    if bool(wrong.any()):
        raise DataError(
            f"one-hot or soft labels must add up to 1 over the class axis; they don't in {int(wrong.sum())} voxels. "
            "Is the class axis missing?"
        )


def may_look(x: Tensor) -> bool:
    """Whether reading a value needs no waiting: on the CPU, and not while torch.compile traces."""
    return x.device.type == "cpu" and not torch.compiler.is_compiling()


def look(logits: Tensor, labels: Tensor, mask: Tensor | None) -> Tensor | None:
    """Check logits and labels.

    Args:
        logits: (R, C, V).
        labels: (R, V) class numbers, or (R, C, V) shares.
        mask: (R, V), voxels that are not ignored; None: all.

    Returns:
        None where values can be read without waiting (see `may_look`). Elsewhere a scalar to be added to the loss: 0,
        or NaN if a value is bad.

    Raises:
        DataError: a logit is not finite or a label is out of range, where values can be read.
    """
    with torch.no_grad():
        total = logits.detach().sum()  # NaN and infinity survive in it
        high = labels.amax()
        low = torch.zeros_like(high) if labels.dtype in (torch.uint8, torch.bool) else labels.amin()
        numbers = labels.dim() == 2
        most = max(2, logits.shape[1]) - 1 if numbers else 1 + ONE_HOT_TOLERANCE
        sums_wrong = None if numbers else _wrong_sums(labels, mask)
        if not may_look(logits):
            good = torch.isfinite(total) & (low >= 0) & (high <= most)
            good = good if sums_wrong is None else good & ~sums_wrong.any()
            return torch.where(good, 0.0, torch.nan).to(logits.dtype)
        if not math.isfinite(total.item()):
            refuse_logits(logits)
        if numbers:
            refuse_numbers(low.item(), high.item(), int(most))
        elif not (low.item() >= 0 and high.item() <= most):
            raise DataError(f"soft labels must lie in 0 to 1, got {low.item():g} to {high.item():g}")
        if sums_wrong is not None:
            refuse_sums(sums_wrong)
    return None


def refuse_logits(logits: Tensor) -> None:
    """Refuse logits that are NaN or infinite.

    Raises:
        DataError: there is one.
    """
    bad = int((~torch.isfinite(logits)).sum())
    if bad:
        raise DataError(f"logits hold NaN or infinite values in {bad} of {logits.numel()} places: the network diverged")


def refuse_numbers(low: float, high: float, most: int) -> None:
    """Refuse class numbers out of range.

    Raises:
        DataError: the smallest or the largest label is not in 0 to `most`.
    """
    if not (low >= 0 and high <= most):
        raise DataError(
            f"labels must be class numbers 0 to {most}, whole, got {low:g} to {high:g}; "
            "mask other voxels with valid= or ignore_index="
        )


def _wrong_sums(shares: Tensor, mask: Tensor | None) -> Tensor:
    """Where soft labels (B, C, V) don't add up to 1."""
    wrong = (shares.sum(1) - 1).abs() > ONE_HOT_TOLERANCE
    return wrong if mask is None else wrong & mask

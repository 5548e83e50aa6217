"""What makes no sense is refused, never used: things that are no tensors, NaN logits, labels out of range."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from lesionloss.core.errors import DataError, UsageError

Spacing = Tensor | Sequence[float] | Sequence[Sequence[float]]

ONE_HOT_TOLERANCE = 1e-2  # half-precision shares of several classes add up to 1 only so well

# torch has too few operations for these; the wider ones hold every class number.
_WIDER = {torch.uint16: torch.int32, torch.uint32: torch.int64, torch.uint64: torch.int64}

_NO_TENSOR: dict[tuple[str, type], str] = {
    ("logits", list): "DeepSupervision takes the outputs of several levels",
    ("logits", dict): 'pass the logits in it, such as outputs["out"]',
    ("labels", list): "DeepSupervision makes labels coarser by itself, so pass those of the first output",
}


def plain_tensor(x: object, name: str) -> Tensor:
    """Return a tensor as a plain one (MONAI's MetaTensor is a subclass), with its gradient.

    Args:
        x: what the caller passed as `name`.
        name: the argument.

    Raises:
        UsageError: it is no tensor, or none of real numbers in one block.
    """
    if not isinstance(x, Tensor):
        kind: type = type(x)
        place = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
        advice = _NO_TENSOR.get((name, list if kind is tuple else kind), f"torch.as_tensor({name}) makes one")
        raise UsageError(f"{name} must be a tensor, got {place}{kind.__name__}; {advice}")
    if type(x) is not Tensor and not traced(x):
        x = x.as_subclass(Tensor)
    if x.layout is not torch.strided or x.is_quantized or x.is_nested or (x.is_complex() and name != "logits"):
        raise UsageError(f"{name} must be a dense tensor of real numbers, got {x.dtype}, {x.layout}")
    return x


def plain_labels(labels: object) -> Tensor:
    """Return labels as a plain tensor of a type that all backends work with.

    Raises:
        UsageError: as `plain_tensor`.
    """
    plain = plain_tensor(labels, "labels")
    return plain.to(_WIDER[plain.dtype]) if plain.dtype in _WIDER else plain


def kept_by_label(labels: Tensor, ignore_index: int) -> Tensor:
    """Where labels (any shape) are not `ignore_index`, also if their type can't hold that number."""
    if not (labels.is_floating_point() or labels.dtype == torch.bool):
        numbers = torch.iinfo(labels.dtype)
        if not numbers.min <= ignore_index <= numbers.max:  # torch would compare with another number
            return torch.ones_like(labels, dtype=torch.bool)
    return labels != ignore_index


def mask_of(valid: Tensor) -> Tensor:
    """A mask as booleans.

    Raises:
        DataError: it holds other values than 0 and 1, where values can be read. See `poison_of_mask` for elsewhere.
    """
    if valid.dtype == torch.bool:
        return valid
    if may_look(valid) and not bool(_is_mask(valid)):
        low, high = valid.double().amin().item(), valid.double().amax().item()
        raise DataError(
            f"valid must be a mask of True and False (or 1 and 0), got values from {low:g} to {high:g}; "
            "weights of voxels go into weight=, valid > 0 makes a mask"
        )
    return valid != 0


def refuse_weight(weight: Tensor | None) -> Tensor | None:
    """Refuse weights of voxels that are negative or not finite.

    Returns:
        To be added to the loss where values can't be read: 0, or NaN if a weight is bad. None where there is nothing to
        add.

    Raises:
        DataError: there is such a weight, where values can be read.
    """
    if weight is None:
        return None
    good = (torch.isfinite(weight) & (weight >= 0)).all()
    if not may_look(weight):
        return torch.where(good, 0.0, torch.nan)
    if not bool(good):
        low, high = weight.double().amin().item(), weight.double().amax().item()
        raise DataError(f"weight must be finite and not negative, got values from {low:g} to {high:g}")
    return None


def read_spacing(spacing_mm: Spacing | None) -> Tensor | None:
    """Edge lengths of a voxel as a tensor of one or two axes, float32, on the CPU.

    Raises:
        UsageError: they are no positive numbers.
    """
    if spacing_mm is None:
        return None
    try:
        edges = torch.as_tensor(spacing_mm, dtype=torch.float32, device="cpu")
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"spacing_mm must be one number for each axis, such as (1, 1, 3); got {spacing_mm!r}"
        ) from error
    if may_look(edges) and not bool((torch.isfinite(edges) & (edges > 0)).all()):
        raise UsageError(f"spacing_mm must be positive numbers, got {edges.tolist()}")
    return edges


def poison_of_mask(valid: Tensor | None) -> Tensor | None:
    """NaN if a mask holds other values than 0 and 1, to be added to the loss; None where there is nothing to add."""
    if valid is None or valid.dtype == torch.bool or may_look(valid):
        return None
    return torch.where(_is_mask(valid), 0.0, torch.nan)


def _is_mask(valid: Tensor) -> Tensor:
    return ((valid == 0) | (valid == 1)).all()


def weighted_mean(values: Tensor, weights: Tensor) -> Tensor:
    """The mean of values (B,) with weights (B,); 0 if all weights are 0.

    Raises:
        UsageError: not one weight for each value.
        DataError: a weight is negative or not finite, where values can be read; elsewhere the mean is NaN.
    """
    if weights.shape != values.shape:
        raise UsageError(
            f"image_weights must be one number per image, {tuple(values.shape)}; got {tuple(weights.shape)}"
        )
    weights = weights.to(values)
    good = (torch.isfinite(weights) & (weights >= 0)).all()
    if may_look(weights) and not bool(good):
        raise DataError(f"image_weights must be finite and not negative, got {weights.tolist()}")
    total = weights.sum()
    mean = (weights * values).sum() / torch.where(total > 0, total, 1.0)
    return torch.where(good, mean, torch.nan)


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


def may_look(*tensors: Tensor) -> bool:
    """Whether reading their values needs no waiting: on the CPU, and where nothing follows what is done with them."""
    return all(x.device.type == "cpu" for x in tensors) and not traced(*tensors)


def traced(*tensors: Tensor) -> bool:
    """Whether torch.compile, or a transform of torch.func such as `vmap`, follows what is done with tensors."""
    # A transform wraps the tensors that it follows; what is inside is only compared, never used.
    return torch.compiler.is_compiling() or any(torch.func.debug_unwrap(x, recurse=False) is not x for x in tensors)


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
        if not may_look(logits, labels):
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

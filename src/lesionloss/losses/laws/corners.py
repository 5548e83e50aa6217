"""Laws of extreme cases: perfect predictions, empty references, huge logits, half precision, finite differences."""

from functools import partial

import torch
from torch import Tensor

from lesionloss.losses.laws.law_batches import (
    ZERO_TOLERANCE,
    LawBatch,
    LawBroken,
    LossUnderTest,
    law,
    make_batch,
    perfect_logits,
)

# In an empty image the smoothing of 1e-5 competes with false positives alone, and some losses take roots of p: p must
# be far below its square.
CERTAIN = 100.0
GRADIENT_SCALE = 65536.0  # where gradient scalers start: 1 / n alone underflows in float16


def _finite(value: Tensor, words: str) -> None:
    if not bool(value.isfinite().all()):
        raise LawBroken(f"{words}: {int((~value.isfinite()).sum())} of {value.numel()} numbers are NaN or infinite")


@law("perfect_prediction")
def perfect_prediction(tested: LossUnderTest) -> None:
    """The perfect prediction has a loss of 0, other predictions have a larger one, and its gradient is finite."""
    for batch in tested.batches("perfect_prediction"):
        best = batch.with_logits(perfect_logits(batch, 30.0))
        value = tested.value(best)
        if not abs(value) < ZERO_TOLERANCE:
            raise LawBroken(f"the perfect prediction has a loss of {value:.6g}, {batch.describe()}")
        flipped = best.logits.clone()
        flipped[:, :, 0] *= -1
        others = {"a random one": batch.logits, "its opposite": -best.logits, "one row wrong": flipped}
        others["an uncertain one"] = 0.1 * best.logits
        for words, logits in others.items():
            if not tested.value(batch.with_logits(logits)) > value:
                raise LawBroken(
                    f"the perfect prediction has a loss of {value:.6g}, not less than {words}, {batch.describe()}"
                )
        for size in (30.0, 1e4):
            for dtype in (torch.float32, torch.float64):
                confident = batch.with_logits(perfect_logits(batch, size).to(dtype))
                _finite(
                    tested.gradient(confident), f"gradient at the perfect prediction, logits ±{size / 2:g}, {dtype}"
                )


@law("empty_reference")
def empty_reference(tested: LossUnderTest) -> None:
    """Without a lesion, an empty prediction has a loss of 0, false positives increase it, and both are finite."""
    for channels in tested.channels:
        batch = make_batch("empty_reference", channels, (5, 6))
        batch.labels.zero_()
        right = perfect_logits(batch, CERTAIN)
        false_positives = right.clone()
        false_positives[:, -1, :2] = 2 * CERTAIN
        values = [tested.value(batch.with_logits(logits)) for logits in (right, false_positives)]
        for logits in (right, false_positives, batch.logits):
            _finite(tested.each(batch.with_logits(logits)), f"value of an empty image, {channels} channels")
            _finite(tested.gradient(batch.with_logits(logits)), f"gradient of an empty image, {channels} channels")
        if not abs(values[0]) < ZERO_TOLERANCE:
            raise LawBroken(f"an empty prediction of an empty image has a loss of {values[0]:.6g}, {channels} channels")
        if not values[1] > values[0]:
            raise LawBroken(f"in an empty image, false positives give {values[1]:.6g}, none give {values[0]:.6g}")


@law("extreme_logits")
def extreme_logits(tested: LossUnderTest) -> None:
    """Logits of ±1e4, right and wrong, give finite values and gradients in float32."""
    for batch in tested.batches("extreme_logits"):
        random = torch.where(batch.logits > 0, 1e4, -1e4)
        for words, logits in (("random", random), ("all right", perfect_logits(batch, 1e4))):
            for sign in (1, -1):
                confident = batch.with_logits((sign * logits).float())
                _finite(tested.each(confident), f"value, {sign * 1e4:g} times {words}")
                _finite(tested.gradient(confident), f"gradient, {sign * 1e4:g} times {words}")


@law("half_precision")
def half_precision(tested: LossUnderTest) -> None:
    """Half precision gives the value within 1e-3, and keeps the (scaled) gradient of 99 % of the lesion voxels."""
    for channels in tested.channels:
        batch = make_batch("half_precision", channels, (8, 9, 10), lesion=0.05)
        expected = tested.value(batch.with_logits(batch.logits.float()))
        for dtype in (torch.bfloat16, torch.float16):
            with torch.autocast("cpu", dtype=torch.bfloat16):
                low = batch.with_logits(batch.logits.to(dtype))
                value, gradient = tested.value(low), tested.gradient(low, scale=GRADIENT_SCALE)
            slope = tested.gradient(batch.with_logits(low.logits.float()))
            if not abs(value - expected) <= 1e-3 * (1 + abs(expected)):
                raise LawBroken(f"{dtype}: {value:.9g} instead of {expected:.9g}, {batch.describe()}")
            _kept(gradient, slope, batch, f"{dtype}")


def _kept(gradient: Tensor, slope: Tensor, batch: LawBatch, words: str) -> None:
    had = (slope != 0).any(1) & batch.lesion
    if not bool(had.any()):
        return
    kept = ((gradient != 0).any(1) & had).sum() / had.sum()
    if not kept >= 0.99:
        raise LawBroken(f"{words}: only {100 * kept:.1f} % of the lesion voxels keep a gradient, {batch.describe()}")


@law("finite_differences")
def finite_differences(tested: LossUnderTest) -> None:
    """First and second derivatives agree with finite differences."""
    for channels in tested.channels:
        batch = make_batch("finite_differences", channels, (2, 4), images=1, lesion=0.3)
        valid = torch.ones_like(batch.labels, dtype=torch.bool)
        valid[:, -1, -1] = False
        value = partial(tested.loss(), labels=batch.labels, valid=valid)
        logits = batch.logits.clone().requires_grad_()
        # Along one random direction, with tolerances that many times smaller than those for each number alone.
        for name, check in (("first", torch.autograd.gradcheck), ("second", torch.autograd.gradgradcheck)):
            try:
                check(value, (logits,), atol=1e-7, rtol=1e-5, raise_exception=True, fast_mode=True)
            except (RuntimeError, AssertionError) as error:
                line = " ".join(str(error).split())[:200]
                raise LawBroken(
                    f"{name} derivative differs from finite differences, {batch.describe()}: {line}"
                ) from error

"""Laws of the corners: perfect predictions, empty images, huge logits, half precision, gradients by differences."""

from functools import partial

import torch
from torch import Tensor

from lesionloss.losses.laws.law_batches import NOTHING, Batch, Broken, Subject, law, make_batch, perfect_logits

GRADIENT_SCALE = 65536.0  # where gradient scalers start: 1 / n alone underflows in float16


def _finite(value: Tensor, words: str) -> None:
    if not bool(value.isfinite().all()):
        raise Broken(f"{words}: {int((~value.isfinite()).sum())} of {value.numel()} numbers are NaN or infinite")


@law("perfect")
def perfect(subject: Subject) -> None:
    """The perfect prediction costs nothing, nothing costs less, and its gradient is finite."""
    for batch in subject.batches("perfect"):
        best = batch.with_logits(perfect_logits(batch, 30.0))
        cost = subject.value(best)
        if not abs(cost) < NOTHING:
            raise Broken(f"the perfect prediction costs {cost:.6g}, {batch.describe()}")
        flipped = best.logits.clone()
        flipped[:, :, 0] *= -1
        rivals = {"a random one": batch.logits, "its opposite": -best.logits, "one row wrong": flipped}
        rivals["a doubtful one"] = 0.1 * best.logits
        for words, logits in rivals.items():
            if not subject.value(batch.with_logits(logits)) > cost:
                raise Broken(f"the perfect prediction costs {cost:.6g}, not less than {words}, {batch.describe()}")
        for size in (30.0, 1e4):
            for dtype in (torch.float32, torch.float64):
                sure = batch.with_logits(perfect_logits(batch, size).to(dtype))
                _finite(subject.gradient(sure), f"gradient at the perfect prediction, logits {size:g} apart, {dtype}")


@law("empty")
def empty(subject: Subject) -> None:
    """An image without a lesion: finding nothing costs nothing, false alarms cost, value and gradient are finite."""
    for channels in subject.channels:
        batch = make_batch("empty", channels, (5, 6))
        batch.labels.zero_()
        right = perfect_logits(batch, 30.0)
        alarms = right.clone()
        alarms[:, -1, :2] = 60.0
        costs = [subject.value(batch.with_logits(logits)) for logits in (right, alarms)]
        for logits in (right, alarms, batch.logits):
            _finite(subject.each(batch.with_logits(logits)), f"value of an empty image, {channels} channels")
            _finite(subject.gradient(batch.with_logits(logits)), f"gradient of an empty image, {channels} channels")
        if not abs(costs[0]) < NOTHING:
            raise Broken(f"finding nothing where nothing is costs {costs[0]:.6g}, {channels} channels")
        if not costs[1] > costs[0]:
            raise Broken(f"false alarms where nothing is cost {costs[1]:.6g}, finding nothing {costs[0]:.6g}")


@law("extreme")
def extreme(subject: Subject) -> None:
    """Logits of ±1e4, right and wrong, give finite values and gradients in float32."""
    for batch in subject.batches("extreme"):
        random = torch.where(batch.logits > 0, 1e4, -1e4)
        for words, logits in (("random", random), ("all right", perfect_logits(batch, 1e4))):
            for sign in (1, -1):
                sure = batch.with_logits((sign * logits).float())
                _finite(subject.each(sure), f"value, {sign * 1e4:g} times {words}")
                _finite(subject.gradient(sure), f"gradient, {sign * 1e4:g} times {words}")


@law("half")
def half(subject: Subject) -> None:
    """Half precision under autocast: within 1e-3 of float32; 99 % of the lesion voxels keep their gradient (scaled)."""
    for channels in subject.channels:
        batch = make_batch("half", channels, (8, 9, 10), lesion=0.05)
        expected = subject.value(batch.with_logits(batch.logits.float()))
        for dtype in (torch.bfloat16, torch.float16):
            with torch.autocast("cpu", dtype=torch.bfloat16):
                low = batch.with_logits(batch.logits.to(dtype))
                value, gradient = subject.value(low), subject.gradient(low, scale=GRADIENT_SCALE)
            slope = subject.gradient(batch.with_logits(low.logits.float()))
            if not abs(value - expected) <= 1e-3 * (1 + abs(expected)):
                raise Broken(f"{dtype}: {value:.9g} instead of {expected:.9g}, {batch.describe()}")
            _kept(gradient, slope, batch, f"{dtype}")


def _kept(gradient: Tensor, slope: Tensor, batch: Batch, words: str) -> None:
    had = (slope != 0).any(1) & batch.lesion
    kept = ((gradient != 0).any(1) & had).sum() / had.sum()
    if not kept >= 0.99:
        raise Broken(f"{words}: only {100 * kept:.1f} % of the lesion voxels keep a gradient, {batch.describe()}")


@law("gradient")
def gradient(subject: Subject) -> None:
    """The gradient, and its own gradient, are those that finite differences give."""
    for channels in subject.channels:
        batch = make_batch("gradient", channels, (2, 4), images=1, lesion=0.3)
        valid = torch.ones_like(batch.labels, dtype=torch.bool)
        valid[:, -1, -1] = False
        value = partial(subject.loss(), labels=batch.labels, valid=valid)
        logits = batch.logits.clone().requires_grad_()
        for name, check in (("first", torch.autograd.gradcheck), ("second", torch.autograd.gradgradcheck)):
            try:
                check(value, (logits,), raise_exception=True)
            except (RuntimeError, AssertionError) as error:
                line = " ".join(str(error).split())[:200]
                raise Broken(
                    f"{name} derivative differs from finite differences, {batch.describe()}: {line}"
                ) from error

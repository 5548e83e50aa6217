"""Laws of errors and gradients: false positives, false negatives, their weights, and the gradient of each voxel."""

import torch
from torch import Tensor

from lesionloss.losses import registry
from lesionloss.losses.laws.law_batches import (
    ZERO_TOLERANCE,
    LawBatch,
    LawBroken,
    LossUnderTest,
    NotApplicable,
    equal,
    law,
    make_batch,
    perfect_logits,
)
from lesionloss.losses.spec import SpecTerm

SLACK = 1e-12  # rounding of a sum in float64
WEIGHTS_OF_FALSE_NEGATIVES, WEIGHTS_OF_FALSE_POSITIVES = ("fn", "lesion"), ("fp", "background")


def _check_increase(tested: LossUnderTest, batch: LawBatch, worse: Tensor, voxels: Tensor, words: str) -> None:
    """Wrong logits in some voxels must not lower the loss, and in all of `voxels` they must increase it."""
    before = tested.value(batch)
    some = torch.zeros_like(voxels)
    some.view(-1)[::3] = voxels.view(-1)[::3]
    for moved, strictly in ((some, False), (voxels, True)):
        logits = torch.where(moved[:, None], worse, batch.logits)
        after = tested.value(batch.with_logits(logits))
        if not after >= before - SLACK or (strictly and not after > before):
            count = int(moved.sum())
            raise LawBroken(f"{words} in {count} voxels: value {before:.9g} -> {after:.9g}, {batch.describe()}")


def _check_single_kind(tested: LossUnderTest, batch: LawBatch, voxels: Tensor, words: str) -> None:
    """A prediction that is perfect except for errors of one kind has a loss above that of the perfect one."""
    best = perfect_logits(batch, 30.0)
    wrong = voxels & (torch.arange(batch.labels.shape[-1]) % 2 == 0)
    # A wrong prediction: a single logit changes its sign; of several, all but that of the right class are raised.
    opposite = -best if best.shape[1] == 1 else best.amax(1, keepdim=True) - best
    some = batch.with_logits(torch.where(wrong[:, None], opposite, best))
    value, least = tested.value(some), tested.value(batch.with_logits(best)) + ZERO_TOLERANCE
    if not value > least:
        raise LawBroken(f"{int(wrong.sum())} {words}, all else perfect: value {value:.6g}, {batch.describe()}")


@law("false_positives")
def false_positives(tested: LossUnderTest) -> None:
    """More false positives at equal false negatives increase the loss."""
    for batch in tested.batches("false_positives"):
        worse = batch.logits.clone()
        if worse.shape[1] == 1:
            worse += 2.0
        else:
            worse[:, 0] -= 2.0
        _check_increase(tested, batch, worse, batch.background, "lesion odds e² higher on background")
        _check_single_kind(tested, batch, batch.background, "false positives")


@law("false_negatives")
def false_negatives(tested: LossUnderTest) -> None:
    """More false negatives at equal false positives increase the loss."""
    for batch in tested.batches("false_negatives"):
        if batch.logits.shape[1] == 1:
            worse = batch.logits - 2.0
        else:
            chosen = torch.nn.functional.one_hot(batch.labels, batch.logits.shape[1]).movedim(-1, 1)
            worse = batch.logits - 2.0 * chosen
        _check_increase(tested, batch, worse, batch.lesion, "logit of the reference's class 2 lower on lesions")
        _check_single_kind(tested, batch, batch.lesion, "false negatives")


def _two_values(term: SpecTerm, key: str, value: float | None) -> tuple[float, float]:
    interval = registry.get(term.name).hyperparameters[key].allowed
    low, high = (0.6 * value, 1.4 * value) if value else (0.3, 0.7)
    return (low, high) if interval is None or high in interval else (0.6 * low, low)


@law("error_weights")
def error_weights(tested: LossUnderTest) -> None:
    """`fn` and `lesion` weigh only false negatives, `fp` and `background` only false positives."""
    batch = make_batch("error_weights", 1, (5, 6), lesion=0.3)
    found = [
        item for item in tested.hyperparameters() if item[1] in WEIGHTS_OF_FALSE_NEGATIVES + WEIGHTS_OF_FALSE_POSITIVES
    ]
    if not found:
        raise NotApplicable("no hyperparameter is called fp, fn, lesion or background")
    for term, key, value in found:
        if value == 0:
            continue
        values = _two_values(term, key, value)
        small, large = (_class_gradients(tested, batch, text) for text in tested.variants(term, key, values))
        rises = large[0] / large[1] > small[0] / small[1] * (1 + 1e-9)
        falls = large[0] / large[1] < small[0] / small[1] * (1 - 1e-9)
        if not (rises if key in WEIGHTS_OF_FALSE_NEGATIVES else falls):
            raise LawBroken(
                f"{term.name}: {key} from {values[0]:g} to {values[1]:g} changes the gradient of lesion voxels over "
                f"that of background from {small[0] / small[1]:.6g} to {large[0] / large[1]:.6g}"
            )
        _check_other_errors(tested, term, key, values)


def _class_gradients(tested: LossUnderTest, batch: LawBatch, text: str) -> tuple[float, float]:
    """Total gradient of lesion voxels (sign reversed) and of background voxels: positive towards the reference."""
    gradient = tested.gradient(batch, text)[:, 0]
    return -float(gradient[batch.lesion].sum()), float(gradient[batch.background].sum())


def _check_other_errors(tested: LossUnderTest, term: SpecTerm, key: str, values: tuple[float, float]) -> None:
    """Of two weights, one does not change the loss of a prediction that has only the other kind of error."""
    partner = {"fn": "fp", "fp": "fn"}.get(key)
    if partner not in registry.get(term.name).defaults:
        return
    batch = make_batch("one kind", 1, (5, 6), lesion=0.3)
    right = torch.where(batch.lesion, 1e3, -1e3)[:, None]
    wrong_where = batch.background if key == "fn" else batch.lesion
    wrong_where = wrong_where & (torch.arange(6) % 2 == 0)
    logits = torch.where(wrong_where[:, None], -right, right).double()
    low, high = (tested.each(batch.with_logits(logits), text) for text in tested.variants(term, key, values))
    kind = "false positives" if key == "fn" else "false negatives"
    equal(high, low, f"{term.name}: {key} changes the loss of a prediction with {kind} only")


@law("gradient_sign")
def gradient_sign(tested: LossUnderTest) -> None:
    """Gradient descent on every summand raises lesion logits and lowers background logits."""
    for text in _summands(tested):
        for channels in tested.channels:
            batch = make_batch("gradient_sign", channels, (5, 6), lesion=0.2)
            gradient = tested.gradient(batch, text)
            if channels == 1:
                up, down = gradient[:, 0][batch.lesion], gradient[:, 0][batch.background]
            else:
                own = gradient.gather(1, batch.labels[:, None])[:, 0]
                up, down = own[batch.lesion], -own[batch.background]
            wrong = int((up > SLACK).sum()), int((down < -SLACK).sum())
            if any(wrong):
                raise LawBroken(
                    f"{text} lowers {wrong[0]} of {up.numel()} lesion voxels and raises {wrong[1]} of {down.numel()} "
                    f"background voxels, {batch.describe()}"
                )


def _summands(tested: LossUnderTest) -> list[str]:
    """Each summand alone, and with its shares at 0 and at 1."""
    texts = [str(SpecTerm(1.0, term.name, term.given)) for term in tested.spec.terms]
    for term, key, _ in tested.hyperparameters():
        if key.endswith("_share"):
            texts += tested.variants(term, key, (0.0, 1.0))
    return texts


@law("lesion_gradient")
def lesion_gradient(tested: LossUnderTest) -> None:
    """Every lesion voxel of an ordinary prediction has a non-zero gradient."""
    for batch in tested.batches("lesion_gradient"):
        reached = (tested.gradient(batch) != 0).any(1)[batch.lesion]
        if not bool(reached.all()):
            without = int((~reached).sum())
            raise LawBroken(f"{without} of {reached.numel()} lesion voxels have no gradient, {batch.describe()}")

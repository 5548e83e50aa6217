"""Laws of what must matter, and in which direction: false alarms, misses, prices, and the pull on every voxel."""

import torch
from torch import Tensor

from lesionloss.losses import registry
from lesionloss.losses.laws.law_batches import (
    NOTHING,
    Batch,
    Broken,
    NotApplicable,
    Subject,
    equal,
    law,
    make_batch,
    perfect_logits,
)
from lesionloss.losses.spec import SpecTerm

SLACK = 1e-12  # rounding of a sum in float64
PRICES_OF_MISSES, PRICES_OF_FALSE_ALARMS = ("fn", "lesion"), ("fp", "background")


def _dearer(subject: Subject, batch: Batch, worse: Tensor, voxels: Tensor, words: str) -> None:
    """Moving some logits the wrong way must never pay, and must cost something when all of them move."""
    before = subject.value(batch)
    some = torch.zeros_like(voxels)
    some.view(-1)[::3] = voxels.view(-1)[::3]
    for moved, strictly in ((some, False), (voxels, True)):
        logits = torch.where(moved[:, None], worse, batch.logits)
        after = subject.value(batch.with_logits(logits))
        if not after >= before - SLACK or (strictly and not after > before):
            count = int(moved.sum())
            raise Broken(f"{words} in {count} voxels: value {before:.9g} -> {after:.9g}, {batch.describe()}")


def _only(subject: Subject, batch: Batch, voxels: Tensor, words: str) -> None:
    """A prediction that is perfect but for errors of one kind costs something."""
    best = perfect_logits(batch, 30.0)
    wrong = voxels & (torch.arange(batch.labels.shape[-1]) % 2 == 0)
    # To turn right into wrong: a single logit changes its sign, of several all classes but the right one win.
    opposite = -best if best.shape[1] == 1 else best.amax(1, keepdim=True) - best
    some = batch.with_logits(torch.where(wrong[:, None], opposite, best))
    cost, least = subject.value(some), subject.value(batch.with_logits(best)) + NOTHING
    if not cost > least:
        raise Broken(f"{int(wrong.sum())} {words}, all else perfect, cost {cost:.6g}, {batch.describe()}")


@law("false_alarms")
def false_alarms(subject: Subject) -> None:
    """More false alarms at equal misses cost more."""
    for batch in subject.batches("false_alarms"):
        worse = batch.logits.clone()
        if worse.shape[1] == 1:
            worse += 2.0
        else:
            worse[:, 0] -= 2.0
        _dearer(subject, batch, worse, batch.background, "lesion odds e² higher on background")
        _only(subject, batch, batch.background, "false alarms")


@law("misses")
def misses(subject: Subject) -> None:
    """More misses at equal false alarms cost more."""
    for batch in subject.batches("misses"):
        if batch.logits.shape[1] == 1:
            worse = batch.logits - 2.0
        else:
            chosen = torch.nn.functional.one_hot(batch.labels, batch.logits.shape[1]).movedim(-1, 1)
            worse = batch.logits - 2.0 * chosen
        _dearer(subject, batch, worse, batch.lesion, "logit of the reference's class 2 lower on lesions")
        _only(subject, batch, batch.lesion, "missed voxels")


def _two_values(term: SpecTerm, key: str, value: float | None) -> tuple[float, float]:
    interval = registry.get(term.name).hyperparameters[key].allowed
    low, high = (0.6 * value, 1.4 * value) if value else (0.3, 0.7)
    return (low, high) if interval is None or high in interval else (0.6 * low, low)


@law("prices")
def prices(subject: Subject) -> None:
    """`fn` and `lesion` price misses, `fp` and `background` false alarms, and each moves only its own kind."""
    batch = make_batch("prices", 1, (5, 6), lesion=0.3)
    found = [item for item in subject.hyperparameters() if item[1] in PRICES_OF_MISSES + PRICES_OF_FALSE_ALARMS]
    if not found:
        raise NotApplicable("no hyperparameter is called fp, fn, lesion or background")
    for term, key, value in found:
        if value == 0:
            continue
        values = _two_values(term, key, value)
        cheap, dear = (_pulls(subject, batch, text) for text in subject.variants(term, key, values))
        rises = dear[0] / dear[1] > cheap[0] / cheap[1] * (1 + 1e-9)
        falls = dear[0] / dear[1] < cheap[0] / cheap[1] * (1 - 1e-9)
        if not (rises if key in PRICES_OF_MISSES else falls):
            raise Broken(
                f"{term.name}: {key} from {values[0]:g} to {values[1]:g} moves the pull on lesions over that on "
                f"background from {cheap[0] / cheap[1]:.6g} to {dear[0] / dear[1]:.6g}"
            )
        _only_its_own(subject, term, key, values)


def _pulls(subject: Subject, batch: Batch, text: str) -> tuple[float, float]:
    """How strongly lesion logits are pushed up and background logits down."""
    gradient = subject.gradient(batch, text)[:, 0]
    return -float(gradient[batch.lesion].sum()), float(gradient[batch.background].sum())


def _only_its_own(subject: Subject, term: SpecTerm, key: str, values: tuple[float, float]) -> None:
    """Where both prices are given, one does not touch a prediction that has only the other kind of error."""
    partner = {"fn": "fp", "fp": "fn"}.get(key)
    if partner not in registry.get(term.name).defaults:
        return
    batch = make_batch("one kind", 1, (5, 6), lesion=0.3)
    right = torch.where(batch.lesion, 1e3, -1e3)[:, None]
    wrong_where = batch.background if key == "fn" else batch.lesion
    wrong_where = wrong_where & (torch.arange(6) % 2 == 0)
    logits = torch.where(wrong_where[:, None], -right, right).double()
    low, high = (subject.each(batch.with_logits(logits), text) for text in subject.variants(term, key, values))
    kind = "false alarms" if key == "fn" else "misses"
    equal(high, low, f"{term.name}: {key} changed where there are {kind} only")


@law("components")
def components(subject: Subject) -> None:
    """Every part of a sum, not only the sum, pushes lesion logits up and background logits down."""
    for text in _components(subject):
        for channels in subject.channels:
            batch = make_batch("components", channels, (5, 6), lesion=0.2)
            gradient = subject.gradient(batch, text)
            if channels == 1:
                up, down = gradient[:, 0][batch.lesion], gradient[:, 0][batch.background]
            else:
                own = gradient.gather(1, batch.labels[:, None])[:, 0]
                up, down = own[batch.lesion], -own[batch.background]
            wrong = int((up > SLACK).sum()), int((down < -SLACK).sum())
            if any(wrong):
                raise Broken(
                    f"{text} pushes {wrong[0]} of {up.numel()} lesion voxels down and {wrong[1]} of {down.numel()} "
                    f"background voxels up, {batch.describe()}"
                )


def _components(subject: Subject) -> list[str]:
    """Each summand, and each with its shares at 0 and at 1."""
    texts = [str(SpecTerm(1.0, term.name, term.given)) for term in subject.spec.terms]
    for term, key, _ in subject.hyperparameters():
        if key.endswith("_share"):
            texts += subject.variants(term, key, (0.0, 1.0))
    return texts


@law("alive")
def alive(subject: Subject) -> None:
    """Every lesion voxel of an ordinary prediction has a gradient."""
    for batch in subject.batches("alive"):
        reached = (subject.gradient(batch) != 0).any(1)[batch.lesion]
        if not bool(reached.all()):
            dead = int((~reached).sum())
            raise Broken(f"{dead} of {reached.numel()} lesion voxels have no gradient, {batch.describe()}")

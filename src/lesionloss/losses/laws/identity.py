"""Laws of a loss as an object: its text, pickling, compilation, documentation, and the losses it generalises."""

import pickle

import torch

from lesionloss.losses import registry
from lesionloss.losses.kernels import FAST
from lesionloss.losses.laws.law_batches import LawBroken, LossUnderTest, NotApplicable, equal, law, make_batch
from lesionloss.losses.loss_docs import sections
from lesionloss.losses.spec import parse

# Left and right are equal.
LIMITS = (
    ("focal(gamma=0, lesion=1, background=1)", "cross_entropy"),
    ("weighted_cross_entropy(lesion=0.5, background=0.5)", "cross_entropy"),
    ("topk_cross_entropy(k=100)", "cross_entropy"),
    ("2*weighted_gradient(gamma=1, lesion=0.5)", "cross_entropy"),
    ("weighted_gradient(gamma=1, lesion=0.8)", "weighted_cross_entropy(lesion=0.8, background=0.2, normalise=False)"),
    ("tversky(fp=0.5, fn=0.5)", "dice"),
    ("tversky(fp=1, fn=1)", "jaccard"),
    ("focal_tversky(exponent=1)", "tversky"),
    ("dice_plus_plus(gamma=1)", "dice"),
    ("dice_plus_plus(gamma=2)", "dice(squared=True)"),
    ("tversky_plus_plus(gamma=1)", "tversky"),
    ("tversky_plus_plus(fp=0.5, fn=0.5)", "dice_plus_plus"),
    ("focal_tversky_plus_plus(gamma=1)", "focal_tversky"),
    ("focal_tversky_plus_plus(exponent=1)", "tversky_plus_plus"),
    ("topk_dice(k=100)", "dice(squared=True)"),
    ("hytver(fn=0.5, lesion=0.5)", "combo"),
    ("hytver(ce_share=0)", "tversky"),
    ("2*combo(ce_share=1)", "cross_entropy"),
    ("combo_plus_plus(gamma=1)", "combo"),
    ("symmetric_focal(gamma=0)", "weighted_cross_entropy(lesion=0.6, background=0.4, normalise=False)"),
    ("asymmetric_focal(gamma=0)", "weighted_cross_entropy(lesion=0.6, background=0.4, normalise=False)"),
    ("symmetric_focal_tversky(gamma=0)", "asymmetric_focal_tversky(gamma=0)"),
    *(
        pair
        for kind in ("symmetric", "asymmetric")
        for pair in (
            (f"{kind}_unified_focal(tversky_share=1)", f"{kind}_focal_tversky"),
            (f"{kind}_unified_focal(tversky_share=0)", f"{kind}_focal"),
            (f"{kind}_unified_focal_plus_plus(sharpen=1)", f"{kind}_unified_focal"),
        )
    ),
    ("poly_cross_entropy(epsilon=0)", "cross_entropy"),
    ("poly_cross_entropy(epsilon=-1)", "2*weighted_gradient(gamma=2, lesion=0.5)"),
    ("poly_focal(epsilon=0)", "focal"),
    ("poly_focal(gamma=0, lesion=1, background=1)", "poly_cross_entropy"),
    ("soft_dice_semimetric", "dice"),
    ("blob(main_share=1)", "dice"),
    ("blob(main_share=1, ce_share=1)", "cross_entropy"),
    ("2*blob(main_share=1, ce_share=0.5)", "dice_ce"),
    ("dice_ce", "dice + cross_entropy"),
    ("dice_focal(gamma=3)", "dice + focal(gamma=3)"),
    ("dice_topk(k=20)", "dice + topk_cross_entropy(k=20)"),
    ("ce_topk_dice(k=30)", "cross_entropy + topk_dice(k=30)"),
)


@law("limits")
def limits(tested: LossUnderTest) -> None:
    """With the right hyperparameters, a loss equals the simpler losses that it generalises."""
    names = {term.name for term in tested.spec.terms}
    pairs = [pair for pair in LIMITS if names & {term.name for text in pair for term in parse(text).terms}]
    if not pairs:
        raise NotApplicable("no equal loss is known")
    for channels in tested.channels:
        batch = make_batch("limits", channels, (5, 6), lesion=0.3)
        for left, right in pairs:
            equal(tested.each(batch, left), tested.each(batch, right), f"{left} and {right}, {channels} channels")


@law("text_round_trip")
def text_round_trip(tested: LossUnderTest) -> None:
    """A loss that is built from its own text, or pickled, has the same text and the same value."""
    loss = tested.loss()
    again = tested.loss(str(loss))
    copied = pickle.loads(pickle.dumps(loss))  # noqa: S301  # pickled in the same line
    batch = make_batch("text_round_trip", 1, (5, 6))
    for words, other in (("built from its own text", again), ("pickled", copied)):
        if str(other) != str(loss) or repr(other) != repr(loss):
            raise LawBroken(f"{words}: {other!r} instead of {loss!r}")
        value = other(batch.logits, batch.labels, reduce=False)
        equal(value, tested.each(batch), words, tolerance=0.0)


@law("compiled")
def compiled(tested: LossUnderTest) -> None:
    """Compiled by torch.compile or exported, a loss has the same value and gradient."""
    batch = make_batch("compiled", 1, (5, 6))
    expected, slope = tested.each(batch).mean(), tested.gradient(batch)
    torch.compiler.reset()
    # Traced with autograd, but without code generation: errors of a loss show in tracing.
    whole = tested.kernel is not FAST  # a compiled function runs the fast kernel uncompiled
    traced = torch.compile(tested.loss(), backend="aot_eager", fullgraph=whole)
    logits = batch.logits.clone().requires_grad_()
    value = traced(logits, batch.labels)
    (found,) = torch.autograd.grad(value, logits)
    equal(value.detach(), expected, "compiled")
    equal(found, slope, "gradient, compiled")
    exported = torch.export.export(tested.loss(), (batch.logits, batch.labels)).module()
    equal(exported(batch.logits, batch.labels), expected, "exported")


@law("documented")
def documented(tested: LossUnderTest) -> None:
    """The docstring begins with a title "Name: what it does" and explains each hyperparameter."""
    for term in tested.spec.terms:
        record = registry.get(term.name)
        if ": " not in record.title:
            raise LawBroken(f'the title of {term.name} is {record.title!r}; write "Name: what it does."')
        missing = [key for key in record.defaults if key not in sections(record)]
        if missing:
            raise LawBroken(
                f'{term.name}: the docstring does not explain {", ".join(missing)}; add a line "{missing[0]}: ..."'
            )

"""Class weights: by hand in averages over classes and over voxels, in all forms of labels and on both kernels."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

import lesionloss as ll
from lesionloss.core.errors import UsageError
from lesionloss.core.randomness import torch_generator
from lesionloss.losses.kernels import FAST, READABLE, Kernel

NAMES = [record.name for record in ll.list_losses()]
GEOMETRIC = [record.name for record in ll.list_losses() if record.geometric]
WEIGHTS = (0.2, 1.0, 3.0)


def batch(channels: int = 3) -> tuple[Tensor, Tensor]:
    """Logits (2, C, 6, 7) in float64 and class numbers (2, 6, 7); every class occurs in every image."""
    stream = torch_generator("class weights", channels)
    labels = torch.randint(0, max(2, channels), (2, 6, 7), generator=stream)
    return torch.randn((2, channels, 6, 7), generator=stream, dtype=torch.float64), labels


def one_hot(labels: Tensor) -> Tensor:
    return torch.nn.functional.one_hot(labels, 3).movedim(-1, 1)


def test_cross_entropy_is_that_of_torch() -> None:
    logits, labels = batch()
    weight = torch.tensor(WEIGHTS, dtype=torch.float64)
    expected = [cross_entropy(logits[[i]], labels[[i]], weight=weight) for i in (0, 1)]
    found = ll.build("cross_entropy", class_weights=WEIGHTS)(logits, labels, reduce=False)
    torch.testing.assert_close(found, torch.stack(expected))
    pooled = ll.build("cross_entropy", pooled=True, class_weights=weight)(logits, labels)
    torch.testing.assert_close(pooled, cross_entropy(logits, labels, weight=weight))


@pytest.mark.parametrize("text", ["dice", "tversky", "log_cosh_dice", "topk_dice", "logcosh", "dice_plus_plus"])
@pytest.mark.parametrize("background", [False, True])
def test_averages_over_classes(text: str, background: bool) -> None:
    logits, labels = batch()
    # A weight of 1 for one class and 0 for the others gives the value of that class.
    alone = [
        ll.build(text, average_background=background, class_weights=[float(n == c) or 1e-12 for n in range(3)])(
            logits, labels
        )
        for c in range(3)
    ]
    classes = (0, 1, 2) if background else (1, 2)
    expected = sum(WEIGHTS[c] * alone[c] for c in classes) / sum(WEIGHTS[c] for c in classes)
    found = ll.build(text, average_background=background, class_weights=WEIGHTS)(logits, labels)
    torch.testing.assert_close(found, expected)
    assert len({round(float(value), 6) for value in (alone[c] for c in classes)}) == len(classes)


def test_generalised_dice_weighs_numerator_and_denominator() -> None:
    logits, labels = batch()
    p, t = logits.softmax(1).flatten(2), one_hot(labels).double().flatten(2)
    w = torch.tensor(WEIGHTS, dtype=torch.float64) / t.sum(2).square()
    expected = 1 - (w * (p * t).sum(2)).sum(1) / (w * (p + t).sum(2) / 2).sum(1)
    found = ll.build("generalised_dice", class_weights=WEIGHTS)(logits, labels, reduce=False)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=0)


def test_the_hardest_voxels_are_chosen_without_and_averaged_with_weights() -> None:
    logits, labels = batch()
    each = cross_entropy(logits, labels, reduction="none").flatten(1)
    weights = torch.tensor(WEIGHTS, dtype=torch.float64)[labels].flatten(1)
    values, where = each.topk(21, dim=1)
    chosen = weights.gather(1, where)
    expected = (values * chosen).sum(1) / chosen.sum(1)
    for given in (labels, one_hot(labels).double()):
        found = ll.build("topk_cross_entropy(k=50)", class_weights=WEIGHTS)(logits, given, reduce=False)
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("name", NAMES)
def test_kernels_labels_and_masks_agree(name: str) -> None:
    channels = 2 if name == "hytver_released" else 3
    logits, labels = batch(channels)
    valid = torch.ones_like(labels, dtype=torch.bool)
    valid[:, 0] = False
    masked = logits.clone()
    masked[:, :, 0] = torch.nan
    for options in ({}, {"empty": "skip"}, {"pooled": True}, {"average_background": True}):

        def gradient(
            kernel: Kernel | None, z: Tensor, y: Tensor, *mask: Tensor, o: Any = options
        ) -> tuple[Tensor, ...]:
            z = z.clone().requires_grad_()
            value = ll.build(name, class_weights=WEIGHTS[:channels], kernel=kernel, **o)(z, y, *mask)
            return value, torch.autograd.grad(value, z)[0][:, :, -5:]

        # Where voxels lie matters to some losses: for them the mask stays, with nothing under it.
        given = (logits, labels * valid, valid) if name in GEOMETRIC else (logits[:, :, 1:], labels[:, 1:])
        expected = gradient(READABLE, *given)
        assert all(x.isfinite().all() for x in expected)
        torch.testing.assert_close(gradient(FAST, masked, labels, valid), expected)
        if channels == 3:
            torch.testing.assert_close(gradient(None, given[0], one_hot(given[1]).double(), *given[2:]), expected)


def test_one_channel_has_two_classes() -> None:
    logits, labels = batch(1)
    each = torch.nn.functional.binary_cross_entropy_with_logits(logits[:, 0], labels.double(), reduction="none")
    weights = torch.where(labels > 0, 3.0, 0.5)
    expected = (each * weights).sum((1, 2)) / weights.sum((1, 2))
    found = ll.build("cross_entropy", class_weights=(0.5, 3))(logits, labels, reduce=False)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(
        ll.build("dice", class_weights=(0.5, 3))(logits, labels), ll.build("dice")(logits, labels)
    )


@pytest.mark.parametrize("empty", ["count", "skip"])
@pytest.mark.parametrize("pooled", [False, True])
def test_multilabel_channels_have_weights(empty, pooled: bool) -> None:
    logits, labels = batch()
    tasks = one_hot(labels)
    tasks[:, 1] = 0  # a channel without a lesion, which "skip" leaves out
    options = {"empty": empty, "pooled": pooled}
    for text in ("dice", "cross_entropy", "dice_ce"):
        each = [ll.build(text, **options)(logits[:, [c]], tasks[:, [c]], reduce=False) for c in range(3)]
        kept = [c for c in range(3) if not (empty == "skip" and c == 1 and text == "dice")]
        if (empty, text) == ("skip", "dice_ce"):
            continue
        expected = sum(WEIGHTS[c] * each[c] for c in kept) / sum(WEIGHTS[c] for c in kept)
        found = ll.build(text, multilabel=True, class_weights=WEIGHTS, **options)(logits, tasks, reduce=False)
        torch.testing.assert_close(found, expected)


def test_classes_that_an_image_lacks_are_skipped_with_their_weight() -> None:
    logits, labels = batch()
    labels[labels == 1] = 0
    only = ll.build("dice", class_weights=(1, 1e-12, 1))(logits, labels)
    torch.testing.assert_close(ll.build("dice", empty="skip", class_weights=WEIGHTS)(logits, labels), only)


def test_an_image_without_weight_costs_nothing() -> None:
    logits, _ = batch()
    loss = ll.build("cross_entropy + topk_cross_entropy + weighted_cross_entropy", class_weights=(0, 1, 1))
    assert loss(logits, torch.zeros(2, 6, 7, dtype=torch.long)).item() == 0


@pytest.mark.parametrize("given", [(), (1, -1), (0, 0), (1, float("inf")), "ab", 3, (1, None)])
def test_weights_that_make_no_average_are_refused(given) -> None:
    with pytest.raises(UsageError, match="class_weights must be finite numbers"):
        ll.build("dice", class_weights=given)


@pytest.mark.parametrize(
    ("channels", "weights", "multilabel", "words"),
    [
        (3, (1, 1), False, "class_weights must be 3 numbers for logits"),
        (1, (1, 1, 1), False, "class_weights must be 2 numbers for logits"),
        (3, (1, 0, 0), False, "background first and a lesion class above 0"),
        (3, (1, 1), True, "one for each channel"),
    ],
)
def test_weights_that_do_not_fit_the_classes_are_refused(channels: int, weights, multilabel: bool, words: str) -> None:
    logits, labels = batch(channels)
    with pytest.raises(UsageError, match=words):
        ll.build("dice", class_weights=weights, multilabel=multilabel)(
            logits, one_hot(labels) if multilabel else labels
        )


def test_text_and_named_classes() -> None:
    loss = ll.HyTverLoss(fn=0.6, class_weights=torch.tensor([1.0, 2.0]))
    assert repr(loss) == "HyTverLoss(fn=0.6, class_weights=(1.0, 2.0))"

"""A loss gets what nnU-Net has: labels with one channel, regions, the ignore label, pooled batches."""

import pytest
import torch
from torch import Tensor

import lesionloss as ll
from lesionloss.core.randomness import torch_generator
from lesionloss.integrations.nnunet.labelled_loss import LabelledLoss

SPACE = (6, 5, 4)


def batch(classes: int, images: int = 3) -> tuple[Tensor, Tensor]:
    """Logits (B, C, *space) and class numbers (B, 1, *space) as int16, as nnU-Net has them."""
    stream = torch_generator("labelled", classes)
    logits = 3 * torch.randn(images, classes, *SPACE, generator=stream)
    return logits, torch.randint(0, classes, (images, 1, *SPACE), generator=stream).to(torch.int16)


def labelled(
    text: str, *, regions: bool = False, ignore_label: int | None = None, batch_dice: bool = False
) -> LabelledLoss:
    return LabelledLoss(
        text, regions=regions, ignore_label=ignore_label, batch_dice=batch_dice, patch=SPACE, spacing_mm=(1.0, 2.0, 0.5)
    )


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("pooled", [False, True])
def test_labels_with_one_channel(classes: int, pooled: bool) -> None:
    logits, labels = batch(classes)
    loss = labelled("hytver", batch_dice=pooled)
    assert loss(logits, labels) == ll.build("hytver", pooled=pooled)(logits, labels[:, 0].long())


def test_the_ignore_label_is_in_no_sum() -> None:
    logits, labels = batch(3)
    ignored = labels.clone()
    ignored[:, :, :3] = 3
    loss = labelled("dice_ce", ignore_label=3)
    torch.testing.assert_close(loss(logits, ignored), ll.build("dice_ce")(logits[:, :, 3:], labels[:, :, 3:]))
    everything = torch.full_like(labels, 3)
    assert loss(logits, everything) == 0


@pytest.mark.parametrize("ignores", [False, True])
def test_regions_are_independent_tasks(ignores: bool) -> None:
    logits, labels = batch(3)
    regions = torch.cat([labels > 0, labels == 1, labels == 2], dim=1)
    valid = torch.ones_like(labels, dtype=torch.bool)
    valid[:, :, 4:] = False
    target = torch.cat([regions, ~valid], dim=1) if ignores else regions
    loss = labelled("hytver", regions=True, ignore_label=3 if ignores else None)
    expected = ll.build("hytver", multilabel=True)(logits, regions, valid if ignores else None)
    assert loss(logits, target) == expected


def test_half_precision_is_computed_in_single() -> None:
    logits, labels = batch(2)
    loss = labelled("dice_ce", batch_dice=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = loss(logits.bfloat16(), labels)
    assert value.dtype == torch.float32
    assert value == loss(logits.bfloat16().float(), labels)


def test_distances_are_in_mm_at_each_resolution() -> None:
    logits, labels = batch(2)
    loss = labelled("boundary")
    assert loss(logits, labels) == ll.build("boundary")(logits, labels, spacing_mm=(1, 2, 0.5))
    coarse = (logits[:, :, ::2, :, ::2], labels[:, :, ::2, :, ::2])
    assert loss(*coarse) == ll.build("boundary")(*coarse, spacing_mm=(2, 2, 1))


def test_weights_may_change_while_training() -> None:
    logits, labels = batch(2)
    loss = labelled("(1, 0)*dice + (0, 1)*cross_entropy")
    loss.progress = 0.0
    assert loss(logits, labels) == ll.build("dice")(logits, labels)
    loss.progress = 1.0
    assert loss(logits, labels) == ll.build("cross_entropy")(logits, labels)

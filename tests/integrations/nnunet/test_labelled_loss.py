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


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("pooled", [False, True])
def test_labels_with_one_channel(classes: int, pooled: bool) -> None:
    logits, labels = batch(classes)
    loss = LabelledLoss("hytver", regions=False, ignore_label=None, batch_dice=pooled)
    assert loss(logits, labels) == ll.build("hytver", pooled=pooled)(logits, labels[:, 0].long())


def test_the_ignore_label_is_in_no_sum() -> None:
    logits, labels = batch(3)
    ignored = labels.clone()
    ignored[:, :, :3] = 3
    loss = LabelledLoss("dice_ce", regions=False, ignore_label=3, batch_dice=False)
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
    loss = LabelledLoss("hytver", regions=True, ignore_label=3 if ignores else None, batch_dice=False)
    expected = ll.build("hytver", multilabel=True)(logits, regions, valid if ignores else None)
    assert loss(logits, target) == expected


def test_half_precision_is_computed_in_single() -> None:
    logits, labels = batch(2)
    loss = LabelledLoss("dice_ce", regions=False, ignore_label=None, batch_dice=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = loss(logits.bfloat16(), labels)
    assert value.dtype == torch.float32
    assert value == loss(logits.bfloat16().float(), labels)

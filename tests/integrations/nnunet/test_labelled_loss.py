"""A loss gets what nnU-Net has: labels with one channel, regions, the ignore label, pooled batches, several ranks."""

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor

import lesionloss as ll
from lesionloss.core.randomness import torch_generator
from lesionloss.integrations.nnunet.labelled_loss import LabelledLoss

SPACE = (6, 5, 4)
RANKED = [(text, regions) for text in ("dice_ce", "topk_cross_entropy", "topk_dice") for regions in (False, True)]


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


def one_rank(rank: int, folder: str) -> None:
    """One of two ranks, with two images and with one; keeps the values and gradients of the losses."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    images = slice(0, 2) if rank == 0 else slice(2, 3)
    found = {}
    for text, regions in RANKED:
        logits, target = with_ignored_voxels(regions)
        own = logits[images].clone().requires_grad_()
        value = LabelledLoss(text, regions=regions, ignore_label=2, batch_dice=True, rows=2)(own, target[images])
        value.backward()
        found[f"{text} {regions}"] = (value.detach(), own.grad)
    torch.save(found, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def with_ignored_voxels(regions: bool) -> tuple[Tensor, Tensor]:
    """Logits and a target of two regions or of class numbers; label 2 is ignored."""
    logits, labels = batch(2)
    labels[:, :, :2, :2] = 2
    return logits, torch.cat([labels == 1, labels == 1, labels == 2], dim=1) if regions else labels


def test_a_pooled_batch_of_two_ranks_is_one_batch(tmp_path: Path) -> None:
    """Even for losses that rank voxels. DDP divides the gradients of the ranks by their number."""
    mp.spawn(one_rank, args=(str(tmp_path),), nprocs=2)
    ranks = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    for text, regions in RANKED:
        logits, target = with_ignored_voxels(regions)
        logits.requires_grad_()
        value = LabelledLoss(text, regions=regions, ignore_label=2, batch_dice=True)(logits, target)
        value.backward()
        (first, gradient), (second, other) = (rank[f"{text} {regions}"] for rank in ranks)
        assert first == second
        torch.testing.assert_close(first, value.detach())
        torch.testing.assert_close(torch.cat([gradient, other]) / 2, logits.grad, rtol=1e-5, atol=1e-9)


def test_half_precision_is_computed_in_single() -> None:
    logits, labels = batch(2)
    loss = LabelledLoss("dice_ce", regions=False, ignore_label=None, batch_dice=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = loss(logits.bfloat16(), labels)
    assert value.dtype == torch.float32
    assert value == loss(logits.bfloat16().float(), labels)

"""Weights of voxels: sums and means by hand, and what a weight of 0 is to losses that rank voxels."""

import numpy as np
import pytest
import torch
from torch import Tensor

import lesionloss as ll
from lesionloss.core.randomness import torch_generator
from lesionloss.losses.kernels import KERNELS, Kernel

Array = np.ndarray


def batch(channels: int = 1, space: tuple[int, ...] = (3, 5)) -> tuple[Tensor, Tensor, Tensor]:
    stream = torch_generator("weights", channels, *space)
    logits = torch.randn((2, channels, *space), generator=stream, dtype=torch.float64)
    labels = torch.randint(0, max(2, channels), (2, *space), generator=stream)
    return logits, labels, 3 * torch.rand((2, *space), generator=stream, dtype=torch.float64)


def parts(logits: Tensor, labels: Tensor, weight: Tensor) -> tuple[Array, Array, Array]:
    """p, t (2, V) and w (2, V) of a single channel."""
    p = 1 / (1 + np.exp(-logits.numpy().reshape(2, -1)))
    return p, labels.numpy().reshape(2, -1).astype(float), weight.numpy().reshape(2, -1)


@pytest.mark.parametrize("kernel", list(KERNELS), ids=lambda kernel: kernel.name)
def test_counts_are_weighted_sums_and_means_are_divided_by_the_sum_of_the_weights(kernel: Kernel) -> None:
    logits, labels, weight = batch()
    p, t, w = parts(logits, labels, weight)
    ce = -t * np.log(p) - (1 - t) * np.log(1 - p)
    tp, fp, fn = (w * p * t).sum(1), (w * p * (1 - t)).sum(1), (w * (1 - p) * t).sum(1)
    wanted = {
        "cross_entropy": (w * ce).sum(1) / w.sum(1),
        "focal": (w * np.where(t, 0.25 * (1 - p) ** 2, 0.75 * p**2) * ce).sum(1) / w.sum(1),
        "weighted_cross_entropy": (w * np.where(t, 0.9, 0.1) * ce).sum(1) / (w * np.where(t, 0.9, 0.1)).sum(1),
        "logcosh": (w * np.log(np.cosh(t - p))).sum(1) / w.sum(1),
        "dice": 1 - (tp + 1e-5) / (tp + (fp + fn) / 2 + 1e-5),
        "dice(squared=True)": 1 - (tp + 1e-5) / (tp + (w * (p - t) ** 2).sum(1) / 2 + 1e-5),
        "tversky": 1 - (tp + 1e-5) / (tp + 0.3 * fp + 0.7 * fn + 1e-5),
    }
    for text, expected in wanted.items():
        found = ll.build(text, kernel=kernel)(logits, labels, weight=weight, reduce=False)
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9, err_msg=text)


def test_of_the_hardest_voxels_the_weighted_mean_is_taken() -> None:
    logits, labels, weight = batch()
    weight[0, 0, :3] = 0
    p, t, w = parts(logits, labels, weight)
    ce = -t * np.log(p) - (1 - t) * np.log(1 - p)
    expected = []
    for image in range(2):
        kept = np.flatnonzero(w[image])
        hardest = kept[np.argsort(-ce[image, kept])[: -(-30 * kept.size // 100)]]
        expected.append((w * ce)[image, hardest].sum() / w[image, hardest].sum())
    found = ll.build("topk_cross_entropy(k=30)")(logits, labels, weight=weight, reduce=False)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9)


def test_the_easiest_lesion_voxels_are_left_out_whatever_their_weights() -> None:
    logits, labels, weight = batch()
    weight[0, 0, :3] = 0
    p, t, w = parts(logits, labels, weight)
    expected = []
    for image in range(2):
        lesion = np.flatnonzero(t[image] * w[image])
        left = lesion[np.argsort(p[image, lesion])[-(-40 * lesion.size // 100) :]]
        counted = w[image].copy()
        counted[left] = 0
        tp, errors = (counted * p[image] * t[image]).sum(), (counted * (p - t)[image] ** 2).sum() / 2
        expected.append(errors / (tp + errors + 1e-5))
    found = ll.build("topk_dice(k=40)")(logits, labels, weight=weight, reduce=False)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9)


@pytest.mark.parametrize("name", [record.name for record in ll.list_losses()])
def test_only_the_ratios_of_weights_matter_but_for_the_smoothing(name: str) -> None:
    logits, labels, weight = batch()
    loss = ll.build(name)
    one, many = (loss(logits, labels, weight=scale * weight) for scale in (1, 1000))
    smoothing = 2e-1 if name == "hytver_released" else 1e-4  # its smoothing is 1
    torch.testing.assert_close(one, many, rtol=0, atol=smoothing)


def test_weights_go_with_pooled_batches_multilabel_ignored_and_soft_labels() -> None:
    logits, labels, weight = batch(3)
    pooled = ll.build("dice_ce", pooled=True)(logits, labels, weight=weight)
    beside = [torch.cat(list(x), dim=-1)[None] for x in (logits, labels, weight)]
    torch.testing.assert_close(pooled, ll.build("dice_ce")(beside[0], beside[1], weight=beside[2][:, None]))

    maps = (labels[:, None] == torch.arange(3)[:, None, None]).long()
    each = [ll.build("dice_ce")(logits[:, [c]], maps[:, c], weight=weight) for c in range(3)]
    found = ll.build("dice_ce", multilabel=True)(logits, maps, weight=weight)
    torch.testing.assert_close(found, torch.stack(each).mean())

    ignored = ll.build("dice_ce", ignore_index=2)(logits, labels, weight=weight)
    torch.testing.assert_close(ignored, ll.build("dice_ce")(logits, labels, weight=weight * (labels != 2)))
    for text in ("dice_ce", "topk_cross_entropy", "dice(squared=True)", "logcosh"):
        hard = ll.build(text)(logits, labels, weight=weight)
        torch.testing.assert_close(ll.build(text)(logits, maps.double(), weight=weight), hard)


def test_a_coarse_voxel_has_the_largest_weight_under_it() -> None:
    logits, labels, weight = batch(space=(4, 8))
    coarse = logits[..., ::2, ::2]
    weight[:, :2, :2], weight[:, 2:, 2:] = 0, 1
    levels = [logits, coarse]
    fine_alone, coarse_alone = (
        ll.DeepSupervision(ll.build("dice_ce"), share)(levels, labels, weight=weight) for share in ([1, 0], [0, 1])
    )
    torch.testing.assert_close(fine_alone, ll.build("dice_ce")(logits, labels, weight=weight))
    seen = (labels * (weight > 0)).double()
    lesion = torch.nn.functional.max_pool2d(seen[:, None], 2)[:, 0].long()
    largest = torch.nn.functional.max_pool2d(weight[:, None], 2)[:, 0]
    torch.testing.assert_close(coarse_alone, ll.build("dice_ce")(coarse, lesion, weight=largest))
    mask = (weight > 0.5).double()
    as_weights = ll.DeepSupervision(ll.build("dice_ce"))(levels, labels, weight=mask)
    torch.testing.assert_close(as_weights, ll.DeepSupervision(ll.build("dice_ce"))(levels, labels, valid=mask))

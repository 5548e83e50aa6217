"""The numbers of docs/explanation/fidelity.md, computed again; the page has them as they are formatted here."""

import math
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor

import lesionloss as ll
from lesionloss.core.randomness import torch_generator

DOCUMENT = (Path(__file__).parents[2] / "docs" / "explanation" / "fidelity.md").read_text(encoding="utf-8")
PATCHES = (4, 1, 80, 80, 80)  # what HyTver trains on
FLUSHED = 2.0**-25  # half of the smallest number of float16; what is smaller becomes 0


def quoted(text: str) -> None:
    assert text in DOCUMENT, f"docs/explanation/fidelity.md should say {text!r}"


@cache
def patches() -> tuple[Tensor, Tensor]:
    """Logits and labels of four patches of 80³ with a few blobs: 0.5 % lesion voxels, and a rough prediction."""
    stream = torch_generator("fidelity")
    axes = torch.meshgrid(*[torch.arange(80.0)] * 3, indexing="ij")
    labels = torch.zeros(4, 80, 80, 80, dtype=torch.uint8)
    for image in range(4):
        for _ in range(3):
            centre = 20 + 40 * torch.rand(3, generator=stream)
            radius = 4 + 3 * torch.rand(1, generator=stream)
            distance = sum((axis - place) ** 2 for axis, place in zip(axes, centre, strict=True))
            labels[image][distance < radius**2] = 1
    noise = torch.randn(PATCHES, generator=stream)
    return 6.0 * labels[:, None].float() - 5.0 + 1.5 * noise, labels


def gradient(spec: str, logits: Tensor, labels: Tensor, pooled: bool = False) -> Tensor:
    leaf = logits.clone().requires_grad_()
    (found,) = torch.autograd.grad(ll.build(spec, pooled=pooled)(leaf, labels), leaf)
    return found


def test_released_hytver_is_a_penalty_on_predicted_volume() -> None:
    low, high = math.log(1e-3), math.log(1 - 1e-3)
    on_background, on_lesion = -0.7 * low - 0.3 * high, -0.7 * high - 0.3 * low
    quoted(f"{on_background:.4f} p on background and {on_lesion:.4f} p on lesions")
    logits = torch.tensor([[[[0.3, -0.4, 1.0, 0.1]]]], dtype=torch.float64).requires_grad_()
    labels = torch.tensor([[[1, 0, 0, 1]]])
    p = torch.sigmoid(logits).flatten()
    t = labels.flatten().double()
    linear = (t * (on_lesion * p + 0.3 * low) + (1 - t) * (on_background * p + 0.3 * high)).mean() / 2
    tp, fp, fn = (p * t).sum(), (p * (1 - t)).sum(), ((1 - p) * t).sum()
    by_hand = linear - (tp + 1) / (tp + 0.7 * fp + 0.3 * fn + 1) / 2
    assert ll.build("hytver_released")(logits, labels).item() == pytest.approx(by_hand.item(), rel=1e-12)


def test_released_hytver_is_its_tversky_baseline_at_half_the_scale() -> None:
    logits, labels = patches()
    released = gradient("hytver_released", logits, labels).flatten().double()
    baseline = gradient("tversky(fp=0.7, fn=0.3)", logits, labels, pooled=True).flatten().double()
    cosine = (released @ baseline / released.norm() / baseline.norm()).item()
    ratio = (released.norm() / baseline.norm()).item()
    assert cosine > 0.97
    quoted(f"cosine {cosine:.3f}, ratio of lengths {ratio:.2f}")
    intended = gradient("hytver", logits, labels, pooled=True).flatten().double()
    quoted(f"with the loss of the paper {(released @ intended / released.norm() / intended.norm()).item():.3f}")


def test_gradients_of_means_underflow_in_float16() -> None:
    logits, labels = patches()
    rows = {}
    for spec in ("logcosh", "focal", "cross_entropy", "dice", "tversky", "hytver"):
        found = gradient(spec, logits, labels).abs()
        kept = found >= FLUSHED
        rows[spec] = 100 * kept[labels[:, None] > 0].double().mean().item()
        everywhere = 100 * kept.double().mean().item()
        quoted(f"| `{spec}` | {found.max().item():.1e} | {everywhere:.1f} % | {rows[spec]:.1f} % |")
    assert rows["logcosh"] < 50 < 99 < rows["hytver"]


def test_unified_focal_without_a_class_axis_sees_border_slices_only() -> None:
    """(B, D, H, W) indexed as (B, class, ...): slices 0 and 1; or as (..., class): the first place of the last axis."""
    _, labels = patches()
    seen = torch.zeros(80, 80, 80, dtype=torch.bool)
    seen[:2] = True
    quoted(f"{100 * seen.double().mean().item():.1f} % of the voxels (symmetric)")
    seen[:, :, 0] = True
    quoted(f"{100 * seen.double().mean().item():.1f} % (asymmetric)")
    assert not bool((labels[:, seen] > 0).any())


def test_cross_entropy_printed_with_y_minus_log_p_lowers_every_lesion() -> None:
    p = torch.linspace(0.05, 0.95, 19, dtype=torch.float64).requires_grad_()
    (slope,) = torch.autograd.grad((0.3 * (1 - p.log())).sum(), p)
    (literal,) = torch.autograd.grad(-(0.3 * (1 - p.log())).sum(), p)
    assert (literal > 0).all()
    assert (slope < 0).all()


def test_printed_dice_is_minus_one_for_two_empty_masks() -> None:
    printed = 1 - 2 * (0 + 1e-5) / (0 + 1e-5)
    quoted(f"{printed:.0f} for two empty masks")


def test_table_one_is_one_eighth_of_a_standard_error() -> None:
    error = 0.255 / math.sqrt(8)
    quoted(f"a standard error of {error:.3f}; the difference of 0.011 is {(0.659 - 0.648) / error:.2f} of it")


def test_dice_plus_plus_as_released_by_hytver() -> None:
    """False positives are added twice and false negatives never: a lesion predicted at one half has a loss of 0."""
    p, t = torch.tensor([0.5, 0.5, 0.0]), torch.tensor([1.0, 1.0, 0.0])
    tp, fp, fn = (p * t).sum(), ((p * (1 - t)) ** 2).sum(), (((1 - p) * t) ** 2).sum()
    as_released, as_printed = 1 - 2 * tp / (2 * tp + fp + fp), 1 - 2 * tp / (2 * tp + fp + fn)
    quoted(f"has a loss of {as_released.item():.1f} instead of {as_printed.item():.1f}")


def test_top_k_as_printed_keeps_one_voxel_too_many() -> None:
    p = torch.arange(100.0)
    dropped = p > p.sort(descending=True).values[70 - 1]
    quoted(f"drops {int(dropped.sum())} of 100 voxels at K = 30, not 70")


def test_smoothing_changes_rankings() -> None:
    nothing, hit = 10 / (3 + 10), (2 + 10) / (2 + 4 + 2 + 10)
    quoted(f"Dice {nothing:.2f} with a smoothing of 10")
    quoted(f"false positives {hit:.2f}")
    assert nothing > hit


def test_squared_dice_is_dice_plus_plus_two() -> None:
    logits, labels = patches()
    small, few = logits[:1, :, 20:60, 20:60, 20:60].double(), labels[:1, 20:60, 20:60, 20:60]
    squared, sharpened = ll.build("dice(squared=True)")(small, few), ll.build("dice_plus_plus(gamma=2)")(small, few)
    t, p = few.double(), torch.sigmoid(small[:, 0])
    by_hand = 1 - ((p * t).sum() + 1e-5) / ((p**2).sum() / 2 + (t**2).sum() / 2 + 1e-5)
    assert squared.item() == pytest.approx(by_hand.item(), rel=1e-9)
    assert sharpened.item() == pytest.approx(by_hand.item(), rel=1e-9)

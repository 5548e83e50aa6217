"""Lesion-wise losses: every lesion counts alike, limits that are other losses, cut lesions, and the path of a GPU."""

import contextlib
from collections.abc import Iterator
from unittest import mock

import numpy as np
import pytest
import torch
from torch import Tensor

import lesionloss as ll
import lesionwise_by_hand
from lesionloss.core.randomness import torch_generator
from lesionwise_by_hand import LESIONWISE

SPACING_MM = (3.0, 0.8, 1.1)
OTHERS = {
    "blob": "blob(main_share=0.2, ce_share=0.4)",
    "component_dice": "component_dice(ce_share=0.3)",
    "inverse_weighted": "inverse_weighted(ce_share=0.4, gamma=1.5, sharpen=2)",
    "lesion_tversky": "lesion_tversky(fp=0.2, fn=0.8, power=4)",
}


def labels_with(space: tuple[int, ...], *boxes: tuple[slice, ...]) -> Tensor:
    """(1, *space): 1 in these boxes."""
    labels = torch.zeros((1, *space), dtype=torch.long)
    for box in boxes:
        labels[0][box] = 1
    return labels


def random_logits(labels: Tensor, channels: int = 1) -> Tensor:
    shape = (labels.shape[0], channels, *labels.shape[1:])
    return torch.randn(shape, generator=torch_generator("lesionwise", *shape), dtype=torch.float64)


SMALL, LARGE = (slice(1, 2), slice(1, 2), slice(1, 2)), (slice(3, 6), slice(4, 7), slice(3, 7))
TWO = labels_with((7, 8, 9), SMALL, LARGE)


def sure(mask: Tensor, size: float = 30.0) -> Tensor:
    """Logits (1, 1, *space) of a prediction of 0 and 1."""
    return torch.where(mask > 0, size, -size)[:, None].double()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", LESIONWISE)
def test_voxels_that_are_no_cubes(name: str, channels: int) -> None:
    labels = torch.cat([TWO, torch.roll(TWO, 2, dims=3), torch.zeros_like(TWO)])
    if channels == 3:
        labels[0, 6, 7, 5:], labels[1, :2, 7, 8], labels[1, 6, 0, 0] = 2, 2, 2
    logits = random_logits(labels, channels)
    valid = torch.rand(labels.shape, generator=torch_generator("mask")) < 0.9
    for text in (name, OTHERS[name]):
        given = dict(ll.build(text).spec.terms[0].given)
        found = ll.build(text)(logits, labels, valid, spacing_mm=SPACING_MM)
        expected = lesionwise_by_hand.value(
            name, given, logits.numpy(), labels.numpy(), valid=valid.numpy(), spacing_mm=SPACING_MM
        )
        assert found.item() == pytest.approx(expected, rel=1e-10)
        pooled = ll.build(text, pooled=True)(logits, labels, valid, spacing_mm=SPACING_MM)
        expected = lesionwise_by_hand.value(
            name, given, logits.numpy(), labels.numpy(), valid=valid.numpy(), spacing_mm=SPACING_MM, pooled=True
        )
        assert pooled.item() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize(
    ("text", "cost"), [("blob(main_share=0)", 1 / 2), ("component_dice", 1 / 2), ("lesion_tversky", 1 / 3)]
)
def test_a_small_lesion_that_is_not_found_costs_as_much_as_a_large_one(text: str, cost: float) -> None:
    small, large = labels_with(TWO.shape[1:], SMALL), labels_with(TWO.shape[1:], LARGE)
    costs = [ll.build(text)(sure(found), TWO).item() for found in (small, large)]
    assert costs == pytest.approx([cost, cost], abs=1e-4)
    assert ll.build("dice")(sure(large), TWO) < 0.02


def test_inverse_weights_give_every_lesion_and_the_background_the_same_sum() -> None:
    logits, n = random_logits(TWO), TWO.numel()
    weight = torch.empty(TWO.shape, dtype=torch.float64)
    for mask in (TWO == 0, labels_with(TWO.shape[1:], SMALL) > 0, labels_with(TWO.shape[1:], LARGE) > 0):
        weight[mask] = n / (3 * mask.sum())
    equal = {
        "inverse_weighted": "cross_entropy",
        "inverse_weighted(gamma=2)": "focal(gamma=2, lesion=1, background=1)",
        "inverse_weighted(ce_share=0)": "dice",
        "inverse_weighted(ce_share=0, sharpen=2)": "dice(squared=True)",
    }
    for text, same in equal.items():
        torch.testing.assert_close(ll.build(text)(logits, TWO), ll.build(same)(logits, TWO, weight=weight))


@pytest.mark.parametrize("channels", [1, 3])
def test_with_one_lesion_of_each_class_they_are_losses_of_voxels(channels: int) -> None:
    labels = labels_with((4, 5, 6), (slice(0, 2), slice(0, 3), slice(0, 3)))
    if channels == 3:
        labels[0, 3, 3:, 4:] = 2
    logits = random_logits(labels, channels)
    equal = {
        "blob(main_share=0.3)": "dice",
        "blob(main_share=0.3, ce_share=1)": "cross_entropy",
        "2*blob(main_share=0, ce_share=0.5)": "dice_ce",
        "component_dice": "dice",
        "component_dice(ce_share=1)": "cross_entropy",
    }
    for text, same in equal.items():
        torch.testing.assert_close(ll.build(text)(logits, labels), ll.build(same)(logits, labels))
    alone = labels.clamp_max(1) * (labels == 1)
    single = logits[:, :1]
    tversky = ll.build("tversky(fp=0.3, fn=0.7)")(single, alone).item()
    assert ll.build("lesion_tversky(fp=0.3, fn=0.7, power=1)")(single, alone).item() == pytest.approx(tversky, abs=1e-4)


@pytest.mark.parametrize("name", LESIONWISE)
def test_an_image_without_lesions(name: str) -> None:
    nothing, false_positives = torch.zeros_like(TWO), sure(TWO)
    plain = {"inverse_weighted": "cross_entropy"}.get(name, "dice")
    for logits in (false_positives, random_logits(TWO)):
        found = ll.build(name)(logits, nothing)
        expected = ll.build(plain)(logits, nothing).item()
        assert found.item() == pytest.approx(expected, abs=2e-5 if name == "lesion_tversky" else 1e-12)
    if name != "inverse_weighted":
        assert ll.build(name, empty="skip")(false_positives, nothing) == 0


def test_lesion_tversky_is_tversky_where_all_lesions_are_single_voxels() -> None:
    labels = torch.zeros(2, 7, 9, dtype=torch.long)
    labels[0, ::2, ::3], labels[1, 3, ::2] = 1, 1
    logits = random_logits(labels)
    for power in (0.5, 1, 4, 30):
        found = ll.build(f"lesion_tversky(fp=0.3, fn=0.7, power={power})")(logits, labels, reduce=False)
        torch.testing.assert_close(found, ll.build("tversky")(logits, labels, reduce=False))


def test_lesion_tversky_is_one_minus_f_beta_of_lesions() -> None:
    """Two of three lesions of 2 voxels are found, and there are two false-positive lesions of 2 voxels."""
    labels, mask = torch.zeros(1, 9, 9, dtype=torch.long), torch.zeros(1, 9, 9, dtype=torch.long)
    for row in (0, 3, 6):
        labels[0, row, :2] = 1
    mask[0, 0, :2], mask[0, 3, :2], mask[0, 0, 5:7], mask[0, 8, 5:7] = 1, 1, 1, 1
    for beta in (0.5, 1.0, 2.0):
        fp = 1 / (1 + beta**2)
        tp, wrong, missed = 2, 2, 1
        f_beta = (1 + beta**2) * tp / ((1 + beta**2) * tp + beta**2 * missed + wrong)
        found = ll.build(f"lesion_tversky(fp={fp}, fn={1 - fp})")(sure(mask), labels)
        assert found.item() == pytest.approx(1 - f_beta, abs=1e-4)


def test_with_growing_power_one_voxel_finds_a_lesion() -> None:
    labels = labels_with((5, 20), (slice(0, 4), slice(0, 16)))
    one = sure(labels_with((5, 20), (slice(2, 3), slice(7, 8))))
    values = [ll.build(f"lesion_tversky(power={power})")(one, labels).item() for power in (1, 4, 64, 4096)]
    assert values == sorted(values, reverse=True)
    share = (1 / 64) ** (1 / 4)
    assert values[1] == pytest.approx(1 - share / (share + (1 - share) / 2), abs=1e-4)
    assert values[-1] < 1e-3


@pytest.mark.parametrize("name", LESIONWISE)
def test_a_lesion_that_the_patch_or_a_mask_cuts_counts_for_each_part(name: str) -> None:
    """A bar through the image; without its middle it is two lesions, and a patch holds what lies inside."""
    labels = labels_with((5, 9), (slice(2, 3), slice(0, 9)), (slice(0, 1), slice(0, 2)))
    logits = random_logits(labels)
    valid = torch.ones_like(labels, dtype=torch.bool)
    valid[..., 4] = False
    apart = labels * valid
    for text in (name, OTHERS[name]):
        loss = ll.build(text)
        torch.testing.assert_close(loss(logits, labels, valid), loss(logits, apart, valid))
        given = dict(loss.spec.terms[0].given)
        for part in (slice(0, 4), slice(5, 9), slice(3, 7)):
            patch = logits[..., part], labels[..., part]
            expected = lesionwise_by_hand.value(name, given, patch[0].numpy(), patch[1].numpy())
            assert loss(*patch).item() == pytest.approx(expected, rel=1e-10)
    if name == "component_dice":
        halves = [ll.build("dice")(logits[..., 2:, part], labels[..., 2:, part]) for part in (slice(0, 4), slice(5, 9))]
        both = ll.build(name)(logits[..., 2:, :], labels[..., 2:, :], valid[..., 2:, :])
        torch.testing.assert_close(both, sum(halves) / 2)


@pytest.fixture
def not_on_the_cpu() -> Iterator[None]:
    """Values can't be read, as on a GPU."""
    with contextlib.ExitStack() as patches:
        for room in ("input_checks", "alignment", "lesion_sums"):
            patches.enter_context(mock.patch(f"lesionloss.losses.{room}.may_look", return_value=False))
        yield


def results(name: str) -> list[Tensor]:
    """Values and gradients with maps given and not, and in a checkerboard with as many lesions as there can be."""
    found = []
    labels = torch.cat([TWO, torch.roll(TWO, 3, dims=2)])
    labels[0, 6, 7, 8], labels[1, 0, 0, :2] = 2, 2
    chequered = torch.zeros(1, 5, 6, 7, dtype=torch.long)
    chequered[:, ::2, ::2, ::2] = 1
    for reference, channels in ((labels, 3), (labels.clamp_max(1), 1), (chequered, 2), (chequered * 0, 1)):
        for text in (name, OTHERS[name]):
            loss, logits = ll.build(text), random_logits(reference, channels).requires_grad_()
            maps = loss.reference_maps(reference[:, None], channels=channels)
            for given in ({}, maps):
                value = loss(logits, reference, maps=given)
                found += [value.detach(), *torch.autograd.grad(value, logits)]
    return found


@pytest.mark.parametrize("name", LESIONWISE)
def test_where_values_cannot_be_read_results_are_the_same(name: str, request: pytest.FixtureRequest) -> None:
    expected = results(name)
    request.getfixturevalue("not_on_the_cpu")
    for found, wanted in zip(results(name), expected, strict=True):
        torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("name", LESIONWISE)
def test_lesions_of_shares_are_refused(name: str) -> None:
    with pytest.raises(ll.UsageError, match="it counts lesions, so labels must be class numbers or one-hot"):
        ll.build(name)(random_logits(TWO), 0.5 * TWO)


def test_volumes_of_slices_are_slices() -> None:
    labels = torch.from_numpy(np.tile([[0, 1, 0, 0, 1]], (4, 1)))[None]
    logits = random_logits(labels)
    for name in LESIONWISE:
        flat = ll.build(name)(logits, labels, spacing_mm=(2.0, 1.0))
        deep = ll.build(name)(logits[..., None], labels[..., None], spacing_mm=(2.0, 1.0, 9.0))
        torch.testing.assert_close(flat, deep)

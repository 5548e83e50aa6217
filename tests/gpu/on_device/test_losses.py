"""Every loss on a GPU: values and gradients as on the CPU, nothing between devices, no wait, few operations."""

from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

import lesionloss as ll
from lesionloss.core.errors import DataError, UsageError
from lesionloss.losses import registry
from lesionloss.losses.kernels import FAST, READABLE

NAMES = [record.name for record in registry.list_losses()]
SPACE = (5, 6, 7)
# Of a forward and backward pass, 300 or what is said here; each costs the host some 5 microseconds.
MOST_OPERATIONS = {"hausdorff_er": 500}  # ten erosions
FORMS = ("uint8", "int64", "bool", "zeros and ones", "shares", "one-hot", "soft")
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "valid": {},
    "pooled": {"pooled": True},
    "skip": {"empty": "skip"},
    "background": {"average_background": True},
    "ignore": {"ignore_index": 1},
    "multilabel": {"multilabel": True},
    "readable": {"kernel": READABLE},
}
ALL = list(product(NAMES, (1, 2, 4), FORMS, OPTIONS))
# One loss after the other meets each number of channels, and in turn each form and option.
SMALL = [
    (NAMES[i // 3], (1, 2, 4)[i % 3], FORMS[i % 7], list(OPTIONS)[i // 2 % len(OPTIONS)]) for i in range(3 * len(NAMES))
]


def logits_and_labels(channels: int, form: str) -> tuple[Tensor, Tensor]:
    drawn = torch.Generator().manual_seed(1)
    logits = torch.randn((2, channels, *SPACE), generator=drawn) * 2
    lesion = torch.rand((2, *SPACE), generator=drawn) > 0.9
    number = torch.randint(1, max(2, channels), (2, *SPACE), generator=drawn) * lesion
    match form:
        case "uint8":
            return logits, number.byte()
        case "int64":
            return logits, number
        case "bool":
            return logits, lesion
        case "zeros and ones":
            return logits, number.float()
        case "shares":
            return logits, torch.rand((2, *SPACE), generator=drawn) ** 4
        case "one-hot":
            return logits, torch.stack([number == k for k in range(channels)] if channels > 1 else [lesion], 1).byte()
    if channels == 1:
        return logits, torch.rand((2, 1, *SPACE), generator=drawn) ** 4
    return logits, torch.rand((2, channels, *SPACE), generator=drawn).pow(4).softmax(1)


def value_and_gradient(
    criterion: Any,
    logits: Tensor,
    labels: Tensor,
    valid: Tensor | None,
    maps: dict[str, Tensor],
    weight: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    x = logits.detach().clone().requires_grad_()
    value = criterion(x, labels, valid=valid, maps=maps, weight=weight)
    value.backward()
    assert x.grad is not None
    return value.detach(), x.grad


def check(gpu: Any, name: str, channels: int, form: str, option: str) -> None:
    logits, labels = logits_and_labels(channels, form)
    valid = torch.rand((2, *SPACE), generator=torch.Generator().manual_seed(2)) > 0.1 if option == "valid" else None
    criterion = ll.build(name, **{"kernel": FAST, **OPTIONS[option]})
    there: list[Any] = [None if x is None else x.to(gpu.name) for x in (logits, labels, valid)]
    maps: dict[str, Tensor] = {}
    try:
        maps = criterion.reference_maps(labels, valid, channels=channels)  # as data workers do
        there.append({key: given.to(gpu.name) for key, given in maps.items()})
        expected = value_and_gradient(criterion, logits, labels, valid, maps)
    except (UsageError, DataError):
        there = [*there[:3], {}]
        try:
            value, _ = value_and_gradient(criterion, *there)
        except (UsageError, DataError):
            return
        assert gpu.values(value).isnan()  # what a GPU can't refuse without waiting
        return
    with gpu.log() as log:
        found = value_and_gradient(criterion, *there)
    for ours, cpu in zip(found, expected, strict=True):
        assert str(ours.device) == gpu.name
        close = 2e-5 * float(cpu.abs().max()) + 1e-9
        torch.testing.assert_close(gpu.values(ours), cpu, rtol=2e-5, atol=close)
    assert log.waits == []
    assert log.operations.total() <= MOST_OPERATIONS.get(name, 300)


@pytest.mark.parametrize(("name", "channels", "form", "option"), SMALL, ids=lambda value: str(value))
def test_a_loss_in_one_setting(gpu: Any, name: str, channels: int, form: str, option: str) -> None:
    check(gpu, name, channels, form, option)


@pytest.mark.parametrize("name", ["dice_ce", "topk_cross_entropy", "blob", "component_dice"])
def test_weights_of_voxels(gpu: Any, name: str) -> None:
    logits, labels = logits_and_labels(1, "uint8")
    weight = torch.rand((2, *SPACE), generator=torch.Generator().manual_seed(2)).round(decimals=1)
    criterion = ll.build(name)
    maps = criterion.reference_maps(labels, weight > 0)
    expected = value_and_gradient(criterion, logits, labels, None, maps, weight)
    there = {key: given.to(gpu.name) for key, given in maps.items()}
    arguments = (logits.to(gpu.name), labels.to(gpu.name), None, there, weight.to(gpu.name))
    with gpu.log() as log:
        found = value_and_gradient(criterion, *arguments)
    for ours, cpu in zip(found, expected, strict=True):
        torch.testing.assert_close(gpu.values(ours), cpu, rtol=2e-5, atol=1e-8)
    assert log.waits == []


@pytest.mark.parametrize("name", ["blob", "component_dice", "inverse_weighted"])
def test_without_maps_a_loss_computes_them_and_waits(gpu: Any, name: str) -> None:
    logits, labels = logits_and_labels(4, "uint8")
    criterion = ll.build(name)
    expected = criterion(logits, labels, spacing_mm=(3.0, 1.0, 1.0))
    with gpu.log() as log:
        found = criterion(logits.to(gpu.name), labels.to(gpu.name), spacing_mm=(3.0, 1.0, 1.0))
    torch.testing.assert_close(gpu.values(found), expected, rtol=2e-5, atol=0)
    assert log.waits


def test_deep_supervision(gpu: Any) -> None:
    logits, labels = logits_and_labels(2, "uint8")
    levels = [logits, logits[..., :3, :3, :4].clone()]
    criterion = ll.DeepSupervision(ll.build("hytver"))
    expected = criterion(levels, labels)
    there, numbers = [level.to(gpu.name) for level in levels], labels.to(gpu.name)
    with gpu.log() as log:
        found = criterion(there, numbers)
    torch.testing.assert_close(gpu.values(found), expected, rtol=2e-5, atol=0)
    assert log.waits == []


def test_a_default_device_changes_nothing_for_later_calls(gpu: Any) -> None:
    logits, labels = logits_and_labels(4, "uint8")
    criterion = ll.build("hytver")
    expected = criterion(logits, labels)
    with torch.device(gpu.name):
        assert criterion(logits, labels) == expected
    assert criterion(logits, labels) == expected


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_loss_in_every_setting(gpu: Any, name: str) -> None:
    for _, channels, form, option in [each for each in ALL if each[0] == name]:
        check(gpu, name, channels, form, option)

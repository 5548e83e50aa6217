"""Every loss against stored numbers, and against a second implementation of the same equations in plain loops."""

import json
from pathlib import Path

import pytest
import torch

import lesionloss as ll
import losses_by_hand
from lesionloss.core.errors import UsageError
from lesionloss.core.randomness import torch_generator
from lesionloss.losses.spec import parse
from random_batches import random_batch, random_hyperparameters

OWN = Path(__file__).parent / "golden" / "losses.json"
BESIDE = Path(__file__).parents[3] / "shared" / "golden" / "losses.json"
RECORDS = {record.name: record for record in ll.list_losses()}


def check(case: dict) -> None:
    """Value to 1e-9, gradient to 1e-6, in float64."""
    logits = torch.tensor(case["logits"], dtype=torch.float64, requires_grad=True)
    valid = None if case["valid"] is None else torch.tensor(case["valid"])
    criterion = ll.build(case["spec"], pooled=case["pooled"], average_background=case["background"])
    value = criterion(logits, torch.tensor(case["labels"]), valid=valid)
    assert value.item() == pytest.approx(case["value"], rel=0, abs=1e-9)
    if case["gradient"] is not None:
        value.backward()
        expected = torch.tensor(case["gradient"], dtype=torch.float64)
        torch.testing.assert_close(logits.grad, expected, rtol=0, atol=1e-6)


def check_all(path: Path) -> set[str]:
    """The names of the losses that were checked."""
    names = set()
    for number, case in enumerate(json.loads(path.read_text())["cases"]):
        try:
            check(case)
        except AssertionError as error:
            raise AssertionError(f"{path.name}, case {number}, {case['spec']}: {error}") from error
        names.add(parse(case["spec"]).terms[0].name)
    return names


def test_own_golden_values() -> None:
    assert check_all(OWN) == set(RECORDS)


@pytest.mark.skipif(not BESIDE.is_file(), reason="no shared/golden/losses.json beside the project")
def test_golden_values_beside_the_project() -> None:
    assert check_all(BESIDE) <= set(RECORDS)


def compare(name: str, number: int) -> None:
    """A random batch, random hyperparameters and random options: 1e-12 of the plain loops."""
    batch = random_batch("compare", name, number, channels=1 + number % 2 if name == "hytver_released" else None)
    given = random_hyperparameters(RECORDS[name].defaults, "compare", name, number)
    pooled, background = number % 3 == 0, number % 2 == 0
    logits, labels, valid = batch.flat
    options = {"valid": valid, "pooled": pooled, "background": background, "space": batch.space}
    expected = losses_by_hand.value(name, given, logits, labels, **options)
    inside = ", ".join(f"{key}={choice!r}" for key, choice in given.items())
    criterion = ll.build(f"{name}({inside})", pooled=pooled, average_background=background)
    mask = None if batch.valid is None else torch.from_numpy(batch.valid)
    value = criterion(torch.from_numpy(batch.logits), torch.from_numpy(batch.labels), valid=mask)
    assert value.item() == pytest.approx(expected, rel=1e-12, abs=1e-15), f"case {number}: {criterion}"


@pytest.mark.parametrize("name", RECORDS)
def test_equal_to_plain_loops(name: str) -> None:
    for number in range(10):
        compare(name, number)


@pytest.mark.slow
@pytest.mark.parametrize("name", RECORDS)
def test_equal_to_plain_loops_in_200_cases(name: str) -> None:
    for number in range(200):
        compare(name, number)


def takes_shares(name: str) -> bool:
    try:
        ll.build(name)(torch.zeros((1, 1, 2, 2)), torch.full((1, 2, 2), 0.5))
    except UsageError:
        return False
    return True


@pytest.mark.parametrize("name", [name for name in RECORDS if takes_shares(name)])
def test_equal_to_plain_loops_with_soft_labels(name: str) -> None:
    for number in range(4):
        batch = random_batch("soft", name, number, channels=1 + number % 2 if name == "hytver_released" else None)
        logits = torch.from_numpy(batch.logits)
        space = (logits.shape[0], max(2, logits.shape[1]), *logits.shape[2:])
        shares = torch.rand(space, generator=torch_generator("soft", name, number), dtype=torch.float64)
        shares = shares / shares.sum(1, keepdim=True)
        mask = None if batch.valid is None else torch.from_numpy(batch.valid)
        flat, _, valid = batch.flat
        expected = losses_by_hand.value(name, {}, flat, shares.flatten(2).numpy(), valid=valid, space=space[2:])
        given = shares[:, 1] if logits.shape[1] == 1 else shares
        value = ll.build(name)(logits, given, valid=mask)
        assert value.item() == pytest.approx(expected, rel=1e-12), f"case {number}"


def test_the_stored_values_are_what_the_script_writes() -> None:
    from make_golden import case

    stored = json.loads(OWN.read_text())["cases"]
    for number in (0, 4):
        for name in ("hytver", "topk_dice"):
            made = json.loads(json.dumps(case(name, RECORDS[name].defaults, number)))
            assert made in stored

"""Every loss against numbers that were computed elsewhere from the same equations."""

import json
from pathlib import Path

import pytest
import torch

import lesionloss as ll

BESIDE = Path(__file__).parents[1].parent / "shared" / "golden" / "losses.json"


def cases(path: Path) -> list[dict]:
    return json.loads(path.read_text())["cases"] if path.is_file() else []


def check(case: dict) -> None:
    """Value to 1e-9, gradient to 1e-6, in float64."""
    logits = torch.tensor(case["logits"], dtype=torch.float64, requires_grad=True)
    valid = None if case["valid"] is None else torch.tensor(case["valid"])
    criterion = ll.build(case["spec"], pooled=case["pooled"], background=case["background"])
    value = criterion(logits, torch.tensor(case["labels"]), valid=valid)
    assert value.item() == pytest.approx(case["value"], rel=0, abs=1e-9)
    if case["gradient"] is not None:
        value.backward()
        torch.testing.assert_close(logits.grad, torch.tensor(case["gradient"], dtype=torch.float64), rtol=0, atol=1e-6)


@pytest.mark.skipif(not BESIDE.is_file(), reason=f"no {BESIDE.name} in shared/golden beside the project")
def test_all_golden_values_beside_the_project() -> None:
    found = cases(BESIDE)
    assert len(found) >= 150
    for number, case in enumerate(found):
        try:
            check(case)
        except AssertionError as error:
            raise AssertionError(f"case {number}, {case['spec']}: {error}") from error

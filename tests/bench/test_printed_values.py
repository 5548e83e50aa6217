"""docs/reference/papers.md: every value that it states is in the preset, and its counts are those of its rows."""

import re
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from lesionloss.bench.plan import Plan

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "papers.md").read_text("utf-8")
STATUSES = ("as printed", "option", "otherwise", "not here")
ELEMENTS = {"HyTver": 50, "Cabezas and Diez": 43, "DSC++": 51, "TopK Dice": 41}
CLAIM = re.compile(r"`([a-z0-9-]+): ([a-z_.]+) (=|has) ([^`]+)`")
CLAIMS = CLAIM.findall(PAGE)


def rows_of(paper: str) -> list[list[str]]:
    section = PAGE.partition(f"\n## {paper}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")][1:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@cache
def values_of(preset: str) -> dict[str, Any]:
    return Plan.preset(preset).model_dump(mode="json")


def value_of(preset: str, key: str) -> Any:
    value: Any = values_of(preset)
    for part in key.split("."):
        value = value[part]
    return value


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: " ".join(claim))
def test_a_preset_has_the_value_that_the_page_states(claim: tuple[str, str, str, str]) -> None:
    preset, key, relation, text = claim
    expected, found = tomllib.loads(f"value = {text}")["value"], value_of(preset, key)
    if relation == "has":
        assert expected in found
    else:
        assert found == expected


def test_the_page_states_values_of_every_paper() -> None:
    presets = {preset for preset, *_ in CLAIMS}
    assert {
        "hytver",
        "cabezas-lit",
        "cabezas-wmh",
        "dscpp-drive",
        "dscpp-cvc",
        "topk-synapse",
        "topk-acdc",
        "topk-msseg2016",
    } <= presets
    assert len(CLAIMS) > 80


@pytest.mark.parametrize("paper", ELEMENTS)
def test_every_element_has_a_status_and_says_where_it_is(paper: str) -> None:
    rows = rows_of(paper)
    assert len(rows) == ELEMENTS[paper]
    for element, printed_in, status, here in rows:
        assert element
        assert printed_in
        assert status in STATUSES
        assert here, element
    counts = [sum(row[2] == status for row in rows) for status in STATUSES]
    assert f"| {paper} | {' | '.join(map(str, counts))} |" in PAGE

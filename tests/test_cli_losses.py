"""`lesionloss losses` as a user sees it."""

import json

from typer.testing import CliRunner

import lesionloss as ll
from lesionloss.cli import app


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    return result.output


def test_list_names_every_loss() -> None:
    shown = run("losses")
    for record in ll.losses():
        assert record.name in shown


def test_json_is_for_programs() -> None:
    rows = json.loads(run("losses", "--json"))
    assert {row["name"] for row in rows} == {record.name for record in ll.losses()}
    (tversky,) = (row for row in rows if row["name"] == "tversky")
    assert tversky["defaults"] == {"fp": 0.3, "fn": 0.7}
    assert tversky["class"] == "TverskyLoss"


def test_card_of_one() -> None:
    shown = run("losses", "hytver")
    assert "fn" in shown
    assert "HyTver 2025" in shown

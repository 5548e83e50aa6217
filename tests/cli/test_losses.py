"""`lesionloss losses`, `check` and `explain` as a user sees them."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

import lesionloss as ll
from lesionloss.cli import app
from lesionloss.core.errors import UsageError
from lesionloss.losses import loss_docs
from lesionloss.losses.explain import gradient_analysis
from lesionloss.losses.registry import LOSSES, LossRecord
from lesionloss.losses.spec import parse
from own_losses import ROOT_TVERSKY

SWAPPED = '''
from lesionloss import Voxels, loss

@loss("swapped", source="a test")
def swapped(v: Voxels, *, fp: float = 0.3, fn: float = 0.7):
    """Swapped: weighs the wrong errors.

    fp: weight of false positives
    fn: weight of false negatives
    """
    c = v.counts()
    errors = fn * c.fp + fp * c.fn
    return errors / (c.tp + errors + v.eps)
'''


def run(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200"})
    assert result.exit_code == code, result.output
    return result.output


@pytest.fixture
def own_file(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "mine.py"
    yield path
    for name in ("swapped", "root_tversky"):
        if name in LOSSES:
            LOSSES.remove(name)


def test_list_names_every_loss() -> None:
    shown = run("losses")
    for record in ll.list_losses():
        assert record.name in shown


def test_the_list_fits_80_columns_and_cuts_no_text() -> None:
    lines = CliRunner().invoke(app, ["losses"], env={"COLUMNS": "80"}).output.splitlines()
    assert max(map(len, lines)) <= 80
    assert not any("…" in line for line in lines)
    for record in ll.list_losses():
        (line,) = (line for line in lines if line.split(" ")[0] == record.name)
        assert re.split(r"[;,:(]", record.source)[0].split()[0] in line
    headings = [line for line in lines if line.startswith("Losses that count lesions alike")]
    assert len(headings) == 1
    assert lines[lines.index(headings[0]) + 1].startswith("blob ")


def test_json_is_for_programs() -> None:
    rows = json.loads(run("losses", "--json"))
    assert {row["name"] for row in rows} == {record.name for record in ll.list_losses()}
    (tversky,) = (row for row in rows if row["name"] == "tversky")
    assert tversky["defaults"] == {"fp": 0.3, "fn": 0.7}
    assert tversky["class"] == "TverskyLoss"


def test_card_says_everything() -> None:
    shown = run("losses", "weighted_gradient")
    for words in ("weighted_gradient(gamma=2, lesion=None)", "Σ", "γ in eq. 5", "whole number >= 1", "no lesion"):
        assert words in shown
    assert "Cabezas & Diez 2024, eq. 5" in shown
    assert "wrong sign" in shown


def test_unknown_name_is_explained() -> None:
    result = CliRunner().invoke(app, ["losses", "dise"])
    assert isinstance(result.exception, UsageError)
    assert "did you mean 'dice'" in str(result.exception)


@pytest.mark.parametrize("record", ll.list_losses(), ids=lambda record: record.name)
def test_every_built_in_loss_has_a_full_card(record: LossRecord) -> None:
    found = loss_docs.sections(record)
    assert {"Formula", "Empty", "Example", *record.defaults} <= set(found)
    assert record.text or record.name in [term.name for term in parse(found["Example"]).terms]
    assert ll.build(found["Example"])


def test_check_passes_a_good_loss(own_file: Path) -> None:
    own_file.write_text(ROOT_TVERSKY)
    shown = run("check", "tversky")
    assert "keeps all laws" in shown
    assert "masked_voxels" in shown


def test_check_shows_the_law_that_a_bad_loss_breaks(own_file: Path) -> None:
    own_file.write_text(SWAPPED)
    shown = run("check", "swapped", "--with", str(own_file), code=1)
    assert "swapped breaks 1 of" in shown
    assert "error_weights" in shown
    assert "fn from" in shown or "fp from" in shown
    told = json.loads(run("check", "swapped", "--json", "--with", str(own_file), code=1))
    assert told["loss"] == "swapped"
    assert [law["law"] for law in told["laws"] if law["outcome"] == "BREAKS"] == ["error_weights"]


def test_explain_writes_curves_and_figure(tmp_path: Path) -> None:
    figure, table = tmp_path / "gradients.png", tmp_path / "gradients.csv"
    words = ["cross_entropy", "dice", "--lesion", "0.05", "--out", str(figure), "--csv", str(table), "--json"]
    printed, _ = json.JSONDecoder().raw_decode(run("explain", *words))  # before what is said on stderr
    assert [each["loss"] for each in printed] == ["cross_entropy", "dice"]
    assert printed[0]["background"] == pytest.approx([0.95 * p for p in printed[0]["p"]], rel=0.02)
    (terms,) = json.loads(run("explain", "dice", "--analysis", "--json"))
    assert terms["w1"] == 1
    assert all(len(values) == len(terms["p"]) for values in terms["terms"].values())
    assert figure.read_bytes()[:4] == b"\x89PNG"
    rows = pd.read_csv(table)
    assert set(rows["loss"]) == {"cross_entropy", "dice"}
    assert (rows["lesion_share"] == 0.05).all()
    ce = rows[rows["loss"] == "cross_entropy"]
    assert ce["lesion_voxel"].to_numpy() == pytest.approx(1 - ce["probability"].to_numpy(), rel=1e-6)
    assert ce["background_total"].to_numpy() == pytest.approx(0.95 * ce["probability"].to_numpy(), rel=1e-6)
    result = CliRunner().invoke(app, ["explain", "dice", "--csv", str(table)])
    assert "exists; give --force" in str(result.exception)


def test_explain_of_weighted_gradient_is_its_equation() -> None:
    found = gradient_analysis("weighted_gradient(gamma=3)", 0.01)
    assert found.lesion == pytest.approx(0.99 * (1 - found.probability) ** 3, rel=1e-6)
    assert found.background == pytest.approx(0.01 * found.probability**3, rel=1e-6)


def test_explain_refuses_what_it_can_not_show(tmp_path: Path) -> None:
    for arguments, words in (
        (["dice", "--lesion", "0"], "so that both classes have voxels"),
        (["dice", "--out", str(tmp_path / "x.pdf")], "must end in .png or .svg"),
        (["dise"], "did you mean 'dice'"),
    ):
        result = CliRunner().invoke(app, ["explain", *arguments])
        assert words in str(result.exception)


@pytest.mark.parametrize(
    "words", [("losses", "root_tversky"), ("bench", "quickstart", "--loss", "root_tversky", "--print")]
)
def test_own_files_may_be_named_before_and_behind_every_command(own_file: Path, words: tuple[str, ...]) -> None:
    own_file.write_text(ROOT_TVERSKY)
    before = run("--with", str(own_file), *words)
    LOSSES.remove("root_tversky")
    assert run(*words, f"--with={own_file}") == before
    LOSSES.remove("root_tversky")
    assert run(words[0], "--with", str(own_file), *words[1:]) == before

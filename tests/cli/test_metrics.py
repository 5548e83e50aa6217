"""`lesionloss metrics`: the list, the card of one, JSON and the page."""

import json
import sys

import pytest

from lesionloss.cli import main
from lesionloss.metrics import list_metrics, metric_docs


@pytest.fixture
def run(monkeypatch, capsys):
    def call(*words):
        monkeypatch.setattr(sys, "argv", ["lesionloss", "metrics", *words])
        with pytest.raises(SystemExit) as caught:
            main()
        return caught.value.code or 0, *capsys.readouterr()

    return call


def test_the_list_names_every_metric(run):
    code, screen, _ = run()
    assert code == 0
    assert all(f"{record.name} " in screen for record in list_metrics())


def test_a_card_says_what_happens_to_empty_masks(run):
    _, screen, _ = run("hd95")
    assert "hd(percent=95)" in screen
    assert "infinite" in screen
    assert "the diagonal of the image" in screen
    assert "outside" in run("lesion_f1")[1]
    assert "probability map" in run("nll_brain")[1]


def test_json_and_markdown(run):
    records = json.loads(run("--json")[1])
    assert [record["name"] for record in records] == [record.name for record in list_metrics()]
    assert records[0]["empty"] == {"pred": 0.0, "ref": 0.0, "both": None}
    assert run("--markdown")[1] == metric_docs.markdown()


def test_an_unknown_name(run):
    code, _, error = run("dise")
    assert (code, "did you mean 'dice'" in error) == (2, True)

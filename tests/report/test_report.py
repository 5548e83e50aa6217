"""The page: its numbers, its words, its safety, and runs that are incomplete."""

import csv
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lesionloss as ll
from known import known
from lesionloss.core.errors import UsageError
from lesionloss.core.number_text import decimals_for, interval, number
from lesionloss.core.slice_pictures import around, close_up, fullest_slice, overlay, plane_spacing_mm, radiological
from lesionloss.report.case_slices import CaseSlice
from lesionloss.report.pictures import image_tiles, loss_tiles
from lesionloss.report.report_content import collect_content
from lesionloss.report.shown_intervals import within_limits
from lesionloss.report.wording import difference_sentence
from lesionloss.runs.metric_facts import metric_facts
from lesionloss.statistics import compare
from make_run import DIFFERENCE_THRESHOLD, TINY_CASES, Made, make_run, seal_run

TINY: dict[str, Any] = {"metrics": ("dice", "hd95")} | TINY_CASES
EVIL = ("<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "a$b$ & c_d%", "{{ 7 * 7 }}")


def _tight(text):
    return " ".join(text.split())


class Page(HTMLParser):
    """The tags, the words, and the cells of the main table."""

    def __init__(self, text):
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words: list[str] = []
        self.cells: dict[tuple[str, str], list[str]] = {}
        self._cell: tuple[str, str] | None = None
        self._hidden = False
        self.feed(text)
        self.text = " ".join(" ".join(self.words).split())
        self.tight = _tight("".join(self.words))

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self._hidden = tag in ("script", "style")
        self.attributes += attrs
        found = dict(attrs)
        if tag == "td":
            self._cell = (found["data-loss"], found["data-metric"]) if "data-loss" in found else None

    def handle_endtag(self, tag):
        self._hidden = False

    def handle_data(self, data):
        if self._hidden:
            return
        self.words.append(data)
        if self._cell:
            self.cells.setdefault(self._cell, []).append(data)


def page_of(folder):
    return Page((folder / "report.html").read_text())


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    made = Made(
        patients=8,
        losses=("dice_ce", "hytver", "dice"),
        skill={"hytver": 0.5},
        failed=(("dice", 1, 2),),
        missing=(("hytver", 1, 2),),
        without_lesions=(7,),
        empty=(("dice", 3),),
        **TINY,
    )
    folder = make_run(tmp_path_factory.mktemp("report") / "run", made)
    assert ll.write_report(ll.load(folder), formats=()) == folder / "report.html"
    return folder


def test_two_processes_write_what_one_writes(tmp_path):
    made = Made(patients=2, losses=("dice_ce", "dice"), seeds=(1,), difference=False, **TINY | {"metrics": ("dice",)})
    run = make_run(tmp_path / "run", made)
    ll.write_report(ll.load(run))

    def written() -> dict[str, bytes]:
        files = [run / "report.html", run / "report.json", *run.glob("tables/*"), *run.glob("figures/*")]
        return {str(file.relative_to(run)): file.read_bytes() for file in files}

    alone = written()
    assert {Path(name).suffix for name in alone} >= {".html", ".json", ".csv", ".tex", ".svg", ".pdf", ".png"}
    ll.write_report(ll.load(run), jobs=2)
    assert written() == alone
    ll.write_report(ll.load(run), formats=())  # figures in other formats stay
    assert written() == alone


def test_numbers_in_the_page_are_those_of_the_statistics(run):
    results, page = ll.load(run), page_of(run)
    shown = 0
    for metric in results.metrics:
        comparison = within_limits(compare(results, metric), metric_facts(metric))
        decimals = decimals_for(summary.mean for summary in comparison.summaries)
        for summary in comparison.summaries:
            cell = "".join(page.cells[(summary.loss, metric)])
            assert re.match(rf"{re.escape(number(summary.mean, decimals))}\b", cell)
            assert interval(summary.interval, decimals) in _tight(cell)
            assert f"n {summary.patients_defined} of {summary.patients}" in cell
            shown += 1
        for difference in comparison.differences:
            width = decimals_for(d.mean for d in comparison.differences)
            assert number(difference.mean, width, sign=True) in page.text
            assert interval(difference.interval, width, sign=True) in page.tight
            assert interval(difference.interval_new_training_runs, width, sign=True) in page.tight
    assert shown == 2 * 4
    shown_dice = within_limits(compare(results, "dice"), metric_facts("dice"))
    assert all(difference_sentence(difference) in page.text for difference in shown_dice.differences)


def test_tables_hold_full_precision(run):
    results = ll.load(run)
    rows = list(csv.DictReader((run / "tables" / "summary.csv").open()))
    means = {(row["loss"], row["metric"]): row["mean"] for row in rows}
    for metric in results.metrics:
        for summary in compare(results, metric).summaries:
            assert float(means[(summary.loss, metric)]) == summary.mean
    values = list(csv.DictReader((run / "tables" / "values.csv").open()))
    assert {row["status"] for row in values} >= {"ok", "pred_empty"}
    assert any(row["value"] == "inf" for row in values)
    latex = (run / "tables" / "summary.tex").read_text()
    assert latex.count(r"\texttt{") == 4
    assert r"\toprule" in latex
    assert r"\texttt{dice\_ce}" in latex


def test_failed_missing_and_empty_are_counted_on_top(run):
    page = page_of(run)
    top = page.tight[: page.tight.index("All losses, all metrics")]
    for words in (
        "12 of 14 trials ended well",
        "1 trial failed",
        "1 planned trial did not run",
        "1 of 43 predictions are empty in cases with lesions",
    ):
        assert words in top
    assert "RuntimeError: the loss became NaN at step 12" in page.text
    assert "planned, not run yet" in page.text
    assert "patient99" in page.text
    assert "penalised:" in page.tight
    table = page.tight[page.tight.index("All losses, all metrics") :]
    assert re.search(r"hytver ?3 of 4 trials", table)
    assert "No verdict yet: only 12 of 14 trials have ended." in top
    assert "Missing: verdicts, because only 12 of 14 trials have ended." in top


def test_the_page_needs_nothing_from_outside(run):
    text = (run / "report.html").read_text()
    page = Page(text)
    addresses = [value for name, value in page.attributes if name in ("src", "href", "xlink:href", "data", "action")]
    assert addresses
    assert all(known(address).startswith(("data:image/", "data:,", "#")) for address in addresses)
    assert not {"iframe", "object", "embed"} & set(page.tags)
    assert page.tags.count("link") == 1  # the empty icon, so that none is requested
    policy = next(value for _, value in page.attributes if value and "default-src" in value)
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy.partition("script-src")[2]
    assert "@import" not in text
    assert re.findall(r"url\((?!#)", text) == []
    assert re.findall(r"https?://(?!www\.w3\.org/)", text) == []


def test_names_inside_the_page_are_unique(run):
    ids = [value for name, value in page_of(run).attributes if name == "id"]
    assert len(ids) == len(set(ids)) > 0


def test_a_second_report_is_the_same_and_replaces_the_first(run):
    before = {path: path.read_bytes() for path in run.rglob("*") if path.suffix in (".html", ".csv", ".tex", ".svg")}
    ll.write_report(ll.load(run), formats=())
    assert {path: path.read_bytes() for path in before} == before


def test_another_file_is_never_overwritten_without_force(run, tmp_path):
    out = tmp_path / "mine.html"
    out.write_text("my own notes")
    with pytest.raises(UsageError, match="no report wrote it"):
        ll.write_report(ll.load(run), out, formats=())
    assert out.read_text() == "my own notes"
    with pytest.raises(UsageError, match="is a folder"):
        ll.write_report(ll.load(run), tmp_path)
    out.write_text((run / "report.html").read_text().replace("made-up", "zebra"))
    ll.write_report(ll.load(run), out, formats=())
    assert "zebra" not in out.read_text()


def test_wicked_names_are_inert(tmp_path):
    made = Made(
        patients=2,
        losses=EVIL,
        seeds=(1,),
        names={0: "<blink>case&", 1: "'x' \"y\""},
        failed=((EVIL[1], 1, 1),),
        **TINY,
    )
    folder = make_run(tmp_path / "run", made)
    plan = (folder / "plan.toml").read_text().replace('name = "made-up"', "name = '</title><script>x()</script>'")
    (folder / "plan.toml").write_text(plan)
    seal_run(folder)
    ll.write_report(ll.load(folder), formats=())
    page = page_of(folder)
    assert "blink" not in page.tags
    assert [tag for tag in page.tags if tag == "script"] == ["script"] * (2 + 1)  # two cases and the page's own
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert all(value.startswith("data:") for name, value in page.attributes if name == "src")
    for name in (*EVIL, "</title><script>x()</script>"):
        assert name in page.text
    assert "{{ 7 * 7 }}" in page.text
    latex = (folder / "tables" / "summary.tex").read_text()
    assert r"a\$b\$ \& c\_d\%" in latex
    assert all(path.parent == folder / "figures" for path in (folder / "figures").rglob("*"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"patients": 1, "folds": 1}, "With 1 patient there is no interval and no test"),
        ({"patients": 3, "folds": 3}, "With 3 patients no test can show that these networks differ"),
        ({"patients": 2, "without_lesions": (0, 1)}, "There is no picture"),
        ({"patients": 2, "undefined": True}, "No patient has a defined value of both"),
        ({"patients": 2, "losses": ("dice",)}, "there is nothing to compare"),
        ({"patients": 4, "empty": tuple(("dice", n) for n in range(4))}, "4 of 8 predictions are empty"),
        ({"patients": 2, "unpaired": ("dice",)}, "Not paired."),
    ],
    ids=["one case", "three patients", "no lesion", "all undefined", "one loss", "all missed", "unpaired"],
)
def test_odd_runs_give_a_sensible_page(tmp_path, changes, words):
    made = Made(**({"losses": ("dice_ce", "dice"), "difference": False, "seeds": (1,)} | TINY | changes))
    folder = make_run(tmp_path / "run", made)
    ll.write_report(ll.load(folder), formats=())
    page = page_of(folder)
    assert words in page.text
    assert "nan" not in re.findall(r"[a-z]+", page.text.replace("Nan, Yang", "").lower())  # an author
    assert page.tags.count("table") >= 1


def test_a_run_in_which_all_trials_failed_says_so(tmp_path):
    losses = ("dice_ce", "dice")
    made = Made(
        patients=2, losses=losses, difference=False, seeds=(1,), failed=tuple((x, f, 1) for x in losses for f in (0, 1))
    )
    folder = make_run(tmp_path / "run", made)
    ll.write_report(ll.load(folder), formats=())
    page = page_of(folder)
    assert (
        "No trial has ended well: there is nothing to compare yet. 4 trials failed and 0 trials did not run."
        in page.text
    )
    assert page.text.count("the loss became NaN") == 4


def test_a_lost_prediction_leaves_a_gap_not_an_error(tmp_path):
    folder = make_run(tmp_path / "run", Made(patients=2, losses=("dice_ce", "dice"), seeds=(1,), **TINY))
    for path in (folder / "trials").glob("*/predictions/*.npz"):
        path.unlink()
    ll.write_report(ll.load(folder), formats=())
    assert "its prediction was not kept or is damaged" in page_of(folder).text


def test_the_median_case_is_in_the_middle(run):
    results = ll.load(run)
    rows = results.scores.query("metric == 'dice' and status in ['ok', 'pred_empty']")
    means = rows.groupby("case")["value"].mean().sort_values()
    slices: dict[str, CaseSlice] = {shown.role: shown for shown in collect_content(results, "none").case_maps.slices}
    places = {"worst": 0, "median": (len(means) - 1) // 2, "best": -1}
    assert {role: shown.case for role, shown in slices.items()} == {r: means.index[n] for r, n in places.items()}
    assert "worst of 7 cases by Dice, averaged over all losses and seeds" in slices["worst"].chosen
    tiles = loss_tiles(slices["median"])
    assert [tile.name for tile in tiles] == ["dice_ce", "hytver", "dice", DIFFERENCE_THRESHOLD]
    tiles = image_tiles(slices["median"])
    assert [tile.name for tile in tiles] == ["Baseline", "Follow-up", "Reference"]
    assert all((tile.pictures[0][0, 0] == 0).all() for tile in tiles)  # black outside the brain


@pytest.mark.parametrize(
    "towards",
    [("R", "A", "S"), ("L", "P", "S"), ("P", "S", "R"), ("I", "R", "A"), ("A", "L", "I")],
)
def test_slices_are_shown_as_radiologists_look_at_them(towards):
    """A mark at the patient's right, front and top lands at the left, top and last slice, in every orientation."""
    axis = {"R": 0, "L": 0, "A": 1, "P": 1, "S": 2, "I": 2}
    affine, size, place = np.eye(4), [5, 6, 7], []
    shape = [size[axis[letter]] for letter in towards]
    for column, letter in enumerate(towards):
        affine[:3, column] = 0
        affine[axis[letter], column] = (1 if letter in "RAS" else -1) * (2.0 + axis[letter])
        place.append(shape[column] - 1 if letter in "RAS" else 0)
    volume = np.zeros(shape, dtype=bool)
    volume[tuple(place)] = True
    shown = radiological(volume, affine)
    assert shown.shape == (7, 6, 5)
    assert shown[6, 0, 0]
    assert plane_spacing_mm(affine) == (3.0, 2.0)


def test_pictures_keep_the_proportions_of_the_head():
    mask = np.zeros((30, 20), dtype=bool)
    mask[5:25, 5:15] = True
    mask[0, 0] = True
    field = around(mask, (1.0, 3.0))
    assert (field.rows, field.columns) == (slice(3, 27), slice(3, 17))
    assert field.size_mm == (24.0, 42.0)
    near = close_up(mask, (1.0, 3.0), 12.0)
    assert near.size_mm == (12.0, 12.0)
    corner = close_up(np.eye(30, 20, dtype=bool) & (np.indices((30, 20)).sum(0) == 0), (1.0, 1.0), 8.0)
    assert (corner.rows, corner.columns) == (slice(0, 8), slice(0, 8))


def test_colours_show_true_positives_false_positives_and_false_negatives():
    reference, prediction = np.zeros((12, 12), dtype=bool), np.zeros((12, 12), dtype=bool)
    reference[:, :8] = True
    prediction[:, 4:] = True
    field = around(np.ones((12, 12), dtype=bool), (1.0, 1.0))
    picture = overlay(np.zeros((96, 96, 3), dtype=np.uint8), prediction, reference, field, 0.125)
    red, green, blue = (int(level) for level in picture[48, 48])
    assert green > 2 * red
    assert green > blue
    right = picture[:, 66:].reshape(-1, 3)
    assert (right[:, 0] > 150).mean() > 0.4
    assert picture[48, 1, 2] > 150
    assert fullest_slice(np.stack([prediction, reference & False, np.ones_like(reference)])) == 2

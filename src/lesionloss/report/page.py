"""From what was gathered to the text of the page. Numbers are made here, the template only places them."""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from markupsafe import Markup

from lesionloss.core.drawing import drawing_style, png_data
from lesionloss.core.files import write_text
from lesionloss.core.number_text import decimals_for, listed, plural
from lesionloss.core.palette import FALSE_POSITIVE, MISSED, REFERENCE, TRUE_POSITIVE
from lesionloss.core.version import __version__
from lesionloss.report.facts_of_run import in_short, what_was_run
from lesionloss.report.figure_files import Gallery
from lesionloss.report.gather import Gathered, gather
from lesionloss.report.history import SPLITS
from lesionloss.report.html_numbers import Shown, bounds, breakable, count, p_value, part_of, shown, tied
from lesionloss.report.json_record import as_json, record
from lesionloss.report.loss_styles import MARK_SHAPES, Style, styles
from lesionloss.report.main_table import column, rows
from lesionloss.report.more_charts import size_words
from lesionloss.report.panels import PANEL_INCHES
from lesionloss.report.pictures import Tile, case_in_pictures, pictures_figure
from lesionloss.report.sections import epoch_charts, save_detection, sections, small_charts
from lesionloss.report.tables import write_tables
from lesionloss.report.viewer_volumes import Volume
from lesionloss.report.wording import INTERVAL_METHOD, TEST_TITLES
from lesionloss.report.workers import Help
from lesionloss.runs.results import Results
from lesionloss.runs.values import facts
from lesionloss.statistics import Comparison, declared_test

FEW_PATIENTS = 6  # below, no test of signs can reach 5 %
SCRIPTS = ("page.js", "viewer.js")


@dataclass(frozen=True)
class PageTile:
    """A tile with its pictures as addresses."""

    name: str
    note: str
    whole: str
    close: str


def render(results: Results, volumes: str | int, formats: Sequence[str], help: Help) -> str:
    """Write tables, figures and report.json into the run folder, give the page. Raises DataError for a damaged run."""
    looks = styles(results)
    gathered = gather(results, volumes, help)
    write_tables(gathered, results.folder / "tables")
    write_text(results.folder / "report.json", as_json(record(gathered)))
    gallery = Gallery(results.folder / "figures", formats, help)
    with drawing_style():
        context = {
            "sections": sections(gathered, looks, gallery),
            "panels": small_charts(gathered, looks, gallery),
            "epochs": epoch_charts(gathered, looks, gallery),
            "pictures": _pictures(results, gallery),
        }
        save_detection(gathered, looks, gallery)
    page = _template(context | _context(gathered, looks))
    gallery.finish()
    return page


def _template(context: Mapping[str, object]) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("lesionloss.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"breakable": breakable, "tied": tied}
    script = "\n".join((files("lesionloss.report") / "templates" / name).read_text("utf-8") for name in SCRIPTS)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    return environment.get_template("report.html.j2").render(context, script=Markup(script), script_sha256=digest)


def _context(gathered: Gathered, looks: Mapping[str, Style]) -> dict[str, object]:
    results, comparisons = gathered.results, gathered.comparisons
    return {
        "name": str(results.plan.get("name", results.folder.name)),
        "question": str(results.plan.get("question", "")),
        "headline": gathered.headline,
        "notices": _notices(gathered),
        "warnings": _warnings(gathered),
        "baseline": comparisons[0].baseline if comparisons else "",
        "columns": [column(comparison) for comparison in comparisons],
        "rows": rows(gathered.metrics, looks),
        "few": _few(comparisons),
        "interval_method": INTERVAL_METHOD,
        "test": TEST_TITLES[declared_test(results)],
        "looks": looks,
        "shapes": MARK_SHAPES,
        "panel_size": [round(72 * inches, 2) for inches in PANEL_INCHES],
        "loss_colours": json.dumps({loss: look.colour for loss, look in looks.items()}),
        "titles": {metric.comparison.metric: metric.title for metric in gathered.metrics},
        "splits": [SPLITS.get(split, split) for split in dict.fromkeys(band.split for band in gathered.epoch_bands)],
        "sizes": _sizes(gathered),
        "cases": _cases(gathered),
        "several_classes": any(metric.classes for metric in gathered.metrics),
        "volumes": [_volume(volume) for volume in gathered.casework.volumes],
        "mosaics": gathered.casework.mosaics,
        "cards": gathered.cards,
        "differences_of": _differences_of(gathered),
        "empties": _empties(gathered, looks),
        "failed": results.failed,
        "missing": results.missing,
        "left_out": results.left_out,
        "problems": gathered.casework.problems,
        "only_first_seeds": gathered.casework.seeds_left_out,
        "short": in_short(results),
        "run": what_was_run(results),
        "plan": _plan_text(results),
        "methods": gathered.methods,
        "sources": gathered.sources,
        "colours": {"found": TRUE_POSITIVE, "false": FALSE_POSITIVE, "missed": MISSED, "reference": REFERENCE},
        "version": __version__,
    }


def _notices(gathered: Gathered) -> list[tuple[str, str, bool]]:
    """What can't be missed: a count, what it counts, and whether it is a reason to worry."""
    results, comparisons = gathered.results, gathered.comparisons
    ended, failed, missing = len(results.trials), len(results.failed), len(results.missing)
    counted = [(f"{ended} of {ended + failed + missing}", "trials ended well", False)]
    if failed:
        counted.append((str(failed), f"{'trial' if failed == 1 else 'trials'} failed", True))
    if missing:
        counted.append((str(missing), f"planned {'trial' if missing == 1 else 'trials'} did not run", True))
    if comparisons:
        summaries, empties = comparisons[0].summaries, comparisons[0].empty_references
        misses, predictions = sum(s.misses for s in summaries), sum(s.predictions for s in summaries)
        correct, without = sum(e.correct_empty for e in empties), sum(e.predictions for e in empties)
        counted.append((f"{misses} of {predictions}", "predictions empty where there are lesions", misses > 0))
        if without:
            alarms = f"{without - correct} of {without}"
            counted.append((alarms, "predictions with false alarms where there are no lesions", False))
    if results.left_out:
        many = len(results.left_out)
        counted.append((str(many), f"{'case' if many == 1 else 'cases'} left out", False))
    return counted


def _warnings(gathered: Gathered) -> list[tuple[str, str]]:
    unpaired = dict.fromkeys(warning for c in gathered.comparisons for warning in c.warnings)
    found = [("Not a pair.", f"{warning}.") for warning in unpaired]
    for loss in dict.fromkeys(each.loss for each in gathered.dead):
        mine = [each for each in gathered.dead if each.loss == loss]
        tensors, voxels = (max(getattr(d, what) for d in mine) for what in ("tensors", "lesion_voxels"))
        shares = {"parameter tensors": tensors, "lesion voxels": voxels}
        dead = [f"{100 * share:.0f} % of the {what}" for what, share in shares.items() if share > 0]
        found.append(
            (
                "Gradients that vanish.",
                f"{loss}: at the end of {plural(len(mine), 'training')} up to {listed(dead)} had no gradient.",
            )
        )
    return found


def _few(comparisons: Sequence[Comparison]) -> int | None:
    """The number of patients where it is too small for the intervals to be trusted."""
    most = max((s.patients_defined for c in comparisons[:1] for s in c.summaries), default=FEW_PATIENTS)
    return most if most < FEW_PATIENTS else None


def _sizes(gathered: Gathered) -> dict[str, object] | None:
    """Lesions found by size: headings, and for each loss share in %, found and all of each size that occurs."""
    used = [n for n in range(4) if any(sizes[n].lesions for _, sizes in gathered.detection)]
    if not used:
        return None
    table = []
    for place, (loss, sizes) in enumerate(gathered.detection):
        cells = []
        for n in used:
            text = part_of(sizes[n].found, sizes[n].lesions, f"detection.{place}.sizes.{n}", "found", "lesions")
            cells.append((100 * sizes[n].found / max(1, sizes[n].lesions), text))
        table.append((loss, cells))
    return {"heads": [size_words(gathered.detection[0][1][n]) for n in used], "rows": table}


def _cases(gathered: Gathered) -> list[dict[str, Any]]:
    embedded = {volume.facts["case"]: n for n, volume in enumerate(gathered.casework.volumes)}
    names = gathered.results.metrics
    decimals = [decimals_for(row.values[n] for row in gathered.cases) for n in range(len(names))]
    signed = [facts(name).signed for name in names]
    return [
        {
            "case": row.case,
            "volume": embedded.get(row.case),
            "mm3": (row.reference_mm3, shown(row.reference_mm3, f"cases.{place}.reference_mm3", 0)),
            "lesions": (row.lesions, count(row.lesions, f"cases.{place}.lesions")),
            "values": [
                (
                    "" if value is None else repr(abs(value) if distance else value),
                    shown(value, f"cases.{place}.values.{name}", digits),
                )
                for name, value, digits, distance in zip(names, row.values, decimals, signed, strict=True)
            ],
        }
        for place, row in enumerate(gathered.cases)
    ]


def _volume(volume: Volume) -> tuple[str, Markup]:
    """Title and JSON of a case; letters that could end a script are written as numbers."""
    text = json.dumps({"facts": volume.facts, "arrays": volume.arrays}, separators=(",", ":"), allow_nan=False)
    for letter in "<>&":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return str(volume.facts["case"]), Markup(text)


def _differences_of(gathered: Gathered) -> dict[str, list[tuple[str, Shown, Markup, Shown]]]:
    """For each loss's card: metric, mean difference, interval, test."""
    found: dict[str, list[tuple[str, Shown, Markup, Shown]]] = {}
    for place, metric in enumerate(gathered.metrics):
        decimals = decimals_for(d.mean for d in metric.comparison.differences)
        for index, d in enumerate(metric.comparison.differences):
            path = f"metrics.{place}.differences.{index}"
            mean = shown(d.mean, f"{path}.mean", decimals, sign=True)
            interval = bounds(d.interval, f"{path}.interval", decimals, sign=True)
            found.setdefault(d.loss, []).append((metric.title, mean, interval, p_value(d.p_holm, f"{path}.p_holm")))
    return found


def _pictures(results: Results, gallery: Gallery) -> dict[str, object] | None:
    """The median case in the primary metric, or in the first one where that was not scored."""
    if not results.metrics:
        return None
    made = case_in_pictures(results, results.metrics[0])
    if made is None:
        return None
    gallery.save(pictures_figure(made), "case")
    return {
        "case": made.case,
        "slice": made.slice_number,
        "flat": made.flat,
        "metric": facts(results.metrics[0]).title,
        "groups": [[_page_tile(tile) for tile in group] for group in (made.visits, made.losses)],
    }


def _page_tile(tile: Tile) -> PageTile:
    whole, close = ("" if pixels is None else png_data(pixels) for pixels in (tile.whole, tile.close))
    return PageTile(tile.name, tile.note, whole, close)


def _empties(gathered: Gathered, looks: Mapping[str, Style]) -> list[tuple[str, str, object, object, object]]:
    empties = gathered.comparisons[0].empty_references if gathered.metrics else ()
    decimals = decimals_for(gathered.false_mm3.values())
    return [
        (
            empty.loss,
            looks[empty.loss].colour,
            Shown(str(empty.cases), f"without_lesions.{n}.cases"),
            part_of(empty.correct_empty, empty.predictions, f"without_lesions.{n}", "correct_empty", "predictions"),
            shown(gathered.false_mm3[empty.loss], f"without_lesions.{n}.false_mm3", decimals),
        )
        for n, empty in enumerate(empties)
    ]


def _plan_text(results: Results) -> str:
    path = results.folder / "plan.toml"
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""

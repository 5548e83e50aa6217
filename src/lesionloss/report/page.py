"""The page, from the content of a report. `page_context` makes the numbers, the template places them."""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from markupsafe import Markup

from lesionloss.core.drawing import drawing_style, png_data
from lesionloss.core.files import write_text
from lesionloss.report.figure_files import FigureFolder
from lesionloss.report.json_record import as_json, json_record
from lesionloss.report.loss_panels import epoch_charts, epoch_panels, loss_panels, save_detection
from lesionloss.report.loss_styles import choose_styles
from lesionloss.report.metric_sections import metric_sections
from lesionloss.report.page_context import page_context
from lesionloss.report.pictures import PictureTile, case_in_pictures, pictures_figure
from lesionloss.report.report_content import ReportContent, collect_content
from lesionloss.report.tables import write_tables
from lesionloss.report.template_filling import fill_template
from lesionloss.report.workers import ReportWorkers
from lesionloss.runs.results import Results

SCRIPTS = ("page.js", "viewer.js")


@dataclass(frozen=True)
class PageTile:
    """A tile with its pictures as addresses."""

    name: str
    note: str
    whole: str
    close: str


def render(results: Results, folder: Path, volumes: str | int, formats: Sequence[str], workers: ReportWorkers) -> str:
    """Write tables, figures and report.json into a folder, and return the page.

    Raises:
        UsageError: `volumes` names no case.
        DataError: A file of the run is damaged.
    """
    by_loss = choose_styles(results)
    content = collect_content(results, volumes, workers)
    write_tables(content, folder / "tables")
    write_text(folder / "report.json", as_json(json_record(content)))
    figures = FigureFolder(folder / "figures", formats, workers)
    with drawing_style():
        drawn = {
            "sections": metric_sections(content, by_loss, figures),
            "panels": loss_panels(content, by_loss, figures),
            "epochs": epoch_panels(content, by_loss, figures),
            "epoch_charts": epoch_charts(content, by_loss, figures),
            "pictures": _pictures(content, figures),
        }
        save_detection(content, by_loss, figures)
    page = _template(drawn | page_context(content, by_loss))
    figures.finish()
    return page


def _template(context: dict[str, object]) -> str:
    script = "\n".join((files("lesionloss.report") / "templates" / name).read_text("utf-8") for name in SCRIPTS)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    return fill_template("report.html.j2", context | {"script": Markup(script), "script_sha256": digest})


def _pictures(content: ReportContent, figures: FigureFolder) -> dict[str, object] | None:
    """The median case in the first metric; None if there is no such case."""
    if not content.metrics:
        return None
    metric = content.metrics[0]
    made = case_in_pictures(content.results, metric.scores)
    if made is None:
        return None
    figures.save(pictures_figure(made), "case")
    return {
        "case": made.case,
        "slice": made.slice_number,
        "flat": made.flat,
        "metric": metric.title,
        "groups": [[_page_tile(tile) for tile in group] for group in (made.visits, made.losses)],
    }


def _page_tile(tile: PictureTile) -> PageTile:
    whole, close = ("" if pixels is None else png_data(pixels) for pixels in (tile.whole, tile.close))
    return PageTile(tile.name, tile.note, whole, close)

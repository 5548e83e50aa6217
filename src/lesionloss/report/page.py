"""The page, from the content of a report. `page_context` makes the numbers, the template places them."""

import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from markupsafe import Markup

from lesionloss.core.drawing import drawing_style
from lesionloss.core.files import write_text
from lesionloss.report.figure_files import FigureFolder
from lesionloss.report.first_screen import forest_plot
from lesionloss.report.json_record import as_json, json_record
from lesionloss.report.loss_panels import epoch_charts, epoch_panels, loss_panels, save_detection
from lesionloss.report.loss_styles import choose_styles
from lesionloss.report.metric_sections import metric_sections
from lesionloss.report.page_context import page_context
from lesionloss.report.picture_section import picture_section
from lesionloss.report.report_content import collect_content
from lesionloss.report.tables import write_tables
from lesionloss.report.template_filling import fill_template
from lesionloss.report.workers import ReportWorkers
from lesionloss.runs.results import Results

SCRIPTS = ("page.js", "viewer.js")


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
            "forest": forest_plot(content, by_loss, figures),
            "sections": metric_sections(content, by_loss, figures),
            "panels": loss_panels(content, by_loss, figures),
            "epochs": epoch_panels(content, by_loss, figures),
            "epoch_charts": epoch_charts(content, by_loss, figures),
            "pictures": picture_section(content, by_loss, figures),
        }
        save_detection(content, by_loss, figures)
    page = _template(drawn | page_context(content, by_loss))
    figures.finish()
    return page


def _template(context: dict[str, object]) -> str:
    script = "\n".join((files("lesionloss.report") / "templates" / name).read_text("utf-8") for name in SCRIPTS)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    return fill_template("report.html.j2", context | {"script": Markup(script), "script_sha256": digest})

"""One table over several runs, such as one for each data set: a page, report.json, CSV and LaTeX."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from lesionloss.core.files import write_text
from lesionloss.core.number_text import plural
from lesionloss.core.version import __version__
from lesionloss.report.facts_of_run import short_run_facts
from lesionloss.report.figure_tables import CsvRows, bound_values
from lesionloss.report.json_record import FORMAT, as_json, metric_record, plain_record
from lesionloss.report.latex_tables import joint_latex
from lesionloss.report.loss_styles import MARK_SHAPES, choose_styles
from lesionloss.report.main_table import LossRow, ScoreCell, column, loss_rows
from lesionloss.report.over_runs import over_runs_context, over_runs_table
from lesionloss.report.report_content import MetricResult, any_of, metric_results
from lesionloss.report.shown_intervals import CUT_WORDS
from lesionloss.report.tables import as_csv
from lesionloss.report.template_filling import fill_template
from lesionloss.report.wording import INTERVAL_METHOD
from lesionloss.runs.results import Results
from lesionloss.statistics.across_runs import AcrossRuns, across_runs

HEADER = (
    *("run", "loss", "metric", "unit", "mean", "low", "high", "patients_defined", "patients"),
    *("baseline", "verdict"),
)


@dataclass(frozen=True)
class JointRun:
    """One run of the table: its name there, its results, and all its metrics."""

    name: str
    results: Results
    metrics: tuple[MetricResult, ...]


def render_joint(runs: Sequence[Results], page: Path, files: Path) -> str:
    """Write tables and report.json into a folder, and return the page.

    Args:
        runs: Two runs or more.
        page: Where the page will lie, for its links to the reports of the runs.
        files: The folder.

    Raises:
        DataError: A file of a run is damaged.
    """
    names = [results.folder.name for results in runs]
    unique = len(set(names)) == len(names)
    joint = [
        JointRun(name if unique else str(results.folder), results, metric_results(results))
        for name, results in zip(names, runs, strict=True)
    ]
    write_text(files / "tables" / "runs.csv", as_csv(HEADER, _csv_rows(joint)))
    write_text(files / "tables" / "runs.tex", joint_latex([(run.name, run.metrics) for run in joint]))
    pooled = _over_runs(joint)
    write_text(files / "report.json", as_json(_record(joint, pooled)))
    write_text(files / "tables" / "over-runs.csv", as_csv(*over_runs_table(pooled)))
    columns = {name: column(metric) for name, metric in any_of(run.metrics for run in joint).items()}
    context = {
        "title": f"{plural(len(joint), 'run')} side by side",
        "columns": list(columns.values()),
        "over_runs": [over_runs_context(each, f"over_runs.{n}") for n, each in enumerate(pooled)],
        "runs": [_context(run, f"runs.{n}.metrics", list(columns), page) for n, run in enumerate(joint)],
        "shapes": MARK_SHAPES,
        "interval_method": f"{INTERVAL_METHOD} {CUT_WORDS}",
        "version": __version__,
    }
    return fill_template("joint.html.j2", context)


def _context(run: JointRun, path: str, columns: Sequence[str], page: Path) -> dict[str, Any]:
    own = run.results.folder / "report.html"
    patients = len({case.patient for case in run.results.cohort})
    facts = dict(short_run_facts(run.results))
    return {
        "name": run.name,
        "facts": ", ".join(filter(None, (facts.get("Data"), plural(patients, "patient"), facts.get("Network")))),
        "page": quote(os.path.relpath(own.resolve(), page.parent.resolve())) if own.is_file() else "",
        "styles": choose_styles(run.results),
        "rows": [(row, _cells(row, columns)) for row in loss_rows(run.metrics, choose_styles(run.results), path)],
    }


def _cells(row: LossRow, columns: Sequence[str]) -> list[ScoreCell | None]:
    known = {cell.metric: cell for cell in row.cells}
    return [known.get(metric) for metric in columns]


def _over_runs(joint: Sequence[JointRun]) -> list[AcrossRuns]:
    """What the runs show together, in each metric that all of them have."""
    found = []
    for name in any_of(run.metrics for run in joint):
        comparisons = [m.comparison for run in joint for m in run.metrics if m.comparison.metric == name]
        if len(comparisons) == len(joint) and (pooled := across_runs(comparisons)) is not None:
            found.append(pooled)
    return found


def _record(joint: Sequence[JointRun], pooled: Sequence[AcrossRuns]) -> dict[str, Any]:
    runs = [{"name": run.name, "metrics": [metric_record(metric) for metric in run.metrics]} for run in joint]
    return plain_record({"format": FORMAT, "lesionloss": __version__, "runs": runs, "over_runs": pooled})


def _csv_rows(joint: Sequence[JointRun]) -> CsvRows:
    rows: CsvRows = []
    for run in joint:
        for comparison in (metric.comparison for metric in run.metrics):
            verdicts = {d.loss: d.verdict for d in comparison.differences}
            rows += [
                (
                    *(run.name, s.loss, s.metric, s.unit, s.mean, *bound_values(s.interval)),
                    *(s.patients_defined, s.patients, comparison.baseline, verdicts.get(s.loss, "")),
                )
                for s in comparison.summaries
            ]
    return rows

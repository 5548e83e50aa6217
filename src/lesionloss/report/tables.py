"""The tables of the report: CSV in full precision, LaTeX (booktabs) in rounded numbers, methods as text."""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from lesionloss.core.files import write_text
from lesionloss.report.declared_order import confirmed
from lesionloss.report.figure_tables import CsvRows, CsvValue, bound_values, figure_tables
from lesionloss.report.latex_tables import (
    best_epochs_latex,
    classes_latex,
    differences_latex,
    summary_latex,
    variation_latex,
)
from lesionloss.report.report_content import MetricResult, ReportContent, in_declared_order
from lesionloss.report.wording import difference_sentence
from lesionloss.statistics import Comparison, PairedDifference

SUMMARY_HEADER = (
    *("loss", "metric", "unit", "mean", "low", "high", "median", "quartile_1", "quartile_3"),
    "coefficient_of_variation",
    *("patients_defined", "patients", "predictions_defined", "predictions", "empty_predictions"),
    *("penalised_mean", "penalised_low", "penalised_high", "failures", "failures_low", "failures_high"),
    *("seed_sd", "trials", "planned"),
)
DIFFERENCE_HEADER = (
    *("loss", "baseline", "metric", "unit", "loss_mean", "baseline_mean", "mean", "low", "high"),
    *("new_training_runs_low", "new_training_runs_high", "error", "freedom", "patients", "pairs", "undefined"),
    *("improved", "worsened", "p_patients", "p_new_training_runs", "p", "p_holm", "comparisons", "level", "margin"),
    *("chance_worse", "chance_equivalent", "chance_better", "decision", "paired_by"),
    *("verdict", "confirmed", "sentence"),
)
VALUE_HEADER = ("metric", "unit", "loss", "patient", "case", "fold", "seed", "value", "penalised", "status")

SETTING_HEADER = ("setting", "value", "default", "differs")


def write_tables(content: ReportContent, folder: Path) -> tuple[Path, ...]:
    """Write all tables and methods.txt, and return their paths. Tables without a row are not written.

    Summary, variation, differences, classes and best epochs are CSV and LaTeX, all other numbers of the page CSV only.
    """
    comparisons, ordered = content.comparisons, in_declared_order(content.results, content.metrics)
    texts = {
        "summary.csv": as_csv(SUMMARY_HEADER, summary_rows(comparisons)),
        "differences.csv": as_csv(DIFFERENCE_HEADER, difference_rows(comparisons, ordered)),
        "values.csv": as_csv(VALUE_HEADER, value_rows(content.metrics)),
        "summary.tex": summary_latex(content.metrics),
        "variation.tex": variation_latex(content.metrics),
        "differences.tex": differences_latex(content.metrics),
        "methods.txt": "\n\n".join([*content.methods, "Sources:\n" + "\n".join(content.sources)]) + "\n",
    }
    if content.settings:
        rows = [(each.name, each.value, each.default, "yes" if each.differs else "no") for each in content.settings]
        texts["settings.csv"] = as_csv(SETTING_HEADER, rows)
    if content.bibtex:
        texts["losses.bib"] = f"{content.bibtex}\n"
    texts |= {f"{name}.csv": as_csv(*table) for name, table in figure_tables(content).items() if table[1]}
    if any(metric.classes for metric in content.metrics):
        texts["classes.tex"] = classes_latex(content.metrics)
    if content.best_results:
        texts["best-epochs.tex"] = best_epochs_latex(content.best_results)
    for name, text in texts.items():
        write_text(folder / name, text)
    return tuple(folder / name for name in texts)


def as_csv(header: Sequence[str], rows: Iterable[Sequence[CsvValue]]) -> str:
    """Text of a CSV table; None is an empty cell."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return out.getvalue()


def summary_rows(comparisons: Sequence[Comparison]) -> CsvRows:
    """One row per metric and loss."""
    return [
        (
            *(s.loss, s.metric, s.unit, s.mean, *bound_values(s.interval), s.median, *bound_values(s.quartiles)),
            s.coefficient_of_variation,
            *(s.patients_defined, s.patients, s.predictions_defined, s.predictions, s.empty_predictions),
            *(s.penalised_mean, *bound_values(s.penalised_interval), s.failures, *bound_values(s.failure_interval)),
            *(s.seed_sd, s.trials, s.planned),
        )
        for comparison in comparisons
        for s in comparison.summaries
    ]


def difference_rows(comparisons: Sequence[Comparison], ordered: Sequence[Comparison] = ()) -> CsvRows:
    """One row per metric and loss that is not the baseline; `ordered` are the primary metrics, if there are several."""
    counted = confirmed(ordered)
    places = {comparison.metric: place for place, comparison in enumerate(ordered)}

    def counts(d: PairedDifference) -> str:
        """Whether a verdict counts in the declared order."""
        return "" if d.metric not in places else "yes" if len(counted[d.loss]) > places[d.metric] else "no"

    return [
        (
            *(d.loss, d.baseline, d.metric, comparison.unit, d.loss_mean, d.baseline_mean, d.mean),
            *(*bound_values(d.interval), *bound_values(d.interval_new_training_runs), d.error, d.freedom),
            *(d.patients, d.pairs, d.undefined, d.improved, d.worsened, d.p_patients, d.p_new_training_runs),
            *(d.p, d.p_holm, d.comparisons, d.level, d.margin, *_chances(d)),
            *(d.decision, d.pairing, d.verdict, counts(d), difference_sentence(d)),
        )
        for comparison in comparisons
        for d in comparison.differences
    ]


def _chances(d: PairedDifference) -> tuple[float | None, float | None, float | None]:
    c = d.chances
    return (None, None, None) if c is None else (c.worse, c.equivalent, c.better)


def value_rows(metrics: Sequence[MetricResult]) -> CsvRows:
    """One row per metric, case and trial."""
    return [
        (metric.scores.metric, *row)
        for metric in metrics
        for row in metric.scores.rows[list(VALUE_HEADER[1:])].itertuples(index=False)
    ]

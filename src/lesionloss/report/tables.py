"""The tables of the report as CSV (full precision) and LaTeX (booktabs, rounded)."""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from lesionloss.core.files import write_text
from lesionloss.core.number_text import decimals_for, interval, number, unit_text
from lesionloss.report.gather import Gathered, MetricResult
from lesionloss.report.more_tables import Cell, more_tables
from lesionloss.report.wording import TEST_TITLES, difference_sentence
from lesionloss.runs.results import Results
from lesionloss.runs.values import facts, headline_rows
from lesionloss.statistics import Comparison
from lesionloss.statistics.evidence import Interval

_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "−": "$-$",
    "³": r"\textsuperscript{3}",
    "²": r"\textsuperscript{2}",
    "–": "--",
    '"': r"\textquotedbl{}",
}

SUMMARY_HEADER = (
    *("loss", "metric", "unit", "mean", "low", "high", "median", "quartile_1", "quartile_3"),
    *("patients_defined", "patients", "predictions_defined", "predictions", "misses"),
    *("penalised_mean", "penalised_low", "penalised_high", "seed_sd", "trials", "planned"),
)
DIFFERENCE_HEADER = (
    *("loss", "baseline", "metric", "unit", "mean", "low", "high", "patients", "pairs", "undefined"),
    *("improved", "worsened", "p", "p_holm", "comparisons", "paired_by", "evidence", "sentence"),
)
VALUE_HEADER = ("metric", "unit", "loss", "patient", "case", "fold", "seed", "value", "penalised", "status")


def write_tables(gathered: Gathered, folder: Path) -> tuple[Path, ...]:
    """Write summary, differences and classes (CSV, LaTeX), all other numbers of the page as CSV, and the methods
    paragraph with its sources (text); gives their paths. Tables without a row are not written."""
    results, comparisons = gathered.results, gathered.comparisons
    texts = {
        "summary.csv": as_csv(SUMMARY_HEADER, summary_rows(comparisons)),
        "differences.csv": as_csv(DIFFERENCE_HEADER, difference_rows(comparisons)),
        "values.csv": as_csv(VALUE_HEADER, value_rows(results, comparisons)),
        "summary.tex": summary_latex(comparisons),
        "differences.tex": differences_latex(comparisons),
        "methods.txt": "\n\n".join([*gathered.methods, "Sources:\n" + "\n".join(gathered.sources)]) + "\n",
    }
    texts |= {f"{name}.csv": as_csv(*table) for name, table in more_tables(gathered).items() if table[1]}
    if any(metric.classes for metric in gathered.metrics):
        texts["classes.tex"] = classes_latex(gathered.metrics)
    for name, text in texts.items():
        write_text(folder / name, text)
    return tuple(folder / name for name in texts)


def as_csv(header: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    """Text of a CSV table; None is an empty cell."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return out.getvalue()


def summary_rows(comparisons: Sequence[Comparison]) -> list[tuple[Cell, ...]]:
    return [
        (
            *(s.loss, s.metric, s.unit, s.mean, *_bounds(s.interval), s.median, *_bounds(s.quartiles)),
            *(s.patients_defined, s.patients, s.predictions_defined, s.predictions, s.misses),
            *(s.penalised_mean, *_bounds(s.penalised_interval), s.seed_sd, s.trials, s.planned),
        )
        for comparison in comparisons
        for s in comparison.summaries
    ]


def difference_rows(comparisons: Sequence[Comparison]) -> list[tuple[Cell, ...]]:
    return [
        (
            *(
                d.loss,
                d.baseline,
                d.metric,
                comparison.unit,
                d.mean,
                *_bounds(d.interval),
                d.patients,
                d.pairs,
                d.undefined,
            ),
            *(d.improved, d.worsened, d.p, d.p_holm, d.comparisons, d.pairing, d.evidence, difference_sentence(d)),
        )
        for comparison in comparisons
        for d in comparison.differences
    ]


def value_rows(results: Results, comparisons: Sequence[Comparison]) -> list[tuple[Cell, ...]]:
    return [
        (comparison.metric, *row)
        for comparison in comparisons
        for row in headline_rows(results, comparison.metric)[list(VALUE_HEADER[1:])].itertuples(index=False)
    ]


def summary_latex(comparisons: Sequence[Comparison]) -> str:
    """Losses by metrics: mean, interval and n in each cell."""
    heads = [_latex(facts(c.metric).title + (f" [{unit_text(c.unit)}]" if c.unit else "")) for c in comparisons]
    lines = []
    for index, summary in enumerate(comparisons[0].summaries if comparisons else ()):
        cells = [_summary_cell(comparison, index) for comparison in comparisons]
        lines.append(" & ".join([rf"\texttt{{{_latex(summary.loss)}}}", *cells]))
    note = "Mean over patients, 95\\,\\% interval, $n$ defined of $N$ patients"
    return _table(note, "l" + "c" * len(heads), ["Loss", *heads], lines)


def differences_latex(comparisons: Sequence[Comparison]) -> str:
    """One row per metric and loss."""
    lines = []
    for comparison in comparisons:
        decimals = decimals_for(d.mean for d in comparison.differences)
        for d in comparison.differences:
            bounds = interval(d.interval, decimals, sign=True)
            cells = [
                _latex(facts(comparison.metric).title),
                rf"\texttt{{{_latex(d.loss)}}}",
                _latex(f"{number(d.mean, decimals, sign=True)} {bounds}"),
                str(d.patients),
                str(d.improved),
                _latex("<.001" if d.p_holm is not None and d.p_holm < 0.001 else number(d.p_holm)),
            ]
            lines.append(" & ".join(cells))
    baseline = _latex(comparisons[0].baseline) if comparisons else ""
    test = next((TEST_TITLES[d.test] for c in comparisons for d in c.differences), "test")
    note = (
        rf"Paired differences from \texttt{{{baseline}}}: mean over patients, 95\,\% interval; "
        f"two-sided {test}, Holm over losses"
    )
    return _table(note, "llcccc", ["Metric", "Loss", "Difference", "$n$", "Better in", "$p$"], lines)


def classes_latex(metrics: Sequence[MetricResult]) -> str:
    """Classes by losses, one block of rows per metric: mean and interval in each cell."""
    scored = [metric for metric in metrics if metric.classes]
    losses = [each.loss for each in scored[0].classes[0].losses]
    lines = []
    for metric in scored:
        decimals = decimals_for(each.mean for one in metric.classes for each in one.losses)
        for one in metric.classes:
            cells = [f"{number(each.mean, decimals)} {interval(each.interval, decimals)}" for each in one.losses]
            lines.append(" & ".join(map(_latex, [metric.title, one.name, *cells])))
    heads = [rf"\texttt{{{_latex(loss)}}}" for loss in losses]
    note = "Mean of each class over the patients that have it, 95\\,\\% interval"
    return _table(note, "ll" + "c" * len(losses), ["Metric", "Class", *heads], lines)


def _summary_cell(comparison: Comparison, index: int) -> str:
    summary = comparison.summaries[index]
    decimals = decimals_for(s.mean for s in comparison.summaries)
    n = f"({summary.patients_defined}/{summary.patients})"
    return _latex(f"{number(summary.mean, decimals)} {interval(summary.interval, decimals)} {n}")


def _table(caption: str, columns: str, header: Sequence[str], lines: Sequence[str]) -> str:
    body = "".join(f"    {line} \\\\\n" for line in lines)
    return (
        "% needs \\usepackage{booktabs} and \\usepackage[T1]{fontenc}\n"
        f"\\begin{{table}}\n  \\centering\n  \\caption{{{caption}.}}\n  \\begin{{tabular}}{{{columns}}}\n"
        f"    \\toprule\n    {' & '.join(header)} \\\\\n    \\midrule\n{body}    \\bottomrule\n"
        "  \\end{tabular}\n\\end{table}\n"
    )


def _latex(text: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in " ".join(text.split()))


def _bounds(bounds: Interval | None) -> tuple[float | None, float | None]:
    return (None, None) if bounds is None else (bounds.low, bounds.high)

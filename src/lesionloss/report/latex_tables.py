"""Tables of the report in LaTeX (booktabs), with rounded numbers."""

from collections.abc import Sequence

from lesionloss.core.number_text import decimals_for, interval, number, unit_text
from lesionloss.report.report_content import MetricResult
from lesionloss.report.wording import TEST_TITLES
from lesionloss.statistics import Comparison

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


def summary_latex(metrics: Sequence[MetricResult]) -> str:
    """Losses by metrics: mean, interval and n in each cell."""
    units = [unit_text(metric.comparison.unit) for metric in metrics]
    heads = [_latex(metric.title + (f" [{unit}]" if unit else "")) for metric, unit in zip(metrics, units, strict=True)]
    lines = []
    for index, summary in enumerate(metrics[0].comparison.summaries if metrics else ()):
        cells = [_summary_cell(metric.comparison, index) for metric in metrics]
        lines.append(" & ".join([rf"\texttt{{{_latex(summary.loss)}}}", *cells]))
    note = "Mean over patients, 95\\,\\% interval, $n$ defined of $N$ patients"
    return _table(note, "l" + "c" * len(heads), ["Loss", *heads], lines)


def differences_latex(metrics: Sequence[MetricResult]) -> str:
    """One row per metric and loss."""
    lines = []
    for metric in metrics:
        decimals = decimals_for(d.mean for d in metric.comparison.differences)
        for d in metric.comparison.differences:
            bounds = interval(d.interval_new_training_runs or d.interval, decimals, sign=True)
            cells = [
                _latex(metric.title),
                rf"\texttt{{{_latex(d.loss)}}}",
                _latex(f"{number(d.mean, decimals, sign=True)} {bounds}"),
                str(d.patients),
                str(d.improved),
                _latex("–" if d.unanswered else "<.001" if (d.p_holm or 0.0) < 0.001 else number(d.p_holm)),
                _latex(d.verdict),
            ]
            lines.append(" & ".join(cells))
    baseline = _latex(metrics[0].comparison.baseline) if metrics else ""
    test = TEST_TITLES[metrics[0].scores.test] if metrics else "test"
    note = (
        rf"Paired differences from \texttt{{{baseline}}}: mean over patients, simultaneous 95\,\% interval for new "
        rf"training runs (where it is unknown: for these networks); $p$: the larger one of the two-sided {test} over "
        "patients and of $t$ over folds, Holm over all planned losses"
    )
    return _table(note, "llccccl", ["Metric", "Loss", "Difference", "$n$", "Better in", "$p$", "Verdict"], lines)


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

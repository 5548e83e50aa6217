"""Tables of the report in LaTeX (booktabs), with rounded numbers."""

from collections.abc import Sequence

from lesionloss.core.number_text import NOTHING, decimals_for, interval, number
from lesionloss.report.class_means import mean_over_classes, weights_in_words
from lesionloss.report.history import SHORT_SPLITS
from lesionloss.report.report_content import MetricResult, any_of
from lesionloss.report.training_runs import BestResult
from lesionloss.report.wording import TEST_TITLES
from lesionloss.runs.metric_facts import metric_facts
from lesionloss.statistics import Comparison

_BEST_KEYS = ("loss", "metric", "split")
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
    heads = [_latex(metric.axis_title) for metric in metrics]
    lines = []
    for index, summary in enumerate(metrics[0].comparison.summaries if metrics else ()):
        cells = [_summary_cell(metric.comparison, index) for metric in metrics]
        lines.append(_row(_loss(summary.loss), *cells))
    note = "Mean over patients, 95\\,\\% interval, $n$ defined of $N$ patients"
    return _table(note, "l" + "c" * len(heads), [_row("Loss", *heads)], lines)


def differences_latex(metrics: Sequence[MetricResult]) -> str:
    """One row per metric and loss."""
    lines = []
    for metric in metrics:
        decimals = decimals_for(d.mean for d in metric.comparison.differences)
        for d in metric.comparison.differences:
            bounds = interval(d.interval_new_training_runs or d.interval, decimals, sign=True)
            cells = [
                _latex(metric.title),
                _loss(d.loss),
                _latex(f"{number(d.mean, decimals, sign=True)} {bounds}"),
                str(d.patients),
                str(d.improved),
                _latex("–" if d.unanswered else "<.001" if (d.p_holm or 0.0) < 0.001 else number(d.p_holm)),
                _latex(d.verdict),
            ]
            lines.append(_row(*cells))
    baseline = _loss(metrics[0].comparison.baseline) if metrics else ""
    test = TEST_TITLES[metrics[0].scores.test] if metrics else "test"
    note = (
        rf"Paired differences from {baseline}: mean over patients, simultaneous 95\,\% interval for new "
        rf"training runs (where it is unknown: for these networks); $p$: the larger one of the two-sided {test} over "
        "patients and of $t$ over folds, corrected over all planned losses"
    )
    heads = ["Metric", "Loss", "Difference", "$n$", "Better in", "$p$", "Verdict"]
    return _table(note, "llccccl", [_row(*heads)], lines)


def joint_latex(runs: Sequence[tuple[str, Sequence[MetricResult]]]) -> str:
    """Runs and losses by metrics: mean and interval in each cell; a dash where a run lacks a metric."""
    columns = any_of(metrics for _, metrics in runs)
    lines: list[str] = []
    for name, metrics in runs:
        lines += [r"\midrule"] if lines else []
        known = {metric.comparison.metric: metric.comparison for metric in metrics}
        for index, summary in enumerate(metrics[0].comparison.summaries if metrics else ()):
            cells = [_summary_cell(known[each], index) if each in known else _latex(NOTHING) for each in columns]
            lines.append(_row(_latex(name) if index == 0 else "", _loss(summary.loss), *cells))
    heads = [_latex(metric.axis_title) for metric in columns.values()]
    note = "Mean over patients, 95\\,\\% interval, $n$ defined of $N$ patients; runs are not compared with each other"
    return _table(note, "ll" + "c" * len(heads), [_row("Run", "Loss", *heads)], lines)


def variation_latex(metrics: Sequence[MetricResult]) -> str:
    """Losses by metrics: the coefficient of variation over patients."""
    lines = []
    for index, summary in enumerate(metrics[0].comparison.summaries if metrics else ()):
        values = [metric.comparison.summaries[index].coefficient_of_variation for metric in metrics]
        lines.append(_row(_loss(summary.loss), *(number(value, 4) for value in values)))
    note = "Coefficient of variation: standard deviation over patients, divided by the mean"
    return _table(note, "l" + "c" * len(metrics), [_row("Loss", *(_latex(metric.title) for metric in metrics))], lines)


def classes_latex(metrics: Sequence[MetricResult]) -> str:
    """For each metric a table of losses by classes, with the mean over the classes in front.

    The first table also has the means over classes of the other metrics, as tables of multi-organ papers have.
    """
    scored = [metric for metric in metrics if metric.classes]
    return "\n".join(_classes_of(metric, scored[1:] if metric is scored[0] else ()) for metric in scored)


def _classes_of(metric: MetricResult, others: Sequence[MetricResult]) -> str:
    decimals = decimals_for(each.mean for one in metric.classes for each in one.losses)
    lines = []
    for index, first in enumerate(metric.classes[0].losses):
        means = [_mean_text(each, first.loss) for each in (metric, *others)]
        losses = [one.losses[index] for one in metric.classes]
        cells = [_latex(f"{number(each.mean, decimals)} {interval(each.interval, decimals)}") for each in losses]
        lines.append(_row(_loss(first.loss), *map(_latex, means), *cells))
    heads = [f"Mean {each.title}" for each in (metric, *others)] + [one.name for one in metric.classes]
    weights = weights_in_words(metric.classes)
    note = (
        f"{_latex(metric.title)} of each class over the patients that have it, 95\\,\\% interval; "
        "means are over the classes" + (f", with the weights {_latex(weights)}" if weights else "")
    )
    return _table(note, "l" + "c" * len(heads), [_row("Loss", *map(_latex, heads))], lines)


def _mean_text(metric: MetricResult, loss: str) -> str:
    decimals = decimals_for(each.mean for one in metric.classes for each in one.losses)
    return number(mean_over_classes(metric.classes, loss), decimals)


def best_epochs_latex(found: Sequence[BestResult]) -> str:
    """Losses by metrics and splits: best epoch and seed of each fold, then the last epoch of all seeds."""
    losses, metrics, splits = (list(dict.fromkeys(getattr(x, name) for x in found)) for name in _BEST_KEYS)
    width, columns = len(splits), len(splits) * len(metrics)
    spans = [rf"\multicolumn{{{width}}}{{c}}{{{_latex(metric_facts(metric).title)}}}" for metric in metrics]
    rules = [rf"\cmidrule(lr){{{2 + width * n}-{1 + width * (n + 1)}}}" for n in range(len(metrics))]
    names = [_latex(SHORT_SPLITS.get(split, split)) for split in splits]
    head = [_row("", *spans), " ".join(rules), _row("Loss", *names * len(metrics))]
    lines: list[str] = []
    for words, which in (("Best epoch and seed of each fold (optimistic)", "best"), ("Last epoch, all seeds", "last")):
        lines += [r"\midrule"] if lines else []
        lines.append(rf"\multicolumn{{{1 + columns}}}{{l}}{{\emph{{{words}}}}} \\")
        texts = _best_texts(found, which)
        wanted = [(metric, split) for metric in metrics for split in splits]
        lines += [
            _row(_loss(loss), *(texts.get((loss, *place), _latex(NOTHING)) for place in wanted)) for loss in losses
        ]
    note = (
        "Means over folds. Above, the best epoch and seed of each fold are chosen on the scores that are printed, each "
        "column for itself: they are optimistic. Below, the last epoch: means over folds and seeds"
    )
    return _table(note, "l" + "c" * columns, head, lines)


def _best_texts(found: Sequence[BestResult], which: str) -> dict[tuple[str, str, str], str]:
    of_metric = {
        each.metric: [x for one in found if one.metric == each.metric for x in (one.best, one.last)] for each in found
    }
    decimals = {metric: decimals_for(values) for metric, values in of_metric.items()}
    return {
        (each.loss, each.metric, each.split): _latex(number(getattr(each, which), decimals[each.metric]))
        for each in found
    }


def _summary_cell(comparison: Comparison, index: int) -> str:
    summary = comparison.summaries[index]
    decimals = decimals_for(s.mean for s in comparison.summaries)
    n = f"({summary.patients_defined}/{summary.patients})"
    return _latex(f"{number(summary.mean, decimals)} {interval(summary.interval, decimals)} {n}")


def _row(*cells: str) -> str:
    return " & ".join(cells) + r" \\"


def _loss(name: str) -> str:
    return rf"\texttt{{{_latex(name)}}}"


def _table(caption: str, columns: str, head: Sequence[str], lines: Sequence[str]) -> str:
    """A table of rows that end with two backslashes; rules may stand between them."""
    return (
        "% needs \\usepackage{booktabs} and \\usepackage[T1]{fontenc}\n"
        f"\\begin{{table}}\n  \\centering\n  \\caption{{{caption}.}}\n  \\begin{{tabular}}{{{columns}}}\n"
        f"    \\toprule\n{_indented(head)}    \\midrule\n{_indented(lines)}    \\bottomrule\n"
        "  \\end{tabular}\n\\end{table}\n"
    )


def _indented(lines: Sequence[str]) -> str:
    return "".join(f"    {line}\n" for line in lines)


def _latex(text: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in " ".join(text.split()))

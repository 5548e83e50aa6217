"""The output of `lesionloss compare`: the answer, a table of losses, a table of differences, and warnings."""

import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lesionloss.cli.terminal import plain_console
from lesionloss.core.number_text import decimals_for, interval, number, percent, plural, probability, unit_text
from lesionloss.report.answer import answer
from lesionloss.report.collected_words import collected_notes
from lesionloss.report.declared_order import order_sentence
from lesionloss.report.noise_wording import noise_floor_sentence
from lesionloss.report.sensitivity import sensitivity_sentence
from lesionloss.report.shown_intervals import CUT_WORDS, within_limits
from lesionloss.report.wording import TEST_TITLES, components_sentence, difference_sentence
from lesionloss.runs.metric_facts import metric_facts
from lesionloss.runs.results import shared_patients_warning
from lesionloss.statistics.comparison import compare, with_baseline
from lesionloss.statistics.evidence import ALPHA
from lesionloss.statistics.noise_floor import measure_noise_floor

if TYPE_CHECKING:
    from lesionloss.runs.results import Results
    from lesionloss.statistics import Comparison, LossSummary, PairedDifference

NARROW, MIDDLE, WIDE = 78, 104, 122  # columns of a terminal that fit more columns of the tables, and all of them
COLUMN = 10  # width of one more
PIPED = 150
PAIRS = {"training run": "training runs", "patient": "patients"}
STYLES = {"better": "bold green", "worse": "bold red", "equivalent": "bold"}


def print_comparison(results: "Results", comparison: "Comparison", *, unpaired: bool) -> None:
    """Print the answer first, then the tables, then warnings and failed trials."""
    raw, comparison = comparison, within_limits(comparison, metric_facts(comparison.metric))
    console = wide_console()
    console.print()
    for sentence in answer(comparison, primary=comparison.metric == results.primary_metric):
        if sentence:
            console.print(Text(sentence, style="bold"))
    scores = with_baseline(results.metric_scores(comparison.metric), comparison.baseline)
    ordered = results.ordered_metrics if comparison.metric in results.ordered_metrics else ()
    declared = [compare(results, metric, comparison.baseline, interim=comparison.level < ALPHA) for metric in ordered]
    if sentence := order_sentence(declared):
        console.print(Text(sentence))
    if robust := sensitivity_sentence(scores, level=comparison.level):
        console.print(Text(robust))
    if noise := noise_floor_sentence(measure_noise_floor(results, comparison.metric)):
        console.print(Text(noise))
    console.print()
    noun = str(results.collected.get("compares", "loss"))
    _losses(comparison, console.width, noun).print(console)
    if comparison.differences:
        _differences(comparison, console.width, noun, unpaired=unpaired).print(console)
    if comparison != raw:
        console.print(Text(CUT_WORDS, style="dim"))
    for difference in in_order(comparison):
        if difference.decided or difference.networks_differ:
            console.print(Text(f"{difference.loss}: {difference_sentence(difference)}"))
    if sources := components_sentence(comparison.components):
        console.print(Text(sources))
    for line in _warnings(results, comparison):
        console.print(Text(line, style="bold yellow"))


def wide_console() -> Console:
    """A console as wide as the terminal; in a file or pipe, wide enough for all columns."""
    known = sys.stdout.isatty() or "COLUMNS" in os.environ
    return plain_console(width=None if known else PIPED)


class Columns:
    """A table that is built column by column; a column with the same text in every row becomes a remark.

    A column that needs more than `width` is left out, with a remark.
    """

    def __init__(self, title: str, losses: Sequence[Text], width: int, noun: str) -> None:
        """A table with the losses as its first column, headed by `noun`."""
        self.table = Table(title=Text(title), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
        self.table.add_column(noun, overflow="fold", min_width=15)
        self.cells: list[list[Text]] = [[loss] for loss in losses]
        self.width = width
        self.remarks: list[str] = []
        self.left_out: list[str] = []

    def add(
        self, heading: str, texts: Sequence[str], style: Callable[[str], str] = lambda text: "", *, needs: int = 0
    ) -> None:
        """Add a column of short texts, for terminals of at least `needs` columns."""
        if self.width < needs:
            self.left_out.append(heading.replace("\n", " "))
            return
        self.table.add_column(heading, justify="right", no_wrap=True)
        for row, text in zip(self.cells, texts, strict=True):
            row.append(Text(text, style=style(text)))

    def add_varying(self, heading: str, texts: Sequence[str], remark: str) -> None:
        """Add a column; if all its texts are equal, a remark below the table with the text in place of {}."""
        if len(set(texts)) > 1:
            self.add(heading, texts)
        else:
            self.remarks.append(remark.format(texts[0]))

    def print(self, console: Console) -> None:
        """Print the table and its remarks."""
        for row in self.cells:
            self.table.add_row(*row)
        console.print(self.table)
        left_out = [f"in a wider terminal or with --json: {', '.join(self.left_out)}"] if self.left_out else []
        for line in ("; ".join(self.remarks), *left_out):
            if line:
                console.print(Text(f" {line}", style="dim"))
        console.print()


def _losses(comparison: "Comparison", width: int, noun: str) -> Columns:
    rows = sorted(comparison.summaries, key=lambda row: _place(comparison, row.loss))
    decimals = decimals_for(row.mean for row in rows)
    unit = f" in {unit_text(comparison.unit)}" if comparison.unit else ""
    direction = "lower" if comparison.lower_is_better else "higher"
    columns = Columns(
        f"{metric_facts(comparison.metric).title}{unit} ({direction} is better), all patients of a loss",
        [_name(row.loss, comparison.baseline) for row in rows],
        width,
        noun,
    )
    quartiles = [interval(row.quartiles, decimals).strip("[]").replace(", ", " to ") for row in rows]
    columns.add("mean", [number(row.mean, decimals) for row in rows])
    columns.add("95 % interval", [interval(row.interval, decimals) for row in rows])
    columns.add("median", [number(row.median, decimals) for row in rows], needs=MIDDLE)
    columns.add("quartiles", quartiles, needs=WIDE)
    patients = [f"{row.patients_defined} of {row.patients}" for row in rows]
    empty = [f"{row.empty_predictions} of {row.predictions}" for row in rows]
    trials = [f"{row.trials} of {row.planned}" for row in rows]
    penalised = any(row.penalised_mean != row.mean for row in rows)
    more = penalised + sum(len(set(texts)) > 1 for texts in (patients, empty, trials))
    columns.add("CV", [number(row.coefficient_of_variation) for row in rows], needs=NARROW + more * COLUMN)
    columns.add("seed\nsd", [number(row.seed_sd, decimals) for row in rows])
    if penalised:
        columns.add("penalised\nmean", [number(row.penalised_mean, decimals) for row in rows])
    _add_ranks(columns, comparison, rows)
    columns.add_varying("patients", patients, "{} patients")
    columns.add_varying("empty", empty, "{} predictions are empty in cases with lesions")
    if len(set(empty)) > 1:
        columns.remarks.append("empty: empty predictions in cases with lesions")
    columns.add_varying("trials", trials, "{} trials of each loss")
    if "CV" not in columns.left_out:
        columns.remarks.append("CV: standard deviation over patients / mean")
    return columns


def _add_ranks(columns: Columns, comparison: "Comparison", rows: "Sequence[LossSummary]") -> None:
    """Add the rank and the ranks that the data leave possible."""
    if not comparison.ranks:
        return
    ranks = {rank.loss: rank for rank in comparison.ranks}
    found = [ranks.get(row.loss) for row in rows]
    columns.add("rank", [f"{rank.rank} ({rank.low}–{rank.high})" if rank else "–" for rank in found])
    columns.remarks.append("rank (in brackets: those that the data leave possible, 95 % for all losses at once)")
    if comparison.seed_variability:
        wins = dict(comparison.seed_variability.winners)
        columns.add("first with\none seed in", [percent(wins.get(row.loss)) for row in rows], needs=MIDDLE)


def _differences(comparison: "Comparison", width: int, noun: str, *, unpaired: bool) -> Columns:
    rows = in_order(comparison)
    decimals = decimals_for(row.mean for row in rows)
    tests = f"{TEST_TITLES[rows[0].test]} and t over folds, {rows[0].correction}"
    columns = Columns(
        f"Paired difference from {comparison.baseline} (p: {tests})",
        [Text(row.loss) for row in rows],
        width,
        noun,
    )
    new_runs = [interval(row.interval_new_training_runs, decimals, sign=True) or "unknown" for row in rows]
    columns.add("mean", [number(row.mean, decimals, sign=True) for row in rows])
    columns.add("95 %, these\nnetworks", [interval(row.interval, decimals, sign=True) for row in rows], needs=MIDDLE)
    columns.add("95 %, new\ntraining runs", new_runs)
    columns.add("better in", [f"{row.improved} of {row.patients}" for row in rows], needs=MIDDLE)
    columns.add("effect\nr", [number(row.rank_biserial, 2, sign=True) for row in rows], needs=WIDE)
    columns.add("p", [_p(row) for row in rows])
    if unpaired:
        columns.add("p, unpaired\nrank-sum", [probability(row.p_rank_sum) for row in rows])
    columns.add("verdict", [row.verdict for row in rows], lambda text: STYLES.get(text, "dim"))
    if any(row.chances for row in rows):
        columns.add("chance of worse /\nequivalent / better", [_chances(row) for row in rows], needs=WIDE)
    columns.remarks.append("intervals: simultaneous for all losses")
    pairs = [PAIRS.get(row.pairing, row.pairing) for row in rows]
    proof = " (equal weights and batches)" if set(pairs) == {"training runs"} else ""
    columns.add_varying("pairs of", pairs, "pairs of {}" + proof)
    return columns


def _p(row: "PairedDifference") -> str:
    return "–" if row.unanswered else probability(row.p_holm).removeprefix("p = ").removeprefix("p ")


def _chances(row: "PairedDifference") -> str:
    c = row.chances
    return "–" if c is None else " / ".join(number(chance, 2) for chance in (c.worse, c.equivalent, c.better))


def in_order(comparison: "Comparison") -> "list[PairedDifference]":
    """The differences in the order of the ranks."""
    return sorted(comparison.differences, key=lambda row: _place(comparison, row.loss))


def _place(comparison: "Comparison", loss: str) -> int:
    return next((rank.rank for rank in comparison.ranks if rank.loss == loss), len(comparison.ranks) + 1)


def _name(loss: str, baseline: str) -> Text:
    return Text(loss + (" (baseline)" if loss == baseline else ""), style="bold" if loss == baseline else "")


def _warnings(results: "Results", comparison: "Comparison") -> list[str]:
    shared = shared_patients_warning(results.shared_patients)
    lines = [f"{title} {text}" for title, text in collected_notes(results)]
    lines += [f"Warning: {warning}." for warning in (*([shared] if shared else []), *comparison.warnings)]
    if comparison.empty_references:
        counts = [f"{empty.loss} {empty.correct_empty} of {empty.predictions}" for empty in comparison.empty_references]
        cases = plural(max(empty.cases for empty in comparison.empty_references), "case")
        lines.append(f"{cases} without lesions: correctly empty predictions: {'; '.join(counts)}")
    lines += [f"FAILED: {trial.loss}, fold {trial.fold}, seed {trial.seed}: {trial.reason}" for trial in results.failed]
    if results.missing:
        names = sorted({trial.loss for trial in results.missing})
        lines.append(
            f"MISSING: {plural(len(results.missing), 'trial')} of the plan did not run yet ({', '.join(names)})"
        )
    return lines

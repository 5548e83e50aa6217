"""`lesionloss evaluate`: score predictions against references, for each case and over all."""

import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lesionloss.cli import panels
from lesionloss.cli.commands import command
from lesionloss.cli.evaluate_options import check_out, check_together, request_of, threshold_in
from lesionloss.cli.terminal import note, say

if TYPE_CHECKING:
    from lesionloss.metrics.evaluation import EvaluationRequest
    from lesionloss.metrics.file_matching import MatchedFiles
    from lesionloss.metrics.thresholds import CurvePoint

EVALUATE_HELP = """Score predictions against references: each case to CSV, means over all cases on the screen.

PREDICTIONS and REFERENCES are two NIfTI files, or two folders whose files have the same names. In place of \
REFERENCES, --references names a dataset (lesionloss layouts); predictions are then CASE.nii.gz, or the folder that \
lesionloss predict --cohort wrote. \
Predictions are masks or, with --threshold, probability maps, in which lesion is where the probability is at least \
the threshold; with --probabilities, the threshold is applied to the maps there. All files of a case must lie on one \
grid. The list of metrics: lesionloss metrics.

Means are over the cases in which a metric is defined, with their number. "penalised": a case with lesions in which \
nothing is predicted gets the worst value, the diagonal of the image for distances, 0 for scores.
"""
EVALUATE_EXAMPLES = """
lesionloss evaluate predictions/ references/ --out scores.csv
lesionloss evaluate predictions/ references/ --probabilities maps/ --brain brains/ --lesions
lesionloss evaluate labels/ references/ --classes 1,2,3 --class-weights 1,1,2
lesionloss evaluate p.nii.gz r.nii.gz --metrics "dice,hd95,nsd(tolerance_mm=2)"
lesionloss evaluate maps/ references/ --thresholds 0.05:0.95:0.05 --want-recall 0.8 --out validation.csv
lesionloss evaluate test-maps/ test-references/ --threshold-from validation.json
lesionloss evaluate predicted/ --references lit:DATA/lit --target positive_change
"""


@command(
    panel=panels.RESULTS,
    help=EVALUATE_HELP,
    examples=EVALUATE_EXAMPLES,
    options={
        panels.DATA: "dataset target probabilities brain ignore matched_only",
        panels.SCORES: "metrics classes class_weights lesions",
        panels.DECISION: "threshold threshold_from thresholds want_recall want_precision",
        panels.OUTPUT: "out as_json force",
        panels.MACHINE: "jobs",
    },
)
def evaluate(
    predictions: Annotated[Path, typer.Argument(metavar="PREDICTIONS", help="A NIfTI file or a folder of them.")],
    references: Annotated[
        Path | None, typer.Argument(metavar="REFERENCES", help="The same for the reference masks.")
    ] = None,
    dataset: Annotated[
        str, typer.Option("--references", metavar="[LAYOUT:]PATH", help="A dataset's folder has the references.")
    ] = "",
    target: Annotated[
        str,
        typer.Option("--target", metavar="NAME", help="With --references: which of its targets; default: its first."),
    ] = "",
    probabilities: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Probability maps beside masks, for the metrics of calibration.")
    ] = None,
    brain: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Brain masks, a file or a folder, for calibration in the brain.")
    ] = None,
    ignore: Annotated[Path | None, typer.Option(metavar="DIR", help="Masks of voxels that are ignored.")] = None,
    metrics: Annotated[
        str, typer.Option("--metrics", "-m", metavar="LIST", help="Names, separated by commas; default: all.")
    ] = "",
    classes: Annotated[str, typer.Option(metavar="LIST", help="Labels of label maps, such as 1,2.")] = "",
    class_weights: Annotated[
        str, typer.Option(metavar="LIST", help="With --classes: the weight of each in the mean, such as 2,1.")
    ] = "",
    threshold: Annotated[
        float | None, typer.Option(min=0, max=1, help="Predictions are maps; lesion is where p >= this.")
    ] = None,
    threshold_from: Annotated[
        Path | None, typer.Option(metavar="FILE.json", help="The threshold that --thresholds chose on another set.")
    ] = None,
    thresholds: Annotated[
        str, typer.Option(metavar="FROM:TO:STEP", help="Recall, precision and Dice over thresholds instead of metrics.")
    ] = "",
    want_recall: Annotated[
        float | None, typer.Option(help="With --thresholds: choose the highest that reaches this mean recall.")
    ] = None,
    want_precision: Annotated[
        float | None, typer.Option(help="With --thresholds: choose the lowest that reaches this mean precision.")
    ] = None,
    lesions: Annotated[bool, typer.Option("--lesions", help="Rows for each lesion, and detection by size.")] = False,
    matched_only: Annotated[
        bool, typer.Option("--matched-only", help="Leave out files without a partner instead of stopping.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.csv", help="The long table; a summary goes to FILE.json.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON instead of a table.")] = False,
    jobs: Annotated[int, typer.Option(min=0, help="Processes; 0: one for each core.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Overwrite FILE.csv and FILE.json.")] = False,
) -> None:
    """Score predictions against references."""
    from lesionloss.cli.evaluate_dataset import check_references, match_dataset
    from lesionloss.metrics.file_matching import match_files, require_all

    check_references(references, dataset, target)
    check_together(
        {
            "--threshold": threshold,
            "--threshold-from": threshold_from,
            "--thresholds": thresholds,
            "--want-recall": want_recall,
            "--want-precision": want_precision,
            "--classes": classes,
            "--class-weights": class_weights,
            "--metrics": metrics,
            "--lesions": lesions,
            "--brain": brain,
            "--probabilities": probabilities,
        }
    )
    check_out(out, force)
    given = {"probabilities": probabilities, "brain": brain, "ignore": ignore}
    beside = {kind: path for kind, path in given.items() if path is not None}
    level = threshold_in(threshold_from) if threshold_from else threshold
    with tempfile.TemporaryDirectory() as folder:
        if references is None:
            maps = level is not None or bool(thresholds)
            matched = match_dataset(predictions, dataset, target, beside, Path(folder), maps=maps)
        else:
            matched = match_files(predictions, references, beside)
        if not matched_only:
            require_all(matched)
        if thresholds:
            _sweep(matched, thresholds, want_recall, want_precision, out, as_json, jobs)
            return
        _score(matched, request_of(metrics, classes, level, lesions, matched, class_weights), out, as_json, jobs)


def _workers(jobs: int) -> int:
    return jobs or os.cpu_count() or 1


def _progress(noun: str, total: int) -> Callable[[Iterable[Any]], Iterable[Any]]:
    """A bar on a terminal's stderr."""
    from lesionloss.cli.progress import progress_bar

    def shown(cases: Iterable[Any]) -> Iterable[Any]:
        with progress_bar() as bar:
            task = bar.add_task(noun, total=total, detail="")
            for case in cases:
                yield case
                bar.advance(task)

    return shown


def _write(out: Path | None, table: str, summary: str) -> None:
    from lesionloss.core.files import atomic_files, write_text

    if out is not None:
        with atomic_files(out.parent, last=out.name) as folder:
            write_text(folder / out.with_suffix(".json").name, summary)
            write_text(folder / out.name, table)
        note(f"{out} and {out.with_suffix('.json')} written")


def _score(matched: "MatchedFiles", request: "EvaluationRequest", out: Path | None, as_json: bool, jobs: int) -> None:
    from lesionloss.cli.evaluate_tables import show_scores
    from lesionloss.metrics.averages import count_cases
    from lesionloss.metrics.evaluation import evaluate_case, slow_modules, summaries
    from lesionloss.metrics.export import Evaluation, rows_csv, summary_json
    from lesionloss.metrics.lesion_table import detection_by_size
    from lesionloss.metrics.parallel_cases import for_each_case

    progress = _progress("scoring", len(matched.cases))
    slow, workers = slow_modules(request), _workers(jobs)
    results = for_each_case(evaluate_case, matched.cases, request, jobs=workers, progress=progress, shared=slow)
    rows = [row for result in results for row in result.rows]
    labels = dict.fromkeys(label for result in results for label in result.lesions)
    sizes = {
        label: detection_by_size([lesion for result in results for lesion in result.lesions[label]]) for label in labels
    }
    cases = {label: count_cases([result.statuses[label] for result in results]) for label in results[0].statuses}
    overview = Evaluation(summaries(rows), cases, sizes, matched.unmatched, request.threshold)
    if as_json:
        say(summary_json(overview), nl=False)
    else:
        show_scores(overview)
    _write(out, rows_csv(rows), summary_json(overview))


def _sweep(
    matched: "MatchedFiles",
    thresholds: str,
    want_recall: float | None,
    want_precision: float | None,
    out: Path | None,
    as_json: bool,
    jobs: int,
) -> None:
    from lesionloss.cli.evaluate_tables import show_curve
    from lesionloss.metrics.case_from_files import count_case
    from lesionloss.metrics.export import curve_csv, curve_json
    from lesionloss.metrics.parallel_cases import for_each_case
    from lesionloss.metrics.thresholds import mean_curve, threshold_range

    levels = tuple(float(level) for level in threshold_range(thresholds))
    progress = _progress("counting", len(matched.cases))
    counts = for_each_case(count_case, matched.cases, levels, jobs=_workers(jobs), progress=progress)
    curve = mean_curve(counts)
    chosen = _chosen(curve, want_recall, want_precision)
    document = curve_json(curve, chosen, matched.unmatched)
    if as_json:
        say(document, nl=False)
    else:
        show_curve(curve, chosen, len(counts), matched.unmatched)
        if chosen:
            say(_advice(chosen, want_recall, want_precision, out))
    _write(out, curve_csv(curve), document)


def _advice(chosen: "CurvePoint", recall: float | None, precision: float | None, out: Path | None) -> str:
    """The chosen threshold, and how to apply it to another set."""
    extreme, what, wanted = ("highest", "recall", recall) if recall is not None else ("lowest", "precision", precision)
    file = out.with_suffix(".json") if out else "FILE.json (write it with --out FILE.csv)"
    return (
        f"{chosen.threshold:g} is the {extreme} threshold with a mean {what} of at least {wanted:g} here; "
        f"apply it to another set with --threshold-from {file}"
    )


def _chosen(
    curve: "Sequence[CurvePoint]", want_recall: float | None, want_precision: float | None
) -> "CurvePoint | None":
    from lesionloss.metrics.thresholds import reaching_precision, reaching_recall

    if want_recall is not None:
        return reaching_recall(curve, want_recall)
    return None if want_precision is None else reaching_precision(curve, want_precision)

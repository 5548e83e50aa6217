"""`lesionloss collect`: a run folder of predictions that others made."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lesionloss.cli import panels
from lesionloss.cli.commands import command
from lesionloss.cli.evaluate_options import split_names
from lesionloss.cli.terminal import hint, note, say

if TYPE_CHECKING:
    from lesionloss.collecting.found_predictions import Mismatch
    from lesionloss.runs.results import Results

SHOWN = 20  # mismatches of a kind on the screen; collected.toml has all

COLLECT_HELP = """Score predictions that others made, and write a run folder for `compare`, `report` and `power`.

Give one of --predictions, --nnunet and --table. PATTERN is a path with fields in braces: {case}, and {loss} (or \
{method}, where methods differ in more than the loss), {fold}, {seed}, {patient} where there are any; * stands for \
anything. Predictions are masks or, with --threshold, probability maps; with --probabilities, both.

What does not fit (combinations and cases that lack, a case under two folds, references without predictions, other \
grids) is listed, and left out; with --strict it is an error. The same command goes on where it was interrupted, and \
scores only what is new.
"""
COLLECT_EXAMPLES = """
lesionloss collect runs/mine --predictions "results/{loss}/fold_{fold}/seed{seed}/{case}.nii.gz" --references labels
lesionloss collect runs/nn --nnunet nnUNet_results/Dataset501_MS --references nnUNet_raw/Dataset501_MS/labelsTr
lesionloss collect runs/theirs --table scores.csv
lesionloss compare runs/mine
"""


@command(
    panel=panels.RESULTS,
    help=COLLECT_HELP,
    examples=COLLECT_EXAMPLES,
    options={
        panels.DATA: "predictions nnunet table references probabilities images patients strict",
        panels.SCORES: "metrics baseline classes threshold",
        panels.OUTPUT: "name",
        panels.MACHINE: "jobs",
    },
)
def collect(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The run folder: a new one, or one to go on with.")],
    predictions: Annotated[
        str, typer.Option(metavar="PATTERN", help="NIfTI files, such as DIR/{loss}/fold_{fold}/{case}.nii.gz.")
    ] = "",
    nnunet: Annotated[
        Path | None, typer.Option(metavar="DIR", help="nnU-Net's results of one data set; trainers are the losses.")
    ] = None,
    table: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE.csv", help="Scores: loss, fold, seed, case, patient, metric, value; may be repeated."
        ),
    ] = None,
    references: Annotated[
        str, typer.Option(metavar="DIR", help="Reference masks CASE.nii.gz, or a pattern with {case}.")
    ] = "",
    probabilities: Annotated[
        str, typer.Option(metavar="PATTERN", help="Probability maps, with the fields of --predictions.")
    ] = "",
    images: Annotated[
        str, typer.Option(metavar="DIR", help="Images CASE.nii.gz or CASE_0000.nii.gz, or a pattern, for pictures.")
    ] = "",
    patients: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.csv", help="case,patient; default: sub-ID in the name, else each case is a patient."
        ),
    ] = None,
    metrics: Annotated[
        str, typer.Option("--metrics", "-m", metavar="LIST", help="Names, separated by commas; the first one decides.")
    ] = "",
    baseline: Annotated[str, typer.Option(help="The loss to compare with; default: the first by name.")] = "",
    classes: Annotated[str, typer.Option(metavar="LIST", help="Labels of label maps, such as 1,2.")] = "",
    threshold: Annotated[
        float | None, typer.Option(min=0, max=1, help="Predictions are maps; lesion is where p >= this.")
    ] = None,
    name: Annotated[str, typer.Option(help="The title of the report; default: the name of OUT.")] = "",
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 if anything does not fit.")] = False,
    jobs: Annotated[int, typer.Option("--jobs", min=0, help="Processes; 0: one for each core.")] = 0,
) -> None:
    """Score predictions that others made."""
    from lesionloss.cli.progress import track
    from lesionloss.collecting import collect as collect_run
    from lesionloss.core.errors import UsageError

    try:
        labels = tuple(int(label) for label in classes.split(",")) if classes else ()
    except ValueError as error:
        raise UsageError(f"--classes: expected whole numbers such as 1,2, got {classes!r}") from error
    results = collect_run(
        out,
        predictions=predictions or None,
        nnunet=nnunet,
        table=table or None,
        references=references,
        probabilities=probabilities,
        images=images,
        patients=patients,
        metrics=split_names(metrics) if metrics else (),
        baseline=baseline,
        classes=labels,
        threshold=threshold,
        name=name,
        strict=strict,
        jobs=jobs,
        progress=track,
        notify=_Listing(),
    )
    _print(results)


class _Listing:
    """Prints mismatches, of each kind the first ones."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def __call__(self, mismatch: "Mismatch") -> None:
        self.counts[mismatch.kind] += 1
        if self.counts[mismatch.kind] <= SHOWN:
            note(str(mismatch))
        elif self.counts[mismatch.kind] == SHOWN + 1:
            note(f"{mismatch.kind}: and more, see collected.toml")


def _print(results: "Results") -> None:
    from lesionloss.core.number_text import listed, plural
    from lesionloss.report.collected_words import mismatch_counts

    predictions = sum(len(trial.record.get("test", ())) for trial in results.trials)
    what = [
        plural(len(results.losses), str(results.collected["compares"])),
        plural(len({t.fold for t in results.trials}), "fold"),
    ]
    what += [plural(len(results.plan["seeds"]), "seed")] if results.plan["seeds"] else ["seeds unknown"]
    found = mismatch_counts(results)
    say(f"{results.folder}: {', '.join(what)}; {plural(predictions, 'prediction')} scored")
    if found:
        say(f"does not fit: {listed(found)}; {results.folder / 'collected.toml'} lists them")
    say(f"unknown: {', '.join(results.collected['unknown'])}")
    hint(f"go on with: lesionloss compare {results.folder}; lesionloss report {results.folder}")

"""`lesionloss synth-check`: how far a synthetic cohort is from a real one."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lesionloss.cli import panels
from lesionloss.cli.commands import command
from lesionloss.cli.terminal import note, plain_console, say, say_json

if TYPE_CHECKING:
    from lesionloss.synth.realism import RealismCheck

EXAMPLES = """
lesionloss synth-check DATA/lit cohort --target change
lesionloss synth-check lit:DATA/lit msseg2:cohort --out check   # tables and pictures too
lesionloss synth-check DATA/msseg2 cohort --patients 20 --no-classifier
"""


@command(panel=panels.IMAGES, examples=EXAMPLES)
def synth_check(
    real: Annotated[str, typer.Argument(metavar="REAL", help="Folder of real patients, or LAYOUT:PATH.")],
    synthetic: Annotated[str, typer.Argument(metavar="SYNTH", help="Folder of synthetic patients, or LAYOUT:PATH.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for realism.json, distances.csv and the pictures.")
    ] = None,
    target: Annotated[
        str | None, typer.Option("--target", help="What counts as lesion in REAL; default: the layout's first.")
    ] = None,
    synth_target: Annotated[
        str | None, typer.Option("--synth-target", help="What counts as lesion in SYNTH; default: the layout's first.")
    ] = None,
    patients: Annotated[
        int, typer.Option("--patients", "-n", min=0, help="Complete patients of each cohort at most; 0: all.")
    ] = 0,
    classifier: Annotated[
        bool,
        typer.Option(
            "--classifier/--no-classifier", help="Train a small network to classify patches as real or synthetic."
        ),
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Compare a synthetic cohort with a real one: intensities, noise, edges, differences, lesions, and patches.

    Every visit is z-scored inside its brain. Distances: W (Wasserstein), the mean shift that makes one distribution the
    other, over the real interquartile range; KS (Kolmogorov-Smirnov), 0 to 1. AUC of a small network that classifies
    patches as real or synthetic, cross-validated by patient: .5 means that it can't. Patients without images count for
    lesions if the target is the published mask (lit: --target change).
    """
    from rich.text import Text

    from lesionloss.data.cohort import open_cohort
    from lesionloss.synth.realism import CheckRequest, check_realism
    from lesionloss.synth.realism.check import as_record, write_check
    from lesionloss.synth.realism.classifier import ClassifierSettings

    request = CheckRequest(
        open_cohort(real, target),
        open_cohort(synthetic, synth_target),
        patients,
        ClassifierSettings() if classifier else None,
    )
    with plain_console(stderr=True).status("measuring") as status:
        found = check_realism(request, lambda name: status.update(Text(f"measuring: {name}")))
        if out is not None:
            write_check(found, out)
    if as_json:
        say_json(as_record(found))
    else:
        _show(found)
    if out is not None:
        note(f"tables and pictures: {out}")


def _show(found: "RealismCheck") -> None:
    from rich.table import Table

    from lesionloss.core.number_text import decimals_for, number

    table = Table("quantity", "unit", "real", "quartiles", "synthetic", "quartiles", "W / real IQR", "KS")
    for column in table.columns[2:]:
        column.justify = "right"
    for row in sorted(found.rows, key=lambda row: -row.ks):
        places = decimals_for([*row.real, *row.synthetic])
        cells = []
        for low, middle, high in (row.real, row.synthetic):
            cells += [number(middle, places), f"{number(low, places)} to {number(high, places)}"]
        relative = number(row.relative, 2) if row.relative == row.relative else ""
        table.add_row(row.quantity.name, row.quantity.unit, *cells, relative, number(row.ks, 2))
    console = plain_console()
    (console if console.is_terminal else plain_console(width=200)).print(table)
    for name, side in (("real", found.real), ("synthetic", found.synthetic)):
        masks = f", {side.masks_only} more with masks only" if side.masks_only else ""
        say(f"{name}: {side.complete} complete cases{masks}")
    for result in found.classifier_results:
        folds = ", ".join(number(value, 2) for value in result.folds)
        say(f"real or synthetic, from {result.view}: AUC {number(result.auc, 3)} (folds {folds})")

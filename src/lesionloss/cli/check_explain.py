"""`lesionloss check` and `lesionloss explain`: property tests of a loss, and its gradients."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lesionloss.cli.app import app
from lesionloss.cli.terminal import plain_console, say

if TYPE_CHECKING:
    from lesionloss.losses.explain import GradientAnalysis

CHECK_EXAMPLES = """
Examples:

  lesionloss check hytver

  lesionloss check root_tversky --with my_losses.py

  lesionloss check "0.5*dice + 0.5*focal(gamma=3)" --kernel readable
"""

EXPLAIN_EXAMPLES = """
Examples:

  lesionloss explain dice focal hytver

  lesionloss explain dice generalised_dice --analysis

  lesionloss explain cross_entropy weighted_gradient --lesion 0.001 --out gradients.png --csv gradients.csv
"""


@app.command(epilog=CHECK_EXAMPLES)
def check(
    spec: Annotated[str, typer.Argument(metavar="SPEC", help="A loss, or a sum of losses.")],
    kernel: Annotated[
        str | None, typer.Option("--kernel", help="Implementation of the sums: readable or fast.")
    ] = None,
) -> None:
    """Run property tests (laws) on a loss; a law that fails is shown with a counterexample (exit code 1)."""
    from rich.table import Table
    from rich.text import Text

    from lesionloss.losses import kernels, laws

    chosen = kernels.by_name(kernel) if kernel else None
    styles = {"holds": "green", "BREAKS": "bold red", "exempt": "yellow", "does not apply": "dim", "not asked": "cyan"}
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    found = list(laws.check(spec, kernel=chosen))

    for verdict in found:
        outcome = verdict.outcome.value
        shown = Text(verdict.law.statement)
        if verdict.detail:
            shown.append(f"\n{verdict.detail}", style=styles[outcome])
        table.add_row(Text(verdict.law.name), Text(outcome, style=styles[outcome]), shown)
    plain_console().print(table)
    broken = [verdict.law.name for verdict in found if verdict.outcome is laws.LawOutcome.BREAKS]
    if broken:
        say(f"{spec} breaks {len(broken)} of {len(found)} laws: {', '.join(broken)}")
        raise typer.Exit(1)
    unasked = [verdict.law.name for verdict in found if verdict.outcome is laws.LawOutcome.UNASKED]
    say(f"{spec} keeps all laws" + (f" that were asked; not asked: {', '.join(unasked)}" if unasked else ""))


@app.command(epilog=EXPLAIN_EXAMPLES)
def explain(
    specs: Annotated[list[str], typer.Argument(metavar="SPEC...", help="Losses, or sums of losses.")],
    lesion: Annotated[float, typer.Option("--lesion", help="Share of lesion voxels in the image.")] = 0.01,
    analysis: Annotated[
        bool,
        typer.Option(
            "--analysis", help="Dice losses: the terms of the derivative in closed form (Cabezas & Diez, Appendix A)."
        ),
    ] = False,
    out: Annotated[Path | None, typer.Option("--out", help="Write a figure: FILE.png or FILE.svg.")] = None,
    csv: Annotated[Path | None, typer.Option("--csv", help="Write the curves as a table: FILE.csv.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite files that exist.")] = False,
) -> None:
    """Show the gradient of a loss at lesion and at background voxels, from confidently wrong to confidently right."""
    from lesionloss.core.errors import UsageError
    from lesionloss.losses.explain import draw, gradient_analysis, write_csv

    for path, endings in ((out, (".png", ".svg")), (csv, (".csv",))):
        if path and path.suffix not in endings:
            raise UsageError(f"{path} must end in {' or '.join(endings)}")
        if path and path.exists() and not force:
            raise UsageError(f"{path} exists; give --force to overwrite it")
    if analysis and (out or csv):
        raise UsageError("--analysis prints terms and writes no files; leave --out and --csv out")
    curves = [gradient_analysis(spec, lesion) for spec in specs]
    if analysis:
        for spec in specs:
            _print_terms(spec, lesion)
        return
    if csv:
        write_csv(curves, csv)
    if out:
        draw(curves, out)
    _print_gradients(curves)
    for path in (out, csv):
        if path:
            say(f"written: {path}")


def _print_gradients(curves: list["GradientAnalysis"]) -> None:
    from rich.table import Table

    from lesionloss.losses.explain import SHOWN

    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("gradient of all voxels of a class, predicted at p =", min_width=30)
    for p in SHOWN:
        table.add_column(f"{p:g}", justify="right")
    for curve in curves:
        places = [int(abs(curve.probability - p).argmin()) for p in SHOWN]
        for words, values in (("lesion", curve.lesion_total), ("background", curve.background_total)):
            table.add_row(f"{curve.spec}: {words}", *[f"{values[place]:.3g}" for place in places])
    plain_console().print(table, markup=False)


def _print_terms(spec: str, share: float) -> None:
    """Print the terms of a Dice loss's derivative in the image of `explain`, and the condition on its weights."""
    from rich.table import Table

    from lesionloss.losses.dice_gradient import dice_weights
    from lesionloss.losses.explain import BACKGROUND_AT, SHOWN, VOXELS, term_analysis

    lesions = round(VOXELS * share)
    weights = dice_weights(spec, VOXELS, lesions)
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("lesion predicted at p =")
    for p in SHOWN:
        table.add_column(f"{p:g}", justify="right")
    for words, values in term_analysis(spec, lesions, SHOWN):
        table.add_row(words, *[f"{value:.3g}" for value in values])
    w1, w0, least = weights.lesion, weights.background, weights.least_lesion(VOXELS, lesions)
    say(f"{spec}: N = {VOXELS}, |Y1| = {lesions}, w1 = {w1:.4g}, w0 = {w0:.4g}; background at {BACKGROUND_AT:g}")
    plain_console().print(table, markup=False)
    holds = "holds" if w1 > least else "does not hold"
    say(f"w1 > N w0 / |Y1| + w0, so that the overlap outweighs the class sizes: {w1:.4g} > {least:.4g} {holds}")
    say("Derivation: docs/explanation/gradients.md, after Cabezas & Diez 2024, Appendix A")

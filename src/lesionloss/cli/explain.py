"""`lesionloss explain`: the gradients of losses."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lesionloss.cli import panels
from lesionloss.cli.commands import command
from lesionloss.cli.terminal import note, plain_console, say, say_json

if TYPE_CHECKING:
    from lesionloss.losses.explain import GradientAnalysis

EXAMPLES = """
lesionloss explain dice focal hytver
lesionloss explain dice generalised_dice --analysis
lesionloss explain cross_entropy weighted_gradient --lesion 0.001 --out gradients.png --csv gradients.csv
"""


@command(panel=panels.LOSSES, examples=EXAMPLES)
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
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Show the gradient of a loss at lesion and at background voxels, from confidently wrong to confidently right."""
    from lesionloss.core.errors import UsageError
    from lesionloss.losses.explain import SHOWN, draw, gradient_analysis, write_csv

    for path, endings in ((out, (".png", ".svg")), (csv, (".csv",))):
        if path and path.suffix not in endings:
            raise UsageError(f"{path} must end in {' or '.join(endings)}")
        if path and path.exists() and not force:
            raise UsageError(f"{path} exists; give --force to overwrite it")
    if analysis and (out or csv):
        raise UsageError("--analysis prints terms and writes no files; leave --out and --csv out")
    curves = [gradient_analysis(spec, lesion) for spec in specs]
    if analysis:
        found = [_show_terms(spec, lesion, as_json) for spec in specs]
        if as_json:
            say_json(found)
        return
    if csv:
        write_csv(curves, csv)
    if out:
        draw(curves, out)
    if as_json:
        say_json([{"loss": curve.spec, "p": SHOWN} | _at_shown(curve) for curve in curves])
    else:
        _print_gradients(curves)
    for path in (out, csv):
        if path:
            note(f"written: {path}")


def _at_shown(curve: "GradientAnalysis") -> dict[str, list[float]]:
    """The gradients of a loss over all voxels of a class, at the probabilities that are shown."""
    from lesionloss.losses.explain import SHOWN

    places = [int(abs(curve.probability - p).argmin()) for p in SHOWN]
    totals = {"lesion": curve.lesion_total, "background": curve.background_total}
    return {what: [float(values[place]) for place in places] for what, values in totals.items()}


def _print_gradients(curves: list["GradientAnalysis"]) -> None:
    from rich.table import Table

    from lesionloss.losses.explain import SHOWN

    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("gradient of all voxels of a class, predicted at p =", min_width=30)
    for p in SHOWN:
        table.add_column(f"{p:g}", justify="right")
    for curve in curves:
        for words, values in _at_shown(curve).items():
            table.add_row(f"{curve.spec}: {words}", *[f"{value:.3g}" for value in values])
    plain_console().print(table, markup=False)


def _show_terms(spec: str, share: float, as_json: bool) -> dict[str, object]:
    """Print the terms of a Dice loss's derivative in the image of `explain`, and the condition on its weights."""
    from lesionloss.losses.dice_gradient import dice_weights
    from lesionloss.losses.explain import BACKGROUND_AT, SHOWN, VOXELS, term_analysis

    lesions = round(VOXELS * share)
    weights, terms = dice_weights(spec, VOXELS, lesions), term_analysis(spec, lesions, SHOWN)
    w1, w0, least = weights.lesion, weights.background, weights.least_lesion(VOXELS, lesions)
    if not as_json:
        say(f"{spec}: N = {VOXELS}, |Y1| = {lesions}, w1 = {w1:.4g}, w0 = {w0:.4g}; background at {BACKGROUND_AT:g}")
        _print_terms(terms)
        holds = "holds" if w1 > least else "does not hold"
        say(f"w1 > N w0 / |Y1| + w0, so that the overlap outweighs the class sizes: {w1:.4g} > {least:.4g} {holds}")
    return {"loss": spec, "p": SHOWN, "w1": w1, "w0": w0, "least_w1": least, "terms": dict(terms)}


def _print_terms(terms: list[tuple[str, list[float]]]) -> None:
    from rich.table import Table

    from lesionloss.losses.explain import SHOWN

    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("lesion predicted at p =")
    for p in SHOWN:
        table.add_column(f"{p:g}", justify="right")
    for words, values in terms:
        table.add_row(words, *[f"{value:.3g}" for value in values])
    plain_console().print(table, markup=False)

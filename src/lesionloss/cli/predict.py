"""`lesionloss predict`: new lesions of raw visits, of a cohort, or of prepared cases, with a trained model."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lesionloss.cli.app import app

if TYPE_CHECKING:
    from lesionloss.inference.predict import Asked, Done, Source
    from lesionloss.networks.bundle import Bundle

EXAMPLES = """
Examples:

  lesionloss predict MODEL --baseline A.nii.gz --followup B.nii.gz --out predicted

  lesionloss predict MODEL --baseline A.nii.gz --followup B.nii.gz --brain mask.nii.gz --min-volume 3 --out predicted

  lesionloss predict MODEL --baseline A.nii.gz --followup B.nii.gz --register --out predicted  (one grid, not aligned)

  lesionloss predict runs/quick/trials/0123456789abcdef --cohort DATA/lit --out predicted

  lesionloss predict MODEL --cohort runs/quick/cohort --way "windows(size=64, overlap=0.5)" --flips --out predicted

  lesionloss predict MODEL --cohort DATA/msseg2 --bids --out DATA/derivatives/lesionloss
"""


@app.command(epilog=EXAMPLES)
def predict(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Folder with model.json and model.safetensors.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for the results.")],
    baseline: Annotated[
        list[Path] | None, typer.Option("--baseline", help="First visit (NIfTI); once per contrast.")
    ] = None,
    followup: Annotated[
        list[Path] | None, typer.Option("--followup", help="Second visit, or the only one; once per contrast.")
    ] = None,
    brain: Annotated[Path | None, typer.Option("--brain", help="Brain mask on the visits' grid.")] = None,
    cohort: Annotated[
        str | None,
        typer.Option("--cohort", help="In place of files: a dataset's folder, one of prepared cases, or a case.npz."),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option("--threshold", help="Lesion is where the probability is at least this (default: the model's)."),
    ] = None,
    min_volume: Annotated[
        float | None,
        typer.Option("--min-volume", help="Leave out lesions of this volume in mm3 or less (default: the model's)."),
    ] = None,
    connectivity: Annotated[
        int, typer.Option("--connectivity", help="Neighbours that make one lesion: 6, 18 or 26.")
    ] = 6,
    register: Annotated[
        bool | None,
        typer.Option(
            "--register/--no-register",
            help="Register the baseline to the follow-up (default: where grids differ or the model was trained so).",
        ),
    ] = None,
    way: Annotated[
        str,
        typer.Option(
            "--way", help="auto (the fastest that fits the memory), whole, windows(size=..., ...), coactseg or cabezas."
        ),
    ] = "auto",
    flips: Annotated[bool, typer.Option("--flips", help="Mean over all mirror images; eight times as long.")] = False,
    precision: Annotated[str, typer.Option("--precision", help="auto, float32 or bf16.")] = "auto",
    device: Annotated[str, typer.Option("--device", help="auto, cpu or cuda:N.")] = "auto",
    bids: Annotated[bool, typer.Option("--bids", help="Name the results as BIDS derivatives.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace results made otherwise.")] = False,
) -> None:
    """Find new lesions of two visits with a trained model.

    Writes new_lesions.nii.gz and probability.nii.gz in the follow-up's own grid, lesions.csv (volume, centre, mean
    probability), pictures.png and prediction.json. The images are prepared as the model's training cases were; visits
    on different grids are registered first. A case that is there already is not done again. For research; not a
    medical device.
    """
    from lesionloss.core.devices import resolve_device
    from lesionloss.core.errors import UsageError
    from lesionloss.inference import read_way
    from lesionloss.inference.predict import Asked
    from lesionloss.metrics.components import REACH
    from lesionloss.networks.bundle import load_bundle
    from lesionloss.training.precision import resolve_precision

    if threshold is not None and not 0 < threshold < 1:
        raise UsageError(f"--threshold is a probability between 0 and 1, got {threshold:g}")
    if min_volume is not None and not 0 <= min_volume < float("inf"):
        raise UsageError(f"--min-volume is a volume in mm3, 0 or more, got {min_volume:g}")
    if connectivity not in REACH:
        raise UsageError(f"--connectivity is 6, 18 or 26, got {connectivity}")
    place = resolve_device(device)
    asked = Asked(
        threshold=threshold,
        min_volume_mm3=min_volume,
        connectivity=connectivity,
        way=None if way == "auto" else read_way(way),
        mirrored=(0, 1, 2) if flips else (),
        register=register,
        precision=resolve_precision(precision, place),
        device=place,
        force=force,
    )
    sources = _sources(baseline or [], followup or [], brain, cohort)
    bundle = load_bundle(model)
    done, failures = _predict(bundle, sources, out, asked, folder_each=cohort is not None, bids=bids)
    _report(done, failures, asked)
    if failures:
        raise typer.Exit(1)


def _sources(
    baseline: list[Path], followup: list[Path], brain: Path | None, cohort: str | None
) -> tuple["Source", ...]:
    from lesionloss.core.errors import UsageError
    from lesionloss.inference.predict import source_of_files, sources_in

    if cohort is None:
        if not (baseline or followup):
            raise UsageError("predict needs images: --baseline A.nii.gz --followup B.nii.gz, or --cohort FOLDER")
        return (source_of_files(baseline, followup, brain),)
    if baseline or followup or brain:
        raise UsageError("give files (--baseline, --followup, --brain) or --cohort, not both")
    sources, left_out = sources_in(cohort)
    for line in left_out:
        typer.echo(line, err=True)
    return sources


def _predict(
    bundle: "Bundle", sources: tuple["Source", ...], out: Path, asked: "Asked", *, folder_each: bool, bids: bool
) -> tuple[list["Done"], list[str]]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    from lesionloss.inference.predict import predict_sources

    columns = (TextColumn("cases"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[case]}"))
    with Progress(
        *columns, TimeElapsedColumn(), TimeRemainingColumn(), console=Console(stderr=True), transient=True
    ) as bar:
        task = bar.add_task("cases", total=len(sources), case=sources[0].name)

        def step(name: str, number: int, total: int) -> None:
            bar.update(task, completed=number, total=total, case=name)

        return predict_sources(bundle, sources, out, asked, folder_each=folder_each, bids=bids, progress=step)


def _report(done: list["Done"], failures: list[str], asked: "Asked") -> None:
    for case in done:
        if not case.how:
            typer.echo(f"{case.name}: {'; '.join(case.notes)} ({case.places.mask})")
            continue
        typer.echo(f"{case.name}: {case.found} ({case.seconds:.1f} s) -> {case.places.mask}")
        typer.echo(f"  way: {case.how}; {asked.precision} on {asked.device}", err=True)
        for note in case.notes:
            typer.echo(f"  {note}", err=True)
    for line in failures:
        typer.secho(f"failed: {line}", fg=typer.colors.RED, err=True)
    if failures:
        typer.echo(f"{len(failures)} of {len(done) + len(failures)} cases failed; run the same command again for them")

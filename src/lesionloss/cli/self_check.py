"""`lesionloss self-check`: which lesions a model finds in a pair of visits of one's own scanner."""

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lesionloss.cli import panels
from lesionloss.cli.commands import command
from lesionloss.cli.models import MODEL_HELP
from lesionloss.cli.terminal import note, plain_console, say_json

if TYPE_CHECKING:
    from lesionloss.inference.predict.replay_preparation import ReadyCase
    from lesionloss.inference.self_check import SelfCheckRow, SelfCheckSettings
    from lesionloss.networks.bundle import Bundle

EXAMPLES = """
lesionloss self-check --baseline A.nii.gz --followup B.nii.gz --out checked   # the shipped model
lesionloss self-check MODEL --baseline A.nii.gz --followup B.nii.gz --out checked
lesionloss self-check MODEL --baseline A.nii.gz --followup B.nii.gz --brain mask.nii.gz --lesions 30 --out checked
lesionloss self-check MODEL --baseline A.nii.gz --followup B.nii.gz --volumes 20,50 --contrasts 0.8 --out checked
"""
FILES = ("self-check.csv", "self-check.json", "self-check.png")


@command(
    "self-check",
    panel=panels.USE,
    examples=EXAMPLES,
    options={
        panels.DATA: "baseline followup brain raw",
        panels.LESIONS: "lesions volumes contrasts seed",
        panels.MACHINE: "device",
        panels.OUTPUT: "out as_json",
    },
)
def self_check(
    out: Annotated[Path, typer.Option("--out", help="Folder for self-check.csv, .json and .png.")],
    baseline: Annotated[
        list[Path], typer.Option("--baseline", help="First visit (NIfTI or a DICOM folder); once per contrast.")
    ],
    followup: Annotated[list[Path], typer.Option("--followup", help="Second visit; once per contrast.")],
    model: Annotated[Path | None, typer.Argument(metavar="MODEL", help=MODEL_HELP)] = None,
    brain: Annotated[Path | None, typer.Option("--brain", help="Brain mask on the visits' grid.")] = None,
    raw: Annotated[bool | None, typer.Option("--raw/--no-raw", help="As in lesionloss predict.")] = None,
    lesions: Annotated[int, typer.Option("--lesions", help="Lesions of each volume and contrast.")] = 12,
    volumes: Annotated[
        str, typer.Option("--volumes", metavar="MM3,...", help="Volumes of the lesions.")
    ] = "10,20,50,100,200,500",
    contrasts: Annotated[
        str,
        typer.Option(
            "--contrasts", metavar="SD,...", help="How much they brighten, in standard deviations of the brain."
        ),
    ] = "0.5,1,1.5,2",
    seed: Annotated[int, typer.Option("--seed", help="Of places and shapes.")] = 1,
    device: Annotated[str, typer.Option("--device", help="auto, cpu or cuda:N.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Put synthetic lesions of known size and contrast into a pair of visits and report which a model finds.

    The result is a sensitivity curve for this scanner, protocol and model. It says nothing about false positives: for
    those, run `lesionloss predict` on visits between which nothing changed.
    """
    from lesionloss.core.devices import resolve_device
    from lesionloss.core.errors import DataError
    from lesionloss.inference.predict import source_of_files
    from lesionloss.inference.predict.replay_preparation import make_ready
    from lesionloss.inference.self_check import SelfCheckSettings
    from lesionloss.networks.bundle import load_bundle
    from lesionloss.networks.shipped_models import model_folder

    settings = SelfCheckSettings(
        volumes_mm3=_numbers("--volumes", volumes),
        contrasts=_numbers("--contrasts", contrasts),
        lesions=lesions,
        seed=seed,
    )
    folder = model_folder(model)
    bundle = load_bundle(folder)
    place = resolve_device(device)
    bundle.network.to(place)
    ready = make_ready(source_of_files(baseline, followup, brain), bundle.record, raw=raw)
    if ready.refusal:
        raise DataError(f"{ready.case.name}: {ready.refusal}")
    for remark in ready.remarks:
        note(remark)
    out.mkdir(parents=True, exist_ok=True)  # before the minutes that follow
    rows = _checked(bundle, ready, settings, place)
    _write(out, rows, f"{folder.name}, {followup[0].name}")
    if as_json:
        say_json([asdict(row) for row in rows])
    else:
        _print(rows)
    note(f"written: {', '.join(str(out / name) for name in FILES)}")


def _numbers(option: str, text: str) -> tuple[float, ...]:
    from lesionloss.core.errors import UsageError

    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise UsageError(f"{option} takes numbers between commas, such as 20,50,100; got {text!r}") from error


def _checked(
    bundle: "Bundle", ready: "ReadyCase", settings: "SelfCheckSettings", device: str
) -> tuple["SelfCheckRow", ...]:
    import numpy as np
    from numpy.typing import NDArray

    from lesionloss.cli.bench_tables import duration
    from lesionloss.cli.progress import progress_bar
    from lesionloss.core.number_text import plural
    from lesionloss.data.prepared import PreparedCase
    from lesionloss.inference import as_judged, lesion_mask, predict_probabilities
    from lesionloss.inference.only_deep import only_deep
    from lesionloss.inference.predict import judged_mode
    from lesionloss.inference.self_check import self_check
    from lesionloss.training.precision import judged_precision

    record, mode = bundle.record, judged_mode(bundle)
    arithmetic = as_judged(judged_precision(record.precision, device))

    def marked(case: PreparedCase) -> NDArray[np.bool_]:
        probabilities = predict_probabilities(bundle.network, case, mode, arithmetic=arithmetic, device=device)
        found = only_deep(probabilities, case, record.depth_mm)
        mask = lesion_mask(
            found,
            threshold=record.threshold,
            voxel_mm3=float(np.prod(case.spacing_mm)),
            min_volume_mm3=record.min_volume_mm3,
            decision=record.decision,
        )
        return mask > 0

    started = time.monotonic()
    with progress_bar() as bar:
        task = bar.add_task("images", total=None, detail="")

        def after_image(number: int, of: int) -> None:
            if number == 0:  # the pair itself took as long as each image with lesions will
                seconds = (time.monotonic() - started) * of
                note(f"{plural(of, 'image')} with lesions to predict: about {duration(seconds)}")
            bar.update(task, completed=number, total=of)

        return self_check(ready.case, marked, settings, after_image)


def _write(out: Path, rows: tuple["SelfCheckRow", ...], title: str) -> None:
    import json

    from lesionloss.core.files import write_text
    from lesionloss.report.self_check_figure import save_self_check

    table, record, picture = (out / name for name in FILES)
    lines = [f"{row.volume_mm3:g},{row.contrast:g},{row.lesions},{row.found}" for row in rows]
    write_text(table, "\n".join(["volume_mm3,contrast,lesions,found", *lines]) + "\n")
    write_text(record, json.dumps({"model": title, "rows": [asdict(row) for row in rows]}, indent=1) + "\n")
    save_self_check(picture, rows, title)


def _print(rows: tuple["SelfCheckRow", ...]) -> None:
    from rich.table import Table

    contrasts = sorted({row.contrast for row in rows})
    table = Table("volume (mm³)", *(f"contrast {contrast:g}" for contrast in contrasts), title="Lesions found")
    for volume in sorted({row.volume_mm3 for row in rows}):
        cells = {row.contrast: f"{row.found} of {row.lesions}" for row in rows if row.volume_mm3 == volume}
        table.add_row(f"{volume:g}", *(cells[contrast] for contrast in contrasts))
    plain_console().print(table)

"""`lesionloss predict`: new lesions of raw visits, of a cohort, or of prepared cases, with a trained model."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lesionloss.cli import panels
from lesionloss.cli.commands import command
from lesionloss.cli.models import MODEL_HELP
from lesionloss.cli.terminal import note, say
from lesionloss.core.errors import ExitCode

if TYPE_CHECKING:
    from lesionloss.inference import Fastest, InferenceMode
    from lesionloss.inference.predict import CaseSource, PredictedCase, PredictSettings
    from lesionloss.networks.bundle import Bundle

PREDICT_HELP = """Find new lesions of two visits with a trained model.

Writes new_lesions.nii.gz and probability.nii.gz in the follow-up's own grid, lesions.csv (volume, centre, mean \
probability), pictures.png and prediction.json. The images are prepared as the model's training cases were; visits \
on different grids are registered first. A case that is there already is not done again. For research; not a \
medical device.
"""
EXAMPLES = """
lesionloss predict --baseline A.nii.gz --followup B.nii.gz --out predicted   # the shipped model
lesionloss predict MODEL --baseline A.nii.gz --followup B.nii.gz --out predicted
lesionloss predict MODEL --baseline A.nii.gz --followup B.nii.gz --brain mask.nii.gz --min-volume 3 --out predicted
lesionloss predict MODEL --baseline A.nii.gz --followup B.nii.gz --raw --out predicted   # one grid, not aligned
lesionloss predict runs/quick/trials/0123456789abcdef --cohort DATA/lit --out predicted
lesionloss predict MODEL --cohort runs/quick/cohort --sliding-window --tta --out predicted
lesionloss predict MODEL --cohort DATA/lit --inference-mode "sliding_window(size=64, overlap=0.5)" --out predicted
lesionloss predict MODEL --baseline "VISIT1#FLAIR" --followup "VISIT2#FLAIR" --out predicted   # DICOM folders
lesionloss predict MODEL --cohort DATA/msseg2 --bids --out DATA/derivatives/lesionloss
"""
AUTO = "auto"


@command(
    panel=panels.USE,
    help=PREDICT_HELP,
    examples=EXAMPLES,
    options={
        panels.DATA: "baseline followup brain cohort register raw",
        panels.DECISION: "threshold min_volume connectivity accept_implausible",
        panels.MACHINE: "inference_mode sliding_window tta precision device",
        panels.OUTPUT: "out bids force",
    },
)
def predict(
    out: Annotated[Path, typer.Option("--out", help="Folder for the results.")],
    model: Annotated[Path | None, typer.Argument(metavar="MODEL", help=MODEL_HELP)] = None,
    baseline: Annotated[
        list[Path] | None,
        typer.Option("--baseline", help="First visit (NIfTI or a DICOM folder); once per contrast."),
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
    raw: Annotated[
        bool | None,
        typer.Option(
            "--raw/--no-raw",
            help="Files from the scanner: register, remove bias fields, leave out what one visit does not show "
            "(default: where grids differ or the model was trained so).",
        ),
    ] = None,
    accept_implausible: Annotated[
        bool,
        typer.Option(
            "--accept-implausible", help="Predict a pair that does not look like two visits of one head, and mark it."
        ),
    ] = False,
    inference_mode: Annotated[
        str,
        typer.Option(
            "--inference-mode",
            help="auto (as the model was judged), fastest (that fits the memory; its scores may differ), whole, "
            "sliding_window(size=..., ...), coactseg or cabezas.",
        ),
    ] = AUTO,
    sliding_window: Annotated[
        bool,
        typer.Option(
            "--sliding-window",
            help="The sliding window of the model's record, also where it was judged on whole images.",
        ),
    ] = False,
    tta: Annotated[
        bool,
        typer.Option("--tta", help="Test-time augmentation: mean over all mirror images; takes eight times as long."),
    ] = False,
    precision: Annotated[
        str, typer.Option("--precision", help="auto (as the model was judged, if it is known), float32, bf16 or fp16.")
    ] = AUTO,
    device: Annotated[str, typer.Option("--device", help="auto, cpu or cuda:N.")] = AUTO,
    bids: Annotated[bool, typer.Option("--bids", help="Name the results as BIDS derivatives.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace results made from other files or settings.")] = False,
) -> None:
    """Find new lesions of two visits with a trained model."""
    from lesionloss.core.devices import resolve_device
    from lesionloss.inference.predict import PredictSettings, own_sliding_window
    from lesionloss.networks.bundle import load_bundle
    from lesionloss.networks.shipped_models import model_folder

    _check(threshold, min_volume, connectivity, inference_mode, sliding_window)
    mode = _mode(inference_mode)
    place = resolve_device(device)
    sources = _sources(baseline or [], followup or [], brain, cohort)
    bundle = load_bundle(model_folder(model))
    settings = PredictSettings(
        threshold=threshold,
        min_volume_mm3=min_volume,
        connectivity=connectivity,
        mode=own_sliding_window(bundle) if sliding_window else mode,
        mirrored=(0, 1, 2) if tta else (),
        register=register,
        raw=raw,
        accept_implausible=accept_implausible,
        precision=_precision(precision, bundle, place),
        device=place,
        force=force,
    )
    predicted, failures = _predict(bundle, sources, out, settings, folder_each=cohort is not None, bids=bids)
    _report(predicted, failures, settings)
    if failures:
        raise typer.Exit(ExitCode.PROBLEM)


def _check(
    threshold: float | None, min_volume: float | None, connectivity: int, inference_mode: str, sliding_window: bool
) -> None:
    """Raises UsageError for values out of their range and options that exclude each other."""
    from lesionloss.core.components import NEIGHBOUR_AXES
    from lesionloss.core.errors import UsageError

    if threshold is not None and not 0 < threshold < 1:
        raise UsageError(f"--threshold is a probability between 0 and 1, got {threshold:g}")
    if min_volume is not None and not 0 <= min_volume < float("inf"):
        raise UsageError(f"--min-volume is a volume in mm3, 0 or more, got {min_volume:g}")
    if connectivity not in NEIGHBOUR_AXES:
        raise UsageError(f"--connectivity is 6, 18 or 26, got {connectivity}")
    if sliding_window and inference_mode != AUTO:
        raise UsageError("--sliding-window and --inference-mode exclude each other; choose one")


def _mode(inference_mode: str) -> "InferenceMode | Fastest | None":
    from lesionloss.inference import Fastest, read_inference_mode

    if inference_mode == AUTO:
        return None
    return Fastest() if inference_mode == str(Fastest()) else read_inference_mode(inference_mode)


def _precision(name: str, bundle: "Bundle", device: str) -> str:
    """The requested precision; `auto` is the one that the model was judged in, where the device has it."""
    from lesionloss.training.precision import judged_precision, resolve_precision

    return judged_precision(bundle.record.precision, device) if name == AUTO else resolve_precision(name, device)


def _sources(
    baseline: list[Path], followup: list[Path], brain: Path | None, cohort: str | None
) -> tuple["CaseSource", ...]:
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
        note(line)
    return sources


def _predict(
    bundle: "Bundle",
    sources: tuple["CaseSource", ...],
    out: Path,
    settings: "PredictSettings",
    *,
    folder_each: bool,
    bids: bool,
) -> tuple[list["PredictedCase"], list[str]]:
    from lesionloss.cli.progress import progress_bar
    from lesionloss.inference.predict import predict_cases

    with progress_bar() as bar:
        task = bar.add_task("cases", total=len(sources), detail=sources[0].name)

        def step(name: str, number: int, total: int) -> None:
            bar.update(task, completed=number, total=total, detail=name)

        return predict_cases(bundle, sources, out, settings, folder_each=folder_each, bids=bids, progress=step)


def _report(predicted: list["PredictedCase"], failures: list[str], settings: "PredictSettings") -> None:
    for case in predicted:
        if not case.mode:
            say(f"{case.name}: {'; '.join(case.notes)} ({case.files.mask})")
            continue
        say(f"{case.name}: {case.count} ({case.seconds:.1f} s) -> {case.files.mask}")
        note(f"  inference mode: {case.mode}; {settings.precision} on {settings.device}")
        for remark in case.notes:
            note(f"  {remark}")
    for line in failures:
        say(f"failed: {line}", colour="red", err=True)
    if failures:
        total = len(failures) + len(predicted)
        say(f"{len(failures)} of {total} cases failed; run the same command again for them")

"""Transfer: a network trained on synthetic patients only, tested on real ones. The shipped model is made by this.

    python benchmarks/transfer.py --out transfer --real ../shared/data/lit
    python benchmarks/transfer.py --out plain --real ../shared/data/lit --change look_alikes.flow=[0,0]
    make model                                      # the shipped model, see docs/models.md

Synthetic patients are drawn and prepared in OUT/cases (kept for the next run); the first `--valid` of them choose
threshold and smallest lesion, never the real ones. OUT/scores.csv holds the scores of every real patient beside those
of the methods without training, OUT/model.* the network for `lesionloss predict`. A training run that was killed
continues from OUT/checkpoint. Several seeds or settings share their cases by `--cases FOLDER`.
"""

import csv
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from transfer_cases import MATCHED, Outline, real_cases, synthetic_cases
from transfer_scores import (
    METRICS,
    SIZES_MM3,
    ChosenThreshold,
    choose,
    found_by_size,
    lesions,
    probability,
    scores_of,
)

from lesionloss.data.preparation.recipe import PreparationRecipe
from lesionloss.data.prepared import PreparedCase
from lesionloss.data.volume import orientation
from lesionloss.inference.difference_threshold import METHODS
from lesionloss.networks.bundle import BundleRecord, load_bundle, save_bundle
from lesionloss.networks.mean_network import MeanNetwork
from lesionloss.synth import load_settings
from lesionloss.training.checkpoint import Checkpoints
from lesionloss.training.loop import train
from lesionloss.training.trial import TrainingRecipe, Trial

NETWORK = (
    "monai:BasicUNet(spatial_dims=3, in_channels=3, out_channels=1, features=(12, 24, 48, 48, 48, 12), norm='batch', "
    "upsample='nontrainable')"
)
TASK = "new and enlarging lesions of multiple sclerosis in two FLAIR visits of one head"
LIMITS = (
    "for research, not a medical device; slices of about 3 mm; misses most lesions below 150 mm3 and faint ones; "
    "needs a good brain mask (docs/models.md)"
)
# Each visit apart from the other, as protocols and resolutions differ.
AUGMENTATION = (
    "flip",
    "rescale(scale=0.05, shift=0.05)",
    "gamma(low=0.8, high=1.25, probability=0.3)",
    "blur(low=0.0, high=0.8, probability=0.3)",
    "noise(sd=0.15, probability=0.3)",
)
SEEDS = (1, 2, 3)
SETTINGS = Path(__file__).with_name("model.toml")
console = Console(width=160)
Scores = Mapping[str, float]


def main(
    out: Annotated[Path, typer.Option(help="Folder for scores, model and cases.")],
    real: Annotated[str | None, typer.Option(help="Folder of real patients, or LAYOUT:PATH.")] = None,
    target: Annotated[str | None, typer.Option(help="What counts as lesion there; default: its layout's.")] = None,
    cases: Annotated[Path | None, typer.Option(help="Folder of the synthetic cases; default: OUT/cases.")] = None,
    config: Annotated[Path, typer.Option(help="TOML settings of the synthetic patients.")] = SETTINGS,
    change: Annotated[
        list[str] | None, typer.Option(help="TABLE.KEY=VALUE of these settings; may be repeated.")
    ] = None,
    outline: Annotated[float, typer.Option(help="Share of its peak where a lesion ends; 0: exact references.")] = 0.35,
    visible: Annotated[float, typer.Option(help="Smallest visible change (z) in synthetic references; 0: all.")] = 0.4,
    jitter_mm: Annotated[float, typer.Option(help="How far the border of the brain mask is moved (sd).")] = 0.0,
    edge_mm: Annotated[float, typer.Option(help="Voxels nearer to the brain's edge do not count in training.")] = 3.0,
    depth_mm: Annotated[float, typer.Option(help="No lesion is found nearer to the brain's edge.")] = 5.0,
    patients: Annotated[int, typer.Option(help="Synthetic patients for training.")] = 24,
    valid: Annotated[int, typer.Option(help="Synthetic patients for validation.")] = 4,
    cohort_seed: Annotated[int, typer.Option(help="Seed of the synthetic patients.")] = 11,
    seed: Annotated[
        list[int] | None, typer.Option(help="Of weights and batches; of several networks the mean counts (1, 2, 3).")
    ] = None,
    network: Annotated[str, typer.Option(help="See lesionloss networks.")] = NETWORK,
    loss: Annotated[str, typer.Option(help="The loss.")] = "cross_entropy",
    steps: Annotated[int, typer.Option(help="Training steps.")] = 600,
    batch: Annotated[int, typer.Option(help="Patches of a step.")] = 4,
    patch: Annotated[tuple[int, int, int], typer.Option(help="Voxels of a patch.")] = (48, 48, 16),
    learning_rate: Annotated[float, typer.Option(help="At the first step.")] = 2e-3,
    precision: Annotated[str, typer.Option(help="Inside the network in training: float32 or bf16.")] = "bf16",
    threads: Annotated[int, typer.Option(help="Threads.")] = 1,
) -> None:
    """Train on synthetic patients and test on real ones."""
    torch.set_num_threads(threads)
    settings = load_settings(config, _changes(change or []))
    drawn = synthetic_cases(
        cases or out / "cases", patients + valid, cohort_seed, settings, Outline(outline, visible, edge_mm), jitter_mm
    )
    recipe = TrainingRecipe(
        steps=steps, batch=batch, patch=patch, jitter=16, foreground_share=0.5, learning_rate=learning_rate,
        poly_power=0.9, augment=AUGMENTATION, precision=precision, window=(96, 96, 16),
        overlap=0.25, threshold=0.5,
    )  # fmt: skip
    names = tuple(case.name for case in drawn[valid:])
    trials = [
        Trial(
            loss=loss, dataset=f"synth-{cohort_seed}", target=settings.ground_truth, network=network, fold=-1,
            seed=each, train=names, test=(), recipe=recipe,
        )
        for each in seed or SEEDS
    ]  # fmt: skip
    out.mkdir(parents=True, exist_ok=True)
    record = record_of(trials, drawn[valid:], depth_mm)
    members = [
        train(trial, drawn[valid:], checkpoints=Checkpoints(out / f"checkpoint-{trial.seed}")).network
        for trial in trials
    ]
    trained = MeanNetwork(members) if len(members) > 1 else members[0]
    save_bundle(out, trained, record, half=True)
    stored = load_bundle(out).network  # rounded to half precision, as it will be used
    chosen = choose(drawn[:valid], [probability(stored, case, record) for case in drawn[:valid]])
    console.print(f"chosen on synthetic patients: {chosen}")
    scores = judge(stored, record, chosen, real, target, out) if real else "not judged on real patients"
    update = {
        "threshold": chosen.threshold,
        "min_volume_mm3": chosen.smallest_mm3,
        "training": record.training | {"scores": scores},
    }
    save_bundle(out, trained, record.model_copy(update=update), half=True)


def record_of(trials: Sequence[Trial], cases: Sequence[PreparedCase], depth_mm: float) -> BundleRecord:
    """The model's record, before threshold and smallest lesion are chosen."""
    trial = trials[0]
    seeds = [each.seed for each in trials]
    made_of = {"loss": trial.loss, "dataset": trial.dataset, "target": trial.target, "seeds": seeds}
    edges = np.median([case.spacing_mm for case in cases], axis=0).round(2).tolist()
    grid = {"spacing_mm": edges, "axes": orientation(cases[0].affine)}
    size = {"steps": trial.recipe.steps, "patients": len(trial.train)}
    return BundleRecord(
        network=trial.network,
        members=len(trials),
        channels=cases[0].channels,
        preparation=MATCHED.settings(),
        window=trial.recipe.window,
        overlap=trial.recipe.overlap,
        precision="float32",
        depth_mm=depth_mm,
        training={"task": TASK, "limits": LIMITS} | made_of | grid | size,
        licence="Apache-2.0",
        data_note=f"{len(trial.train)} synthetic patients; no real image was used for weights or threshold",
    )


def judge(
    network: torch.nn.Module, record: BundleRecord, chosen: ChosenThreshold, real: str, target: str | None, out: Path
) -> str:
    """Score network and methods without training on real cases, write and print all tables; sum them up in a line."""
    cases = real_cases(real, target, MATCHED)
    found = [probability(network, case, record) for case in cases]
    own = [lesions(case, part, chosen.threshold, chosen.smallest_mm3) for case, part in zip(cases, found, strict=True)]
    plain = real_cases(real, target, PreparationRecipe())  # these methods match visits themselves, or not at all
    masks = {"network": own} | {method.title: [method.mask(case) for case in plain] for method in METHODS.values()}
    rows = {
        name: {case.name: scores_of(case, mask) for case, mask in zip(cases, found, strict=True)}
        for name, found in masks.items()
    }
    write_scores(rows, out / "scores.csv")
    show(rows)
    show_sizes(masks, cases)
    means = {name: [np.mean([each[metric] for each in rows[name].values()]) for metric in METRICS[:2]] for name in rows}
    ours, without = (means[name] for name in ("network", METHODS["matched_difference_threshold"].title))
    return (
        f"mean Dice {ours[0]:.3f} and lesion-wise F1 {ours[1]:.3f} on {', '.join(case.name for case in cases)}; the "
        f"matched difference threshold, without training, has {without[0]:.3f} and {without[1]:.3f} there"
    )


def _changes(texts: Sequence[str]) -> dict[str, Any]:
    """Read `table.key=value` as nested tables; values as in TOML."""
    tables: dict[str, Any] = {}
    for text in texts:
        key, _, value = text.partition("=")
        part, _, name = key.rpartition(".")
        tables.setdefault(part, {})[name] = tomllib.loads(f"value = {value}")["value"]
    return tables.pop("", {}) | tables


def write_scores(rows: Mapping[str, Mapping[str, Scores]], file: Path) -> None:
    """Write method, case, metric and value as CSV."""
    with file.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(("method", "case", *METRICS))
        for method, cases in rows.items():
            writer.writerows((method, case, *(scores[metric] for metric in METRICS)) for case, scores in cases.items())


def show(rows: Mapping[str, Mapping[str, Scores]]) -> None:
    """Print a table for each metric: method, cases and mean."""
    for metric in METRICS:
        table = Table("method", *next(iter(rows.values())), "mean", title=metric)
        for method, cases in rows.items():
            values = [scores[metric] for scores in cases.values()]
            table.add_row(method, *(f"{value:.3f}" for value in (*values, float(np.nanmean(values)))))
        console.print(table)


def show_sizes(masks: Mapping[str, Sequence[NDArray[np.bool_]]], cases: Sequence[PreparedCase]) -> None:
    """Print of how many of the reference's lesions a voxel is marked, by volume, over all cases."""
    table = Table("method", *(f"below {size:g} mm3" for size in SIZES_MM3), "larger", title="lesions found")
    for method, found in masks.items():
        counts = [found_by_size(case, mask) for case, mask in zip(cases, found, strict=True)]
        groups = np.sum(counts, axis=0)
        table.add_row(method, *(f"{hits} of {total}" for hits, total in groups.tolist()))
    console.print(table)


if __name__ == "__main__":
    typer.run(main)

"""Transfer: a network trained on synthetic patients only, tested on real ones at several steps of its training.

    python benchmarks/transfer.py ../shared/data/lit --out transfer
    python benchmarks/transfer.py ../shared/data/lit --out short --steps 400 --evaluations 2
    python benchmarks/transfer.py ../shared/data/lit --out plain --change look_alikes.flow=[0,0]

Synthetic patients are drawn and prepared in OUT/cases (kept for the next run); the first `--valid` of them are for
validation. Each evaluation uses the threshold that is best for these, never one that is best for real patients.
OUT/curve.csv holds every evaluation, OUT/model.* the last network for `lesionloss predict`. A training run that was
killed continues from OUT/checkpoint. Several seeds or settings share their cases by `--cases FOLDER`.
"""

import csv
import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from lesionloss.core.files import write_text
from lesionloss.data.cohort import load_subject, open_cohort
from lesionloss.data.preparation.prepare_case import prepare_subject
from lesionloss.data.preparation.recipe import PreparationRecipe
from lesionloss.data.prepared import PreparedCase, load_prepared, save_prepared
from lesionloss.data.subject import Subject
from lesionloss.data.visible_lesions import visible_only
from lesionloss.inference import SlidingWindow, lesion_mask, predict_probability
from lesionloss.inference.difference_threshold import METHODS
from lesionloss.metrics import Case, score
from lesionloss.networks.bundle import BundleRecord, save_bundle
from lesionloss.synth import SyntheticPatient, SynthSettings, load_settings, profile_settings, synthesise
from lesionloss.training.checkpoint import Checkpoints
from lesionloss.training.loop import train
from lesionloss.training.observer import TrainingObserver
from lesionloss.training.trial import TrainingRecipe, Trial

THRESHOLDS = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6)
SMALLEST_MM3 = (0.0, 3.0, 6.0, 10.0, 15.0, 20.0)
WINDOW = (96, 96, 16)
METRICS = ("dice", "lesion_f1")
console = Console()


@dataclass(frozen=True, eq=False)
class TransferCases:
    """Synthetic cases for training and for validation (the choice of the threshold), and real ones for testing."""

    train: list[PreparedCase]
    validation: list[PreparedCase]
    test: list[PreparedCase]


@dataclass(frozen=True)
class ChosenThreshold:
    """Threshold and smallest lesion that are best for the validation cases, with their mean Dice."""

    threshold: float
    smallest_mm3: float
    dice: float


def main(
    real: Annotated[str, typer.Argument(help="Folder of real patients, or LAYOUT:PATH.")],
    out: Annotated[Path, typer.Option(help="Folder for curve, model and cases.")],
    target: Annotated[str | None, typer.Option(help="What counts as lesion; default: the layout's first.")] = None,
    cases: Annotated[Path | None, typer.Option(help="Folder of the synthetic cases; default: OUT/cases.")] = None,
    profile: Annotated[str, typer.Option(help="Profile of the synthetic patients.")] = "lit",
    config: Annotated[
        Path | None, typer.Option(help="TOML settings of the synthetic patients, in place of a profile.")
    ] = None,
    change: Annotated[
        list[str] | None, typer.Option(help="TABLE.KEY=VALUE of these settings; may be repeated.")
    ] = None,
    truth: Annotated[str, typer.Option(help="What counts as lesion: new, positive or change.")] = "positive",
    visible: Annotated[float, typer.Option(help="Smallest visible change (z) in synthetic references; 0: all.")] = 0.4,
    patients: Annotated[int, typer.Option(help="Synthetic patients for training.")] = 60,
    valid: Annotated[int, typer.Option(help="Synthetic patients for validation.")] = 6,
    cohort_seed: Annotated[int, typer.Option(help="Seed of the synthetic patients.")] = 7,
    seed: Annotated[int, typer.Option(help="Seed of weights and batches.")] = 1,
    network: Annotated[str, typer.Option(help="See lesionloss networks.")] = "longitudinal_vnet(filters=8)",
    loss: Annotated[str, typer.Option(help="The loss.")] = "cross_entropy",
    steps: Annotated[int, typer.Option(help="Training steps.")] = 1500,
    evaluations: Annotated[int, typer.Option(help="Points of the curve.")] = 5,
    batch: Annotated[int, typer.Option(help="Patches of a step.")] = 4,
    patch: Annotated[tuple[int, int, int], typer.Option(help="Voxels of a patch.")] = (48, 48, 16),
    learning_rate: Annotated[float, typer.Option(help="At the first step.")] = 2e-3,
    threads: Annotated[int, typer.Option(help="Threads; 0: all.")] = 0,
) -> None:
    """Train on synthetic patients and test on real ones."""
    if threads:
        torch.set_num_threads(threads)
    changes = _changes(change or []) | {"spacing_mm": "scanner", "ground_truth": truth}
    settings = load_settings(config, changes) if config else profile_settings(profile, changes)
    drawn = synthetic_cases(cases or out / "cases", patients + valid, cohort_seed, settings)
    made = [visible_only(case, visible) for case in drawn] if visible else drawn
    compared = TransferCases(made[valid:], made[:valid], real_cases(real, target))
    recipe = TrainingRecipe(
        steps=steps, batch=batch, patch=patch, jitter=10, foreground_share=0.5, learning_rate=learning_rate,
        poly_power=0.9,
        augment=True, precision="float32", window=WINDOW, overlap=0.25, threshold=0.5,
    )  # fmt: skip
    names = tuple(case.name for case in compared.train)
    trial = Trial(
        loss=loss, dataset=f"synth-{cohort_seed}", target=truth, network=network, fold=-1, seed=seed, train=names,
        test=(), recipe=recipe,
    )  # fmt: skip

    def see(net: torch.nn.Module, step: int) -> list[dict[str, Any]]:
        found = evaluate(net, step, compared)
        console.print(sentence(found))
        return [found]

    out.mkdir(parents=True, exist_ok=True)
    trained = train(
        trial,
        compared.train,
        checkpoints=Checkpoints(out / "checkpoint"),
        observer=TrainingObserver(max(1, steps // evaluations), see),
    )
    write_curve(trained.observed, out / "curve.csv")
    last = trained.observed[-1]
    seconds = round(trained.history[-1].seconds)
    write_bundle(out, trial, trained.network, compared.train[0], last)
    write_text(out / "trial.json", json.dumps({"trial": asdict(trial), "seconds": seconds}, indent=1) + "\n")
    show(last, compared, seconds)


def write_bundle(
    folder: Path, trial: Trial, network: torch.nn.Module, case: PreparedCase, row: Mapping[str, Any]
) -> None:
    """Write the model, with threshold and smallest lesion of its last evaluation, for `lesionloss predict`."""
    made_of = {"loss": trial.loss, "dataset": trial.dataset, "target": trial.target, "seed": trial.seed}
    bundle = BundleRecord(
        network=trial.network,
        channels=case.channels,
        preparation=PreparationRecipe().settings(),
        window=trial.recipe.window,
        overlap=trial.recipe.overlap,
        threshold=row["threshold"],
        min_volume_mm3=row["smallest_mm3"],
        training=made_of | {"steps": trial.recipe.steps, "patients": len(trial.train)},
        data_note="Trained on synthetic patients only.",
    )
    save_bundle(folder, network, bundle)


def _changes(texts: Sequence[str]) -> dict[str, Any]:
    """Read `table.key=value` as nested tables; values as in TOML."""
    tables: dict[str, Any] = {}
    for text in texts:
        key, _, value = text.partition("=")
        part, _, name = key.rpartition(".")
        tables.setdefault(part, {})[name] = tomllib.loads(f"value = {value}")["value"]
    return tables.pop("", {}) | tables


def synthetic_cases(folder: Path, count: int, seed: int, settings: SynthSettings) -> list[PreparedCase]:
    """Draw and prepare the first `count` patients of a cohort, except those that the folder holds already."""
    declared = json.dumps({"seed": seed, "settings": settings.model_dump(mode="json")}, indent=1) + "\n"
    stored = folder / "settings.json"
    if stored.exists() and stored.read_text(encoding="utf-8") != declared:
        raise typer.BadParameter(f"{folder} holds cases of other settings; choose another --cases or --out")
    write_text(stored, declared)
    for index in track(range(count), "synthetic patients", console=Console(stderr=True)):
        file = folder / f"s{index:04d}.npz"
        if not file.exists():
            save_prepared(prepared(synthesise(seed, index, settings), file.stem), file)
    return [load_prepared(folder / f"s{index:04d}.npz") for index in range(count)]


def prepared(patient: SyntheticPatient, name: str) -> PreparedCase:
    """Prepare a synthetic patient as `lesionloss synth` and `lesionloss prepare` would, without files."""
    visits = tuple(visit[None].astype(np.float32) for visit in patient.visits)
    return prepare_subject(
        Subject(name, name, visits, patient.reference.astype(np.uint8), patient.brain, patient.affine)
    )


def real_cases(text: str, target: str | None) -> list[PreparedCase]:
    """Prepare all complete real cases."""
    cohort = open_cohort(text, target)
    return [prepare_subject(load_subject(cohort, files)) for files in cohort.cases]


def evaluate(network: torch.nn.Module, step: int, cases: TransferCases) -> dict[str, Any]:
    """Score the real patients, at the threshold and the smallest lesion that are best for synthetic ones."""
    chosen = choose(cases.validation, [probability(network, case) for case in cases.validation])
    row: dict[str, Any] = {"step": step, **asdict(chosen)}
    best: list[list[float]] = []
    for case in cases.test:
        found = probability(network, case)
        scores = scores_of(case, lesions(case, found, chosen.threshold, chosen.smallest_mm3))
        row |= {f"{metric} {case.name}": value for metric, value in scores.items()}
        best.append([dice(case, lesions(case, found, threshold, 0.0)) for threshold in THRESHOLDS])
    for metric in METRICS:
        row[f"{metric} mean"] = float(np.nanmean([row[f"{metric} {case.name}"] for case in cases.test]))
    row |= {f"real dice at {t}": value for t, value in zip(THRESHOLDS, np.mean(best, axis=0).tolist(), strict=True)}
    return row


def probability(network: torch.nn.Module, case: PreparedCase) -> NDArray[np.float32]:
    """Predict the lesion probability of a case: (X, Y, Z)."""
    return predict_probability(network, case, SlidingWindow(WINDOW, overlap=0.25), precision="float32", device="cpu")


def choose(cases: Sequence[PreparedCase], probabilities: Sequence[NDArray[np.float32]]) -> ChosenThreshold:
    """Choose the threshold first, then the smallest lesion, by mean Dice."""

    def mean(threshold: float, smallest: float) -> float:
        pairs = zip(cases, probabilities, strict=True)
        return float(np.mean([dice(case, lesions(case, found, threshold, smallest)) for case, found in pairs]))

    threshold = max(THRESHOLDS, key=lambda value: mean(value, 0.0))
    smallest = max(SMALLEST_MM3, key=lambda value: mean(threshold, value))
    return ChosenThreshold(threshold, smallest, mean(threshold, smallest))


def lesions(case: PreparedCase, found: NDArray[np.float32], threshold: float, smallest: float) -> NDArray[np.bool_]:
    """Make the mask (X, Y, Z) of a probability map, without lesions smaller than `smallest` mm3."""
    voxel = float(np.prod(case.spacing_mm))
    mask = lesion_mask(found[None], threshold=threshold, voxel_mm3=voxel, min_volume_mm3=smallest)
    return np.asarray(mask > 0)


def dice(case: PreparedCase, mask: NDArray[np.bool_]) -> float:
    """Compute Dice; 1 where both masks are empty."""
    total = int(mask.sum()) + int(case.lesion.sum())
    return 2 * int((mask & case.lesion).sum()) / total if total else 1.0


def scores_of(case: PreparedCase, mask: NDArray[np.bool_]) -> Mapping[str, float]:
    """Score a mask in all metrics."""
    return score(Case(mask, case.lesion, spacing_mm=case.spacing_mm), METRICS)


def sentence(row: Mapping[str, Any]) -> str:
    """Sum up an evaluation in one line."""
    each = ", ".join(f"{value:.3f}" for key, value in row.items() if key.startswith("dice ") and "mean" not in key)
    return (
        f"step {row['step']}: threshold {row['threshold']:g}, smallest {row['smallest_mm3']:g} mm3, synthetic Dice "
        f"{row['dice']:.3f}; real Dice {row['dice mean']:.3f} ({each}), lesion-wise F1 {row['lesion_f1 mean']:.3f}"
    )


def write_curve(rows: Sequence[Mapping[str, Any]], file: Path) -> None:
    """Write all evaluations as CSV."""
    with file.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def show(row: Mapping[str, Any], cases: TransferCases, seconds: float) -> None:
    """Print the last evaluation beside the difference threshold."""
    table = Table("method", *(f"{metric} {case.name}" for metric in METRICS for case in cases.test), *METRICS)
    for method in METHODS.values():
        plain = [scores_of(case, method.mask(case)) for case in cases.test]
        cells = [f"{scores[metric]:.3f}" for metric in METRICS for scores in plain]
        means = [f"{np.mean([scores[metric] for scores in plain]):.3f}" for metric in METRICS]
        table.add_row(method.title, *cells, *means)
    cells = [f"{row[f'{metric} {case.name}']:.3f}" for metric in METRICS for case in cases.test]
    table.add_row("network", *cells, *(f"{row[f'{metric} mean']:.3f}" for metric in METRICS))
    console.print(table)
    console.print(f"{seconds:.0f} s of training")


if __name__ == "__main__":
    typer.run(main)

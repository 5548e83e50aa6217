"""A synthetic run folder as a finished benchmark writes it: small brains with blobs, scores computed from masks.

As a program it writes a folder to look at the report: python tests/support/make_run.py OUT
"""

import csv
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
from numpy.typing import NDArray
from scipy import ndimage

from lesionloss.core.randomness import numpy_generator
from lesionloss.data.prepared import PreparedCase, channels_of, save_prepared
from lesionloss.runs.scores import COLUMNS
from lesionloss.runs.trial_manifest import MANIFEST, manifest_text

DIFFERENCE_THRESHOLD = "difference threshold (no training)"
AFFINE = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True)
class Made:
    """The content of the run. `skill` shifts the quality of the predictions of a loss; `threshold` is that of all."""

    patients: int = 12
    losses: tuple[str, ...] = ("dice_ce", "hytver", "dice", "0.5*dice + 0.5*focal(gamma=2.0)")
    skill: dict[str, float] = field(default_factory=dict)
    difference: bool = True
    folds: int = 2
    seeds: tuple[int, ...] = (1, 2)
    shape: tuple[int, int, int] = (48, 56, 16)
    spacing_mm: tuple[float, float, float] = (2.0, 2.0, 3.0)
    failed: tuple[tuple[str, int, int], ...] = ()
    missing: tuple[tuple[str, int, int], ...] = ()
    without_lesions: tuple[int, ...] = ()
    empty: tuple[tuple[str, int], ...] = ()
    unpaired: tuple[str, ...] = ()
    undefined: bool = False
    vanishing: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ("dice", "hd95", "lesion_f1", "brier", "false_positive_lesion_volume_mm3")
    radius: tuple[float, float] = (0.07, 0.17)
    names: dict[int, str] = field(default_factory=dict)
    threshold: float = 0.5

    def case(self, number: int) -> str:
        return self.names.get(number, f"patient{number:02d}")

    def trials(self) -> list[tuple[str, int, int]]:
        networks = [(loss, fold, seed) for loss in self.losses for fold in range(self.folds) for seed in self.seeds]
        return networks + [(DIFFERENCE_THRESHOLD, fold, 0) for fold in range(self.folds) if self.difference]


FULL = Made(
    skill={"hytver": 0.25, "dice": -0.1},
    failed=(("dice", 1, 2),),
    missing=(("hytver", 1, 2),),
    without_lesions=(7,),
    empty=(("dice", 3),),
)

TINY_CASES: dict[str, Any] = {"shape": (20, 24, 8), "spacing_mm": (4.0, 4.0, 6.0), "radius": (0.25, 0.45)}
SMALL_RUN = Made(
    patients=6,
    losses=("dice_ce", "dice"),
    difference=False,
    shape=(24, 28, 8),
    spacing_mm=(4.0, 4.0, 6.0),
    radius=(0.2, 0.4),
)


def make_run(folder: Path, made: Made = FULL) -> Path:
    """Write the run and return its folder."""
    cases = {made.case(number): anatomy(made, number) for number in range(made.patients)}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "plan.toml").write_text(tomli_w.dumps(run_plan(made)))
    write_prepared_cohort(folder / "cohort", made, cases)
    for number, trial in enumerate(made.trials()):
        if trial in made.failed:
            _write_failed(folder / "trials" / f"{number:016x}.failed", made, trial)
        elif trial not in made.missing:
            _write_trial(folder / "trials" / f"{number:016x}", made, trial, cases)
    return seal_run(folder)


def seal_run(folder: Path) -> Path:
    """Write the manifests of all finished trials, as of files that are right as they are."""
    for trial in (folder / "trials").glob("*[0-9a-f]"):
        if trial.suffix == "":
            (trial / MANIFEST).write_text(manifest_text(trial, trial.name, folder))
    return folder


def run_plan(made: Made) -> dict[str, Any]:
    """The content of plan.toml."""
    return {
        "name": "made-up",
        "question": "Does any loss find new lesions better than the others?",
        "losses": list(made.losses),
        "baseline_loss": made.losses[0],
        "primary_metric": "dice",
        "metrics": list(made.metrics),
        "folds": made.folds,
        "seeds": list(made.seeds),
        "data": {"source": "synth", "target": "new_lesions"},
        "network": {"text": "unet3d(filters=8)"},
        "training": {"steps": 150, "batch": 4, "patch": [32, 32, 32], "precision": "float32"},
    }


def anatomy(made: Made, number: int) -> dict[str, NDArray[Any]]:
    """Baseline, follow-up, difference, reference and brain of one patient; new lesions are bright in the follow-up."""
    draw = numpy_generator("anatomy", number)
    grid = np.stack(np.meshgrid(*(np.linspace(-1, 1, size) for size in made.shape), indexing="ij"))
    brain = (grid[0] / 0.85) ** 2 + (grid[1] / 0.9) ** 2 + (grid[2] / 1.1) ** 2 < 1
    texture = ndimage.gaussian_filter(draw.normal(size=made.shape), (2, 2, 1)) * 4
    ventricles = sum(
        (grid[0] - side) ** 2 / 0.01 + grid[1] ** 2 / 0.09 + grid[2] ** 2 / 0.2 < 1 for side in (-0.15, 0.15)
    )
    baseline = np.where(brain, texture - 2.5 * np.asarray(ventricles), -3.0)
    reference = np.zeros(made.shape, dtype=bool)
    for _ in range(0 if number in made.without_lesions else int(draw.integers(2, 6))):
        centre = draw.uniform(-0.5, 0.5, size=3)
        radius = draw.uniform(*made.radius)
        reference |= ((grid - centre[:, None, None, None]) ** 2 / np.array([1, 1, 3])[:, None, None, None]).sum(
            0
        ) < radius**2
    reference &= brain
    followup = np.where(brain, texture - 2.5 * np.asarray(ventricles) + draw.normal(size=made.shape) * 0.2, -3.0)
    followup = followup + 2.5 * ndimage.gaussian_filter(reference.astype(float), 0.5)
    return {
        "image": np.stack([baseline, followup, followup - baseline]).astype(np.float32),
        "reference": reference,
        "brain": brain,
    }


def write_prepared_cohort(folder: Path, made: Made, cases: dict[str, dict[str, NDArray[Any]]]) -> None:
    """Write the prepared cases and their index."""
    folder.mkdir(parents=True)
    affine = AFFINE @ np.diag([*made.spacing_mm, 1.0])
    entries = []
    for name, arrays in cases.items():
        case = PreparedCase(
            name=name,
            patient=name,
            image=arrays["image"],
            channels=channels_of(2, 1),
            reference=arrays["reference"].astype(np.uint8),
            brain=np.asarray(arrays["brain"], dtype=np.bool_),
            affine=affine,
            offset=(0, 0, 0),
            original_shape=made.shape,
        )
        save_prepared(case, folder / f"{name}.npz")
        voxel_mm3 = float(np.prod(made.spacing_mm))
        entries.append(
            {
                "name": name,
                "patient": name,
                "shape": list(made.shape),
                "spacing_mm": list(made.spacing_mm),
                "reference_mm3": float(arrays["reference"].sum()) * voxel_mm3,
            }
        )
    left_out = [{"name": "patient99", "reason": "study2_FLAIR.nii.gz is damaged: CRC check failed"}]
    (folder / "index.json").write_text(json.dumps({"cases": entries, "incomplete": left_out}))


def trial_record(made: Made, trial: tuple[str, int, int], key: str) -> dict[str, Any]:
    """The content of trial.toml."""
    loss, fold, seed = trial
    names = [made.case(number) for number in range(made.patients)]
    weights = f"w{fold}{seed}" + (loss if loss in made.unpaired else "")
    return {
        "key": key,
        "pair": f"pair{fold}{seed}",
        "method": "difference_threshold" if loss == DIFFERENCE_THRESHOLD else "network",
        "loss": loss,
        "dataset": "synth",
        "target": "new_lesions",
        "network": "unet3d(filters=8)",
        "fold": fold,
        "seed": seed,
        "steps": 150,
        "train": [name for number, name in enumerate(names) if number % made.folds != fold],
        "test": [name for number, name in enumerate(names) if number % made.folds == fold],
        "threshold": made.threshold,
        "weights_hash": weights,
        "batches_hash": f"b{fold}{seed}",
    }


def _write_failed(folder: Path, made: Made, trial: tuple[str, int, int]) -> None:
    folder.mkdir(parents=True)
    (folder / "trial.toml").write_text(tomli_w.dumps(trial_record(made, trial, folder.stem)))
    (folder / "failed.txt").write_text(
        "Traceback (most recent call last):\n  File ...\nRuntimeError: the loss became NaN at step 12\n"
    )


def _write_trial(
    folder: Path, made: Made, trial: tuple[str, int, int], cases: dict[str, dict[str, NDArray[Any]]]
) -> None:
    (folder / "predictions").mkdir(parents=True)
    record = trial_record(made, trial, folder.name)
    (folder / "trial.toml").write_text(tomli_w.dumps(record))
    machine = {
        "processor": "Some CPU @ 2.0 GHz",
        "device": "cpu",
        "threads": 2,
        "precision": "float32",
        "torch": "2.13.0",
        "seconds": {"training": 55.0, "total": 61.5},
    }
    (folder / "machine.json").write_text(json.dumps(machine))
    rows = []
    for name in record["test"]:
        probability = _predict(made, trial, name, cases[name])
        np.savez_compressed(folder / "predictions" / f"{name}.npz", probability=probability)
        rows += _scores(made, record, name, probability, cases[name])
    with (folder / "scores.csv").open("w", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(rows)
    if record["method"] == "network":
        write_history(folder, made, trial)


def write_history(folder: Path, made: Made, trial: tuple[str, int, int]) -> None:
    """Write history.csv of 150 steps."""
    loss, fold, seed = trial
    draw = numpy_generator("history", loss, fold, seed)
    vanishing = 0.6 if loss in made.vanishing else 0.0
    columns = ("step", "loss", "learning_rate", "seconds", "zero_gradient_tensors", "zero_gradient_lesion")
    with (folder / "history.csv").open("w", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow([*columns, "gradient_norm"])
        for step in range(1, 151):
            value = 0.9 * np.exp(-step / 60) + 0.1 + 0.05 * draw.normal()
            norm = round(0.1 + float(value) ** 2, 5)
            writer.writerow([step, round(float(value), 5), 0.001, round(0.4 * step, 3), 0.0, vanishing, norm])


def _predict(
    made: Made, trial: tuple[str, int, int], name: str, arrays: dict[str, NDArray[Any]]
) -> NDArray[np.float32]:
    """A blurred reference plus noise, most of it shared by losses and seeds: losses differ in their skill only."""
    loss, fold, seed = trial
    number = next(n for n in range(made.patients) if made.case(n) == name)
    if (loss, number) in made.empty:
        return np.zeros(made.shape, dtype=np.float32)
    shared = numpy_generator("prediction", name, fold).normal(size=made.shape)
    seeded = numpy_generator("prediction", name, fold, seed).normal(size=made.shape)
    own = numpy_generator("prediction", name, fold, seed, loss).normal(size=made.shape)
    noise = ndimage.gaussian_filter(shared + 0.5 * seeded + 0.3 * own, (1.5, 1.5, 1))
    blurred = ndimage.gaussian_filter(arrays["reference"].astype(float), (1.0, 1.0, 0.5))
    skill = made.skill.get(loss, 0.0) - (0.5 if loss == DIFFERENCE_THRESHOLD else 0.0)
    skill += 0.4 if number in made.without_lesions else 0.0
    logits = 8.5 * blurred - 4.5 + (1.6 - skill) * noise / noise.std()
    return np.where(arrays["brain"], 1 / (1 + np.exp(-logits)), 0.0).astype(np.float32)


def _scores(
    made: Made, record: dict[str, Any], name: str, probability: NDArray[np.float32], arrays: dict[str, NDArray[Any]]
) -> list[list[Any]]:
    mask, reference = probability >= made.threshold, arrays["reference"]
    status = {
        (True, True): "ok",
        (False, True): "pred_empty",
        (True, False): "ref_empty",
        (False, False): "both_empty",
    }[(bool(mask.any()), bool(reference.any()))]
    total = int(mask.sum() + reference.sum())
    dice = float("nan") if total == 0 or made.undefined else 2 * float((mask & reference).sum()) / total
    values = {
        "dice": (dice, ""),
        "hd95": (_hd95(mask, reference, made.spacing_mm), "mm"),
        "lesion_f1": (_lesion_f1(mask, reference), ""),
        "brier": (float(((probability - reference)[arrays["brain"]] ** 2).mean()), ""),
        "false_positive_lesion_volume_mm3": (float((mask & ~reference).sum()) * float(np.prod(made.spacing_mm)), "mm3"),
    }
    start = [record["loss"], "synth", record["fold"], record["seed"], "last", "test", name, ""]
    return [
        [*start, metric, "" if np.isnan(value) else value, unit, name, status]
        for metric, (value, unit) in values.items()
        if metric in made.metrics
    ]


def _hd95(mask: NDArray[np.bool_], reference: NDArray[np.bool_], spacing_mm: tuple[float, ...]) -> float:
    if not mask.any() or not reference.any():
        return float("inf") if mask.any() or reference.any() else float("nan")
    to_mask = ndimage.distance_transform_edt(~mask, sampling=spacing_mm)
    to_reference = ndimage.distance_transform_edt(~reference, sampling=spacing_mm)
    return float(max(np.percentile(to_mask[reference], 95), np.percentile(to_reference[mask], 95)))


def _lesion_f1(mask: NDArray[np.bool_], reference: NDArray[np.bool_]) -> float:
    if not mask.any() or not reference.any():
        return 0.0 if mask.any() or reference.any() else float("nan")
    found = [_share_hit(reference, mask), _share_hit(mask, reference)]
    return 2 * found[0] * found[1] / sum(found) if sum(found) else 0.0


def _share_hit(of: NDArray[np.bool_], by: NDArray[np.bool_]) -> float:
    labels, count = ndimage.label(of)
    return len(np.unique(labels[by & of])) / count


def with_epochs(folder: Path, splits: dict[str, float]) -> Path:
    """The run with scores of four epochs, rising evenly to the value that `splits` gives each split."""
    for path in (folder / "trials").glob("*/scores.csv"):
        rows = list(csv.DictReader(path.open()))
        first = next(row for row in rows if row["status"] == "ok")
        for epoch in range(1, 5):
            for split, value in splits.items():
                rows.append(first | {"epoch": str(epoch), "split": split, "value": repr(value * epoch / 4)})
            empty = {"split": "train_patches", "case": "empty", "value": "0", "status": "ref_empty"}
            rows.append(first | {"epoch": str(epoch)} | empty)
        with path.open("w", newline="") as handle:
            writer = csv.DictWriter(handle, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    return seal_run(folder)


if __name__ == "__main__":
    make_run(Path(sys.argv[1]), Made(**{**FULL.__dict__, "shape": (96, 112, 40), "spacing_mm": (1.6, 1.6, 3.0)}))

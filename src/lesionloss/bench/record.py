"""The files of one trial, as docs/architecture.md lays them out."""

import csv
import json
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
import torch
from numpy.typing import NDArray

import lesionloss
from lesionloss.bundle import Record, save_bundle
from lesionloss.data.prepare import PreparedCase
from lesionloss.metrics import Case, choose, score
from lesionloss.training.loop import Trained
from lesionloss.training.trial import Trial, flat_record

SCORE_COLUMNS = (
    *("loss", "dataset", "fold", "seed", "epoch", "split", "case", "lesion", "metric", "value", "unit"),
    *("patient", "status"),
)


def score_rows(
    trial: Trial, case: PreparedCase, mask: NDArray[np.bool_], metrics: Sequence[str]
) -> list[dict[str, Any]]:
    """One row per metric for one test case; an undefined value is an empty cell, an infinite one reads `inf`."""
    judged = Case(mask, case.lesion, spacing_mm=case.spacing_mm)
    shared = {
        "loss": trial.loss,
        "dataset": trial.dataset,
        "fold": trial.fold,
        "seed": trial.seed,
        "epoch": "last",
        "split": "test",
        "case": case.name,
        "lesion": "",
        "patient": case.patient,
        "status": judged.status,
    }
    return [
        shared
        | {"metric": name, "value": "" if np.isnan(value) else repr(float(value)), "unit": choose(name).metric.unit}
        for name, value in score(judged, metrics).items()
    ]


def write_scores(folder: Path, rows: Iterable[dict[str, Any]]) -> None:
    with (folder / "scores.csv").open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, SCORE_COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def write_trial(folder: Path, trial: Trial, hashes: dict[str, str]) -> None:
    (folder / "trial.toml").write_text(tomli_w.dumps(flat_record(trial) | hashes), encoding="utf-8")


def write_machine(folder: Path, seconds: dict[str, float], device: str) -> None:
    record = {
        "lesionloss": lesionloss.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "system": platform.platform(),
        "processor": processor_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else "cpu",
        "seconds": {name: round(value, 2) for name, value in seconds.items()},
    }
    (folder / "machine.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def processor_name() -> str:
    """The processor's own name where Linux tells it."""
    path = Path("/proc/cpuinfo")
    if path.exists():
        for line in path.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def write_model(
    folder: Path, trial: Trial, trained: Trained, case: PreparedCase, preparation: Mapping[str, Any]
) -> None:
    """The network as a bundle that `lesionloss predict` reads; `case` is any of those it was trained on."""
    training = {
        "lesionloss": lesionloss.__version__,
        "trial": trial.key,
        "loss": trial.loss,
        "dataset": trial.dataset,
        "target": trial.target,
        "cases": list(trial.train),
        "fold": trial.fold,
        "seed": trial.seed,
        "steps": trial.recipe.steps,
        "spacing_mm": [round(edge, 4) for edge in case.spacing_mm],
    }
    recipe = trial.recipe
    bundle = Record(
        network=trial.network,
        channels=case.channels,
        classes=case.classes,
        preparation=dict(preparation),
        window=recipe.window,
        overlap=recipe.overlap,
        threshold=recipe.threshold,
        training=training,
    )
    save_bundle(folder, trained.network, bundle)


def write_prediction(folder: Path, case: PreparedCase, probability: NDArray[np.float32]) -> None:
    """The probability map in 256 steps, on the cohort's grid."""
    path = folder / "predictions" / f"{case.name}.npz"
    path.parent.mkdir(exist_ok=True)
    np.savez_compressed(path, probability=np.rint(probability * 255).astype(np.uint8))

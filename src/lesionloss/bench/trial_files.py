"""The files of one trial, as docs/architecture.md lays them out."""

import csv
import json
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
import torch
from numpy.typing import NDArray

from lesionloss.core.version import __version__
from lesionloss.data.prepared import PreparedCase
from lesionloss.data.volume import orientation
from lesionloss.inference import lesion_probability
from lesionloss.metrics import Case, choose, score
from lesionloss.metrics.several_classes import mean_of_defined
from lesionloss.networks.bundle import Record, save_bundle
from lesionloss.training.loop import Trained
from lesionloss.training.trial import Trial, flat_record

SCORE_COLUMNS = (
    *("loss", "dataset", "fold", "seed", "epoch", "split", "case", "lesion", "metric", "value", "unit"),
    *("patient", "status"),
)


@dataclass(frozen=True, eq=False)
class Predicted:
    """Of a case: `probabilities` (L, *space) of the lesion classes, and `labels` (*space), 0 for background."""

    probabilities: NDArray[np.float32]
    labels: NDArray[np.uint8]

    @property
    def lesion(self) -> NDArray[np.float32]:
        """Probability (*space) of any lesion."""
        return lesion_probability(self.probabilities)


@dataclass(frozen=True)
class Place:
    """Where scores belong: a trial, an epoch (`last`: the chosen weights), and what was scored."""

    trial: Trial
    epoch: str = "last"
    split: str = "test"

    def row(self, case: str, patient: str, metric: str, value: float, status: str, lesion: str = "") -> dict[str, Any]:
        """One row of scores.csv; an undefined value is an empty cell, an infinite one reads `inf`."""
        return {
            "loss": self.trial.loss,
            "dataset": self.trial.dataset,
            "fold": self.trial.fold,
            "seed": self.trial.seed,
            "epoch": self.epoch,
            "split": self.split,
            "case": case,
            "lesion": lesion,
            "metric": metric,
            "value": "" if np.isnan(value) else repr(float(value)),
            "unit": choose(metric).metric.unit,
            "patient": patient,
            "status": status,
        }


def rows_of_case(
    place: Place, case: PreparedCase, predicted: Predicted, metrics: Sequence[str], *, classes: bool = True
) -> list[dict[str, Any]]:
    """One row per metric of a case. Of several classes, the mean over those in which it is defined.

    Then, with `classes`, follow the rows of each class, named in the column `lesion`.
    """
    whole = _judged(case, predicted.labels > 0, case.lesion, predicted.lesion)
    if len(case.classes) == 1:
        return [
            place.row(case.name, case.patient, name, value, whole.status)
            for name, value in score(whole, metrics).items()
        ]
    judged = [
        _judged(case, predicted.labels == number, case.reference == number, probability)
        for number, probability in enumerate(predicted.probabilities, 1)
    ]
    found = [score(each, metrics) for each in judged]
    rows = [
        place.row(case.name, case.patient, name, mean_of_defined([of[name] for of in found]).value, whole.status)
        for name in found[0]
    ]
    for class_name, each, values in zip(case.classes, judged, found, strict=True) if classes else ():
        rows += [
            place.row(case.name, case.patient, name, value, each.status, class_name) for name, value in values.items()
        ]
    return rows


def _judged(
    case: PreparedCase, mask: NDArray[np.bool_], reference: NDArray[np.bool_], probability: NDArray[np.float32]
) -> Case:
    return Case(
        mask, reference, spacing_mm=case.spacing_mm, brain=case.brain, ignore=case.ignore, probability=probability
    )


def write_scores(folder: Path, rows: Iterable[dict[str, Any]]) -> None:
    with (folder / "scores.csv").open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, SCORE_COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def write_trial(folder: Path, trial: Trial, hashes: Mapping[str, object]) -> None:
    (folder / "trial.toml").write_text(tomli_w.dumps(flat_record(trial) | dict(hashes)), encoding="utf-8")


def write_machine(folder: Path, seconds: dict[str, float], device: str) -> None:
    record = {
        "lesionloss": __version__,
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
        "lesionloss": __version__,
        "trial": trial.key,
        "loss": trial.loss,
        "dataset": trial.dataset,
        "target": trial.target,
        "cases": list(trial.train),
        "fold": trial.fold,
        "seed": trial.seed,
        "steps": trial.recipe.steps,
        "spacing_mm": [round(edge, 4) for edge in case.spacing_mm],
        "axes": orientation(case.affine),
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
        licence="not stated; see lesionloss train --licence",
        data_note=f"{len(trial.train)} cases of {trial.dataset}, {trial.target}; their terms hold for weights too",
    )
    save_bundle(folder, trained.network, bundle)


def write_prediction(folder: Path, case: PreparedCase, predicted: Predicted) -> None:
    """The probability of any lesion in 256 steps, on the cohort's grid; of several classes, the class numbers too."""
    path = folder / "predictions" / f"{case.name}.npz"
    path.parent.mkdir(exist_ok=True)
    arrays = {"probability": np.rint(predicted.lesion * 255).astype(np.uint8)}
    if len(case.classes) > 1:
        arrays["classes"] = predicted.labels
    np.savez_compressed(path, allow_pickle=False, **arrays)

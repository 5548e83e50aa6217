"""The small files of a trial's folder: trial.toml, machine.json, the network as a bundle, manifest.json."""

import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
import torch

from lesionloss.core.files import write_text
from lesionloss.core.number_text import plural
from lesionloss.core.version import __version__
from lesionloss.data.prepared import PreparedCase
from lesionloss.data.volume import orientation
from lesionloss.networks.bundle import BundleRecord, save_bundle
from lesionloss.runs.trial_manifest import MANIFEST, manifest_text
from lesionloss.training.arithmetic import arithmetic_record
from lesionloss.training.loop import TrainingResult
from lesionloss.training.mixture import read_mixture
from lesionloss.training.step_modes import EAGER
from lesionloss.training.trial import Trial, flat_record


def write_trial(folder: Path, trial: Trial, hashes: Mapping[str, object]) -> None:
    """Write trial.toml: every field of the trial, and the hashes that prove its pairing."""
    (folder / "trial.toml").write_text(tomli_w.dumps(flat_record(trial) | dict(hashes)), encoding="utf-8")


def write_manifest(folder: Path, key: str, run: Path) -> None:
    """Write manifest.json, after everything else: with it the trial is finished.

    Args:
        folder: The trial's folder.
        key: The trial.
        run: The folder with plan and cohort.
    """
    write_text(folder / MANIFEST, manifest_text(folder, key, run))


def write_machine(
    folder: Path, seconds: dict[str, float], device: str, step_mode: str = EAGER, cohort_on_device: str = "no"
) -> None:
    """Write machine.json: versions, hardware, threads, where batches are made, and the seconds of each stage."""
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
        "arithmetic": arithmetic_record(device, step_mode),
        "cohort_on_device": cohort_on_device,
        "seconds": {name: round(value, 2) for name, value in seconds.items()},
    }
    (folder / "machine.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def processor_name() -> str:
    """Return the processor's model where Linux tells it, else its architecture."""
    path = Path("/proc/cpuinfo")
    if path.exists():
        for line in path.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def write_model(
    folder: Path, trial: Trial, result: TrainingResult, case: PreparedCase, preparation: Mapping[str, Any]
) -> None:
    """Write the network as a bundle that `lesionloss predict` reads.

    Args:
        folder: The trial's folder.
        trial: The trial.
        result: What training returned.
        case: Any of the training cases, for channels, classes and voxel size.
        preparation: The preparation steps and their settings.
    """
    recipe = trial.recipe
    training = {
        "lesionloss": __version__,
        "trial": trial.key,
        "loss": trial.loss,
        "dataset": trial.dataset,
        "target": trial.target,
        "cases": list(trial.train),
        "fold": trial.fold,
        "seed": trial.seed,
        "steps": recipe.steps,
        "spacing_mm": [round(edge, 4) for edge in case.spacing_mm],
        "axes": orientation(case.affine),
    }
    bundle = BundleRecord(
        network=trial.network,
        channels=case.channels,
        classes=case.classes,
        preparation=dict(preparation),
        window=recipe.window,
        overlap=recipe.overlap,
        merge=recipe.merge,
        whole_image=recipe.whole_image,
        precision=recipe.precision,
        merge_of=recipe.merge_of,
        threshold=recipe.threshold,
        decision=recipe.decision,
        training=training,
        licence="not stated; see lesionloss train --licence",
        data_note=f"{_sources(trial)}, {trial.target}; their terms of use cover the weights",
    )
    save_bundle(folder, result.network, bundle)


def _sources(trial: Trial) -> str:
    """How many cases of which data sets a trial was trained on."""
    mixtures = [read_mixture(text) for text in trial.recipe.mix]
    counts = {mixture.dataset: sum(name.startswith(mixture.prefix) for name in trial.train) for mixture in mixtures}
    counts = {trial.dataset: len(trial.train) - sum(counts.values()), **counts}
    return " and ".join(f"{plural(count, 'case')} of {dataset}" for dataset, count in counts.items())

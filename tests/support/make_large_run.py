"""A run folder as large as that of a paper: 40 patients, 13 losses, 5 seeds; three maps of each case are repeated."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
from numpy.typing import NDArray
from scipy import ndimage

from lesionloss.core.randomness import numpy_generator
from lesionloss.runs.scores import COLUMNS
from make_run import Made, anatomy, run_plan, seal_run, trial_record, write_history, write_prepared_cohort

LOSSES = (
    *("dice_ce", "dice", "cross_entropy", "focal", "tversky", "focal_tversky", "hytver", "dice_plus_plus"),
    *("combo", "dice_focal", "generalised_dice", "0.5*dice + 0.5*focal(gamma=2.0)", "log_cosh_dice"),
)
SHAPE, SPACING_MM = (140, 170, 56), (1.0, 1.0, 3.0)
LOWEST_KEPT = 0.001  # lower probabilities are 0 in the maps that a benchmark keeps


def make_large_run(folder: Path, patients: int = 40, seeds: tuple[int, ...] = (1, 2, 3, 4, 5)) -> Path:
    """Write the run. Scores are drawn, not computed: this folder is for size and speed only."""
    metrics = ("dice", "hd95", "lesion_f1", "brier", "precision", "recall")
    made = Made(
        patients=patients,
        losses=LOSSES,
        seeds=seeds,
        folds=5,
        difference=False,
        shape=SHAPE,
        spacing_mm=SPACING_MM,
        metrics=metrics,
        radius=(0.03, 0.09),
    )
    cases = {made.case(number): anatomy(made, number) for number in range(patients)}
    folder.mkdir(parents=True)
    (folder / "plan.toml").write_text(tomli_w.dumps(run_plan(made)))
    write_prepared_cohort(folder / "cohort", made, cases)
    maps = {name: _maps(name, arrays) for name, arrays in cases.items()}
    for number, trial in enumerate(made.trials()):
        place = folder / "trials" / f"{number:016x}"
        (place / "predictions").mkdir(parents=True)
        record = trial_record(made, trial, place.name)
        (place / "trial.toml").write_text(tomli_w.dumps(record))
        (place / "machine.json").write_text(
            json.dumps({"torch": "2.13.0", "device": "cpu", "seconds": {"total": 61.5}})
        )
        for name in record["test"]:
            (place / "predictions" / f"{name}.npz").write_bytes(maps[name][number % len(maps[name])])
        _write_drawn_scores(place, record, metrics)
        write_history(place, made, trial)
    return seal_run(folder)


def _maps(name: str, arrays: dict[str, NDArray[Any]]) -> list[bytes]:
    """Three maps of a case, as files."""
    import io

    blurred = ndimage.gaussian_filter(arrays["reference"].astype(np.float32), 1.0)
    files = []
    for number in range(3):
        noise = ndimage.gaussian_filter(
            numpy_generator("large", name, number).normal(size=blurred.shape).astype(np.float32), 1.5
        )
        p = np.where(arrays["brain"], 1 / (1 + np.exp(-(12 * blurred - 9 + 1.2 * noise / noise.std()))), 0)
        out = io.BytesIO()
        np.savez_compressed(out, probability=np.where(p >= LOWEST_KEPT, p, 0).astype(np.float32))
        files.append(out.getvalue())
    return files


def _write_drawn_scores(folder: Path, record: dict[str, Any], metrics: tuple[str, ...]) -> None:
    with (folder / "scores.csv").open("w", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(COLUMNS)
        for name in record["test"]:
            level = numpy_generator("level", name).uniform(0.3, 0.8)
            for metric in metrics:
                value = float(np.clip(level + numpy_generator(name, record["key"], metric).normal(0, 0.08), 0, 1))
                start = [record["loss"], "synth", record["fold"], record["seed"], "last", "test", name, ""]
                writer.writerow([*start, metric, value * (40 if metric == "hd95" else 1), "", name, "ok"])

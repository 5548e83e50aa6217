"""What a run folder holds: the plan, the trials that ended well, those that failed or are missing, and the cohort.

Loading reads the small files only; scores, images and probability maps are read when they are asked for.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lesionloss.runs.trial_records import FailedTrial, MissingTrial, RunTrial
from lesionloss.runs.run_files import read_arrays, read_json, read_toml, refuse_former_run
from lesionloss.runs.scores import read_scores
from lesionloss.core.catalogue import nearest
from lesionloss.data.prepared import load_prepared
from lesionloss.core.errors import DataError, UsageError

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "DIFFERENCE_THRESHOLD",
    "RUNS",
    "CohortCase",
    "FailedTrial",
    "LeftOut",
    "MissingTrial",
    "Results",
    "RunTrial",
    "load",
    "run_folders",
]

DIFFERENCE_THRESHOLD = "difference_threshold"
RUNS = "runs"


@dataclass(frozen=True)
class CohortCase:
    """One case of the cohort: its patient, the grid its masks live on, and how much lesion the reference has."""

    name: str
    patient: str
    shape: tuple[int, ...]
    spacing_mm: tuple[float, ...]
    reference_mm3: float

    @property
    def diagonal_mm(self) -> float:
        """The longest distance the grid can hold: what a missed case is charged for an infinite distance."""
        return float(np.linalg.norm(np.asarray(self.shape) * np.asarray(self.spacing_mm)))


@dataclass(frozen=True)
class LeftOut:
    """A case that was found but not used, and why."""

    case: str
    reason: str


@dataclass(frozen=True)
class Results:
    """A run folder, read lazily; `load` makes one."""

    folder: Path
    plan: Mapping[str, Any]
    trials: tuple[RunTrial, ...]
    failed: tuple[FailedTrial, ...]
    missing: tuple[MissingTrial, ...]
    cohort: tuple[CohortCase, ...]
    left_out: tuple[LeftOut, ...]

    @cached_property
    def scores(self) -> "pd.DataFrame":
        """All scores.csv in one long table, with the columns `key` and `method` in front.

        Raises DataError naming the file and the line where a table is damaged.
        """
        import pandas as pd

        tables = []
        for trial in self.trials:
            table = read_scores(trial.folder / "scores.csv")
            table.insert(0, "key", trial.key)
            table.insert(1, "method", trial.method)
            tables.append(table.assign(loss=trial.loss, fold=trial.fold, seed=trial.seed))
        return pd.concat(tables, ignore_index=True) if tables else read_scores(None).assign(key="", method="")

    @cached_property
    def held_out(self) -> "Mapping[str, pd.DataFrame]":
        """The rows of `scores` that are about held-out cases, by metric."""
        table = self.scores[self.scores["split"] == "test"]
        return {str(metric): rows for metric, rows in table.groupby("metric", sort=False)}

    @cached_property
    def losses(self) -> tuple[str, ...]:
        """Losses in the plan's order, then whatever else was run (the method without a network last)."""
        planned = [str(text) for text in self.plan.get("losses", [])]
        found = sorted({trial.loss for trial in self.trials} | {trial.loss for trial in self.failed})
        return tuple(dict.fromkeys(planned + found))

    @cached_property
    def metrics(self) -> tuple[str, ...]:
        """Metrics that were scored, the primary one first, then in the plan's order."""
        scored = list(dict.fromkeys(self.scores["metric"]))
        wished = [self.primary_metric, *map(str, self.plan.get("metrics", []))]
        return tuple(dict.fromkeys([name for name in wished if name in scored] + scored))

    @property
    def primary_metric(self) -> str:
        return str(self.plan.get("primary_metric", "dice"))

    @property
    def baseline_loss(self) -> str:
        """The loss the others are compared with. Raises UsageError for a run without any loss."""
        if not self.losses:
            raise UsageError(f"{self.folder}: no loss was planned or run; there is nothing to compare")
        return str(self.plan.get("baseline_loss", self.losses[0]))

    def case(self, name: str) -> dict[str, NDArray[Any]]:
        """The arrays of a prepared case: image (channels, *space), reference, brain and, where there is one, ignore
        (*space), affine (4, 4); `channels`: their names as JSON.

        Raises UsageError for an unknown case, DataError for a damaged file.
        """
        known = [case.name for case in self.cohort]
        if name not in known:
            raise UsageError(f"{self.folder}: no case is named {name!r}; {nearest(name, known)}")
        case = load_prepared(self.folder / "cohort" / f"{name}.npz")
        arrays: dict[str, NDArray[Any]] = {
            "image": case.image,
            "reference": case.reference,
            "brain": case.brain,
            "affine": case.affine,
        }
        ignore: dict[str, NDArray[Any]] = {} if case.ignore is None else {"ignore": case.ignore}
        return {**arrays, **ignore, "channels": np.array(json.dumps(case.channels))}

    def has_probability(self, key: str, case: str) -> bool:
        """Whether the probability map of a held-out case was kept."""
        return (self.folder / "trials" / Path(key).name / "predictions" / f"{Path(case).name}.npz").is_file()

    def probability(self, key: str, case: str) -> NDArray[np.float32]:
        """The probability map (X, Y, Z) in [0, 1] of one held-out case, as it was kept in 8 bits.

        Raises UsageError for an unknown trial, DataError where the map is absent or damaged.
        """
        for trial in self.trials:
            if trial.key == key:
                arrays = read_arrays(trial.folder / "predictions" / f"{Path(case).name}.npz")
                if "probability" not in arrays:
                    raise DataError(f"{trial.folder}/predictions/{case}.npz: no array named 'probability'")
                return (arrays["probability"] / np.float32(255)).astype(np.float32)
        raise UsageError(f"{self.folder}: no trial {key!r}; {nearest(key, [trial.key for trial in self.trials])}")

    def classes(self, key: str, case: str) -> NDArray[np.uint8] | None:
        """The class numbers (*space) that one held-out case was scored by; None where the run has one class.

        Raises UsageError for an unknown trial, DataError where the file is absent or damaged.
        """
        for trial in self.trials:
            if trial.key == key:
                found = read_arrays(trial.folder / "predictions" / f"{Path(case).name}.npz").get("classes")
                return None if found is None else found.astype(np.uint8)
        raise UsageError(f"{self.folder}: no trial {key!r}; {nearest(key, [trial.key for trial in self.trials])}")

    def machine(self, key: str) -> dict[str, Any]:
        """What machine.json of a trial says; empty where there is none."""
        return read_json(self.folder / "trials" / Path(key).name / "machine.json")


def load(folder: str | Path) -> Results:
    """Read a run folder.

    Raises UsageError where there is no such folder or it holds no run, DataError naming the damaged file.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UsageError(f"no folder {folder}; give the folder that `lesionloss bench --out` has written")
    if not (folder / "plan.toml").is_file():
        raise UsageError(f"{folder} is not a run folder: it has no plan.toml; give what `lesionloss bench --out` wrote")
    refuse_former_run(folder)
    inner = run_folders(folder)
    if inner != [folder]:
        names = ", ".join(str(path) for path in inner)
        raise UsageError(f"{folder} holds {len(inner)} runs; name one of them: {names}")
    plan = read_toml(folder / "plan.toml")
    trials = tuple(_trial(path) for path in _trial_folders(folder, failed=False))
    done = {trial.key for trial in trials}
    failed = tuple(_failed(path) for path in _trial_folders(folder, failed=True) if path.stem not in done)
    cohort, left_out = _read_cohort(folder / "cohort" / "index.json")
    return Results(folder, plan, trials, failed, _missing(plan, trials, failed), cohort, left_out)


def run_folders(folder: str | Path) -> list[Path]:
    """The folders of runs that a folder holds: itself, or those of a plan of several data sets or networks."""
    inner = [path.parent for path in sorted((Path(folder) / RUNS).glob("*/plan.toml"))]
    return inner or [Path(folder)]


def _trial_folders(folder: Path, *, failed: bool) -> list[Path]:
    found = sorted(path for path in (folder / "trials").glob("*") if path.is_dir() and path.suffix != ".partial")
    wanted = [path for path in found if (path.suffix == ".failed") == failed]
    return [path for path in wanted if not failed or (path / "trial.toml").is_file()]


def _trial(folder: Path) -> RunTrial:
    record = read_toml(folder / "trial.toml")
    try:
        return RunTrial(
            key=folder.name,
            loss=str(record["loss"]),
            method=str(record.get("method", "network")),
            fold=int(record["fold"]),
            seed=int(record["seed"]),
            folder=folder,
            record=record,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{folder}/trial.toml: key {error} is missing or not what it should be") from error


def _failed(folder: Path) -> FailedTrial:
    trial = _trial(folder)
    note = folder / "failed.txt"
    text = note.read_text(encoding="utf-8", errors="replace") if note.is_file() else ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return FailedTrial(folder.stem, trial.loss, trial.fold, trial.seed, lines[-1] if lines else "no reason was kept")


def _missing(
    plan: Mapping[str, Any], trials: tuple[RunTrial, ...], failed: tuple[FailedTrial, ...]
) -> tuple[MissingTrial, ...]:
    """What the plan asks for, less what is there. Folds are numbered from 0 unless the folder shows otherwise."""
    have = {(t.loss, t.fold, t.seed) for t in trials} | {(t.loss, t.fold, t.seed) for t in failed}
    folds = plan.get("folds", 0)
    if isinstance(folds, int):
        first = 1 if any(fold == folds for _, fold, _ in have) else 0
        folds = list(range(first, first + folds))
    return tuple(
        MissingTrial(str(loss), int(fold), int(seed))
        for loss in plan.get("losses", [])
        for fold in folds
        for seed in plan.get("seeds", [])
        if (loss, fold, seed) not in have
    )


def _read_cohort(path: Path) -> tuple[tuple[CohortCase, ...], tuple[LeftOut, ...]]:
    index = read_json(path)
    try:
        cases = tuple(
            CohortCase(
                name=str(entry["name"]),
                patient=str(entry["patient"]),
                shape=tuple(int(size) for size in entry["shape"]),
                spacing_mm=tuple(float(size) for size in entry["spacing_mm"]),
                reference_mm3=float(entry["reference_mm3"]),
            )
            for entry in index.get("cases", [])
        )
        left_out = tuple(LeftOut(str(entry["name"]), str(entry["reason"])) for entry in index.get("incomplete", []))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise DataError(f"{path}: an entry has no usable {error}; prepare the cohort again") from error
    return cases, left_out

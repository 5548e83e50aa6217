"""Read a run folder: its plan, its trial records and its cohort index."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

from lesionloss.core.errors import DataError, UsageError, expect_type
from lesionloss.runs.earlier_plans import read_earlier_plans
from lesionloss.runs.results import RUNS, Results
from lesionloss.runs.run_files import Kind, check_types, read_json, read_toml, refuse_former_run
from lesionloss.runs.run_records import (
    NOISE_FLOOR,
    TRIALS,
    CohortCase,
    FailedTrial,
    LeftOut,
    MissingTrial,
    RunTrial,
)
from lesionloss.runs.trial_manifest import PLAN, bound_files, plan_file, read_manifest, verified

MOST_TRIALS = 1_000_000
PLAN_TYPES: Mapping[str, Kind] = {"losses": [str], "metrics": [str], "seeds": [int], "collected": dict}
TRIAL_TYPES: Mapping[str, Kind] = {
    "loss": str,
    "method": str,
    "fold": int,
    "seed": int,
    "last_step": int,
    "threshold": float,
    "train": [str],
    "test": [str],
    "batches_hash_at": dict,
}


def load(folder: str | Path) -> Results:
    """Read a run folder. Scores and arrays are read later, when they are needed.

    Args:
        folder: What `lesionloss bench --out` or `lesionloss collect` wrote.

    Returns:
        The results of the run.

    Raises:
        UsageError: There is no such folder, or it holds no run.
        DataError: A file is damaged or was written by an older version; the message names it.
    """
    expect_type(folder, (str, PathLike), "run", "give the path of a folder")
    folder = Path(folder)
    if not folder.is_dir():
        raise UsageError(f"no folder {folder}; give the folder that `lesionloss bench --out` has written")
    if not plan_file(folder).is_file():
        raise UsageError(f"{folder} is not a run folder: it has no plan.toml; give what `lesionloss bench --out` wrote")
    refuse_former_run(folder)
    inner = run_folders(folder)
    if inner != [folder]:
        names = ", ".join(str(path) for path in inner)
        raise UsageError(f"{folder} holds {len(inner)} runs; name one of them: {names}")
    plan = _plan(plan_file(folder))
    cohort, left_out = _read_cohort(folder / "cohort" / "index.json")
    bound, earlier = bound_files(folder), read_earlier_plans(folder, plan)
    digests = [each.sha256 for each in earlier]
    trials = tuple(_finished(path, folder, bound, digests) for path in trial_folders(folder, failed=False))
    done = {trial.key for trial in trials}
    failed = tuple(_failed(path) for path in trial_folders(folder, failed=True) if path.stem not in done)
    repeated = tuple(
        _finished(path, folder, bound, digests) for path in trial_folders(folder, NOISE_FLOOR, failed=False)
    )
    missing = () if "collected" in plan else _missing(plan, trials, failed)  # what lacks is in its list of mismatches
    return Results(folder, plan, trials, failed, missing, cohort, left_out, repeated, earlier_plans=earlier)


def _plan(path: Path) -> dict[str, Any]:
    """The plan, with losses, folds and seeds that are lists and numbers, and not too many."""
    plan = read_toml(path)
    folds = plan.get("folds", 0)
    check_types(plan, {**PLAN_TYPES, "folds": [int] if isinstance(folds, list) else int}, path)
    count = len(folds) if isinstance(folds, list) else folds
    trials = count * len(plan.get("losses", [])) * len(plan.get("seeds", []))
    if not 0 <= trials <= MOST_TRIALS:
        raise DataError(f"{path}: {trials} trials by its losses, folds and seeds, expected 0 to {MOST_TRIALS}")
    return plan


def run_folders(folder: str | Path) -> list[Path]:
    """The run folders inside a folder: itself, or those of a plan of several data sets or networks."""
    inner = [path.parent for path in sorted((Path(folder) / RUNS).glob("*/plan.toml"))]
    return inner or [Path(folder)]


def trial_folders(folder: Path, place: str = TRIALS, *, failed: bool) -> list[Path]:
    """The folders of the trials of a run, in `place`, that failed, or of those that are finished."""
    found = sorted(path for path in (folder / place).glob("*") if path.is_dir() and path.suffix != ".partial")
    chosen = [path for path in found if (path.suffix == ".failed") == failed]
    return [path for path in chosen if not failed or (path / "trial.toml").is_file()]


def _finished(folder: Path, run: Path, bound: Mapping[str, str], earlier_plans: Collection[str]) -> RunTrial:
    """A finished trial, which must be the one that its manifest describes, made with the plan and cohort of the run."""
    trial = _trial(folder)
    manifest = read_manifest(folder)
    if manifest.key != folder.name:
        raise DataError(f"{folder} holds the trial {manifest.key}; give the folder that name")
    verified(folder, "trial.toml", manifest.files)
    for name in manifest.changed(bound, earlier_plans):
        earlier = " (nor is an earlier plan)" if name == PLAN and earlier_plans else ""
        raise DataError(
            f"{run / name}{earlier} is not what trial {folder.name} was made with: damaged or edited; "
            f"restore it, or bench into a new folder (lesionloss verify {run} lists all that changed)"
        )
    return replace(trial, files=manifest.files, plan_sha256=manifest.bound.get(PLAN, ""))


def read_trial_record(folder: Path) -> dict[str, Any]:
    """Read the trial.toml of a trial's folder.

    Raises:
        DataError: It is damaged, or a value that is read has another type.
    """
    record = read_toml(folder / "trial.toml")
    check_types(record, TRIAL_TYPES, folder / "trial.toml")
    return record


def _trial(folder: Path) -> RunTrial:
    record = read_trial_record(folder)
    if record.get("method") == "difference":
        raise DataError(f"{folder}/trial.toml: method 'difference' is from version 0.1; bench into a new folder")
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
    """The trials of the plan that are not there. Folds are numbered from 0 unless the folder shows otherwise."""
    have = {(t.loss, t.fold, t.seed) for t in trials} | {(t.loss, t.fold, t.seed) for t in failed}
    folds = plan.get("folds", 0)
    if isinstance(folds, int):
        folds *= plan.get("repeats", 1)
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
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
        raise DataError(f"{path}: an entry has no usable {error}; prepare the cohort again") from error
    return cases, left_out

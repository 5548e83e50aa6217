"""manifest.json of a finished trial: checksums of all its files, of the plan and of the cohort. It is written last."""

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from lesionloss.core.errors import DataError
from lesionloss.core.files import is_file_name, sha256_of
from lesionloss.core.sealed_json import is_intact, seal
from lesionloss.runs.run_files import read_json

MANIFEST = "manifest.json"
FORMAT = 1
PLAN, COLLECTED, COHORT_INDEX = "plan.toml", "collected.toml", "cohort/index.json"
FILES = (
    *("trial.toml", "machine.json", "history.csv", "scores.csv", "log.txt", "model.json", "model.safetensors"),
    "predictions/*.npz",
)
MIXED = "mixed"  # the folder of cohorts whose cases are mixed into the training cases
REPAIR = "remove the trial's folder and bench again"


@dataclass(frozen=True)
class Manifest:
    """What a finished trial consists of.

    Attributes:
        key: The trial.
        bound: Checksums of plan and cohort, see `bound_files`.
        files: Checksum of each file of the trial, by its name inside the trial's folder.
    """

    key: str
    bound: Mapping[str, str]
    files: Mapping[str, str]

    def changed(self, bound: Mapping[str, str], earlier_plans: Collection[str] = ()) -> list[str]:
        """Which of plan and cohort are not those that the trial was made with.

        Args:
            bound: The checksums of today.
            earlier_plans: Checksums of the plans that the run had before it was extended.
        """
        differ = [name for name, digest in self.bound.items() if bound.get(name) != digest]
        return [name for name in differ if name != PLAN or self.bound[PLAN] not in earlier_plans]


def plan_file(run: Path) -> Path:
    """Return the file that says what a run is: the plan of a benchmark, or the record of collected predictions."""
    collected = run / COLLECTED
    return collected if collected.is_file() else run / PLAN


def manifest_text(trial: Path, key: str, run: Path) -> str:
    """Return the manifest of a trial whose files are all written.

    Args:
        trial: The trial's folder.
        key: The trial.
        run: The folder with plan and cohort.
    """
    record = {
        "format": FORMAT,
        "key": key,
        "bound": bound_files(run),
        "files": {name: sha256_of(trial / name) for name in files_of(trial)},
    }
    return seal(record)


def files_of(trial: Path) -> list[str]:
    """Return the names of the files that a manifest lists, inside the trial's folder."""
    return sorted(path.relative_to(trial).as_posix() for pattern in FILES for path in trial.glob(pattern))


def read_manifest(trial: Path) -> Manifest:
    """Read the manifest of a trial.

    Raises:
        DataError: It is absent, damaged, edited, of another trial, or from a newer version.
    """
    path = trial / MANIFEST
    if not path.is_file():
        raise DataError(f"{path} is absent, so the trial is not complete; {REPAIR}")
    record = read_json(path)
    try:
        intact = is_intact(path.read_text(encoding="utf-8"), record)
        manifest = Manifest(record["key"], dict(record["bound"]), dict(record["files"]))
        intact = intact and all(map(_is_inside, manifest.files))
    except (KeyError, TypeError, ValueError, RecursionError):
        intact = False
    if not intact:
        raise DataError(f"{path} is damaged or was edited; {REPAIR}")
    if record.get("format") != FORMAT:
        raise DataError(
            f"{path}: format {record.get('format')}, this version reads {FORMAT}; install a newer lesionloss"
        )
    return manifest


def _is_inside(name: str) -> bool:
    """Whether a name in a manifest is that of a file of the trial."""
    return name.count("/") <= 1 and all(map(is_file_name, name.split("/")))


def verified(trial: Path, name: str, files: Mapping[str, str]) -> Path:
    """Return a file of a trial, after its checksum was compared.

    Args:
        trial: The trial's folder.
        name: The file inside it.
        files: The checksums of its manifest.

    Raises:
        DataError: It is absent, not part of the trial, damaged or edited.
    """
    path = trial / name
    if name not in files:
        absent = "" if is_file_name(path.name) and path.is_file() else "is absent, and "
        raise DataError(f"{path} {absent}is not in {MANIFEST}, so the trial did not write it; {REPAIR}")
    if not path.is_file():
        raise DataError(f"{path} is absent; {REPAIR}")
    if sha256_of(path) != files[name]:
        raise DataError(f"{path} is damaged or was edited since the trial ended; {REPAIR}")
    return path


def bound_files(run: Path) -> dict[str, str]:
    """Return the checksums of what all trials of a run were made with: plan, cohort, and what was mixed into it.

    Raises:
        DataError: One of them is absent or damaged.
    """
    try:
        indices = [run / COHORT_INDEX, *sorted(run.glob(f"{MIXED}/*/{COHORT_INDEX}"))]
        cohorts = {index.relative_to(run).as_posix(): _cohort_digest(index) for index in indices}
        return {plan_file(run).name: sha256_of(plan_file(run))} | cohorts
    except OSError as error:
        raise DataError(f"{plan_file(run)} can't be read: {error.strerror}") from error


def _cohort_digest(index: Path) -> str:
    """Return the digest of what a cohort's index says of its cases; empty where there is no index.

    The places of the raw images and the reasons why others were left out do not count: both may change when a run is
    continued on another machine.

    Raises:
        DataError: The index is damaged.
    """
    record = read_json(index)
    if not record:
        return ""
    try:
        cases = [{name: value for name, value in case.items() if name != "sha256"} for case in record.get("cases", ())]
    except (AttributeError, TypeError) as error:
        raise DataError(f"{index} is damaged ({error}); prepare the cohort again") from error
    kept = {name: value for name, value in record.items() if name != "incomplete"} | {"cases": cases}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()

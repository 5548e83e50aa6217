"""Compare a run folder with its manifests: which files are damaged, edited or absent."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lesionloss.core.errors import DataError, UsageError
from lesionloss.core.files import sha256_of
from lesionloss.data.cohort_index import INDEX, load_index
from lesionloss.data.prepared import load_prepared, load_record
from lesionloss.runs.earlier_plans import FOLDER as EARLIER_PLANS
from lesionloss.runs.earlier_plans import earlier_plan_files, read_earlier_plans
from lesionloss.runs.load_run import read_trial_record, run_folders, trial_folders
from lesionloss.runs.run_files import read_arrays, read_json, read_toml
from lesionloss.runs.run_records import NOISE_FLOOR
from lesionloss.runs.scores import read_scores
from lesionloss.runs.trial_manifest import (
    MANIFEST,
    MIXED,
    PLAN,
    Manifest,
    bound_files,
    files_of,
    plan_file,
    read_manifest,
)

ABSENT, DAMAGED, CHANGED, UNKNOWN = "absent", "damaged", "changed", "unknown"
PRETRAINED = "pretrained"


@dataclass(frozen=True)
class Finding:
    """One file that is not as the run wrote it.

    Attributes:
        file: Its path inside the run folder.
        state: `absent`; `damaged`: it can't be read; `changed`: it can be read, but was edited or has a damaged value;
            `unknown`: no manifest lists it.
        detail: What is wrong, in a few words.
    """

    file: str
    state: str
    detail: str


@dataclass(frozen=True)
class Verification:
    """What was compared, and what was found."""

    folder: Path
    trials: int
    cases: int
    findings: tuple[Finding, ...]


def verify_run(folder: Path) -> tuple[Verification, ...]:
    """Read and compare every file of a run, or of what `lesionloss train` wrote.

    Args:
        folder: The folder.

    Returns:
        One result for each run in the folder.

    Raises:
        UsageError: The folder holds neither.
    """
    if not plan_file(folder).is_file() and not (folder / "trials").is_dir():
        raise UsageError(f"{folder} is not a run folder: it has no {PLAN}; give what `lesionloss bench --out` wrote")
    return tuple(_verify_one(run) for run in run_folders(folder))


def _verify_one(run: Path) -> Verification:
    own = [run] if (run / "trial.toml").is_file() or (run / MANIFEST).is_file() else []  # of `train`
    pretrained = [path for path in (run / PRETRAINED).glob("*") if len(path.name) == 16 and path.is_dir()]
    trials = [*own, *trial_folders(run, failed=False), *trial_folders(run, NOISE_FLOOR, failed=False)]
    trials += sorted(pretrained)
    cohorts = [_cohort(folder, run) for folder in (run / "cohort", *sorted(run.glob(f"{MIXED}/*/cohort")))]
    cases, findings = sum(count for count, _ in cohorts), [finding for _, found in cohorts for finding in found]
    found = [finding for trial in trials for finding in _trial(trial, run)]
    return Verification(run, len(trials), cases, (*findings, *_bound(trials, run), *found))


def _trial(trial: Path, run: Path) -> Iterator[Finding]:
    place = trial.relative_to(run)
    try:
        manifest = read_manifest(trial)
    except DataError as error:
        state = DAMAGED if (trial / MANIFEST).is_file() else ABSENT
        yield Finding((place / MANIFEST).as_posix(), state, _reason(error))
        return
    if trial != run and manifest.key != trial.name:
        yield Finding(place.as_posix(), CHANGED, f"the folder of trial {manifest.key} under another name")
    for name, digest in manifest.files.items():
        path, shown = trial / name, (place / name).as_posix()
        if not path.is_file():
            yield Finding(shown, ABSENT, "the trial wrote it")
        elif sha256_of(path) != digest:
            problem = _unreadable(path)
            yield Finding(shown, DAMAGED if problem else CHANGED, problem or "its checksum differs: edited or damaged")
    for name in sorted({*files_of(trial)} - {*manifest.files}):
        yield Finding((place / name).as_posix(), UNKNOWN, "the trial did not write it")
    yield from _scores(trial, manifest, place)


def _scores(trial: Path, manifest: Manifest, place: Path) -> Iterator[Finding]:
    """Whether untouched scores hold every test case."""
    names = ("scores.csv", "trial.toml")
    if any(name not in manifest.files or not (trial / name).is_file() for name in names):
        return
    if any(sha256_of(trial / name) != manifest.files[name] for name in names):
        return
    try:
        read_scores(trial / "scores.csv", read_trial_record(trial).get("test", ()))
    except DataError as error:
        yield Finding((place / "scores.csv").as_posix(), DAMAGED, _reason(error))


def _unreadable(path: Path) -> str:
    """Why a file can't be read; empty if it can."""
    readers = {".toml": read_toml, ".json": read_json, ".npz": read_arrays}
    try:
        if path.name == "scores.csv":
            read_scores(path)
        elif path.suffix in readers:
            readers[path.suffix](path)
    except DataError as error:
        return _reason(error)
    return ""


def _bound(trials: list[Path], run: Path) -> Iterator[Finding]:
    """Whether plan and cohort are those that the trials were made with."""
    try:
        bound = bound_files(run)
    except DataError as error:
        absent = not plan_file(run).is_file()
        yield Finding(PLAN if absent else f"cohort/{INDEX}", ABSENT if absent else DAMAGED, _reason(error))
        return
    manifests = []
    for trial in trials:
        try:
            manifests.append(read_manifest(trial))
        except DataError:
            continue
    earlier = [sha256_of(path) for path in earlier_plan_files(run)]
    for name in bound:
        changed = [manifest.key for manifest in manifests if name in manifest.changed(bound, earlier)]
        if changed:
            state = CHANGED if (run / name).is_file() else ABSENT
            yield Finding(name, state, f"{len(changed)} of {len(manifests)} trials were made with another one")
    if earlier and not _unreadable(plan_file(run)):
        try:
            read_earlier_plans(run, read_toml(plan_file(run)))
        except DataError as error:
            yield Finding(EARLIER_PLANS, CHANGED, _reason(error))


def _cohort(folder: Path, run: Path) -> tuple[int, list[Finding]]:
    """The number of cases of a cohort of a run, and what is wrong with them."""
    place = folder.relative_to(run).as_posix()
    if not (folder / INDEX).is_file():
        return 0, []
    try:
        index = load_index(folder)
    except DataError as error:
        return 0, [Finding(f"{place}/{INDEX}", DAMAGED, _reason(error))]
    findings = []
    for entry in index.cases:
        path = folder / f"{entry.name}.npz"
        try:
            if load_prepared(path).content_sha256 != entry.content_sha256:
                findings.append(Finding(f"{place}/{path.name}", CHANGED, "not the case that the index lists"))
            elif not _record_agrees(path):
                findings.append(Finding(f"{place}/{entry.name}.json", CHANGED, "not the record inside the case"))
        except DataError as error:
            state = DAMAGED if path.is_file() else ABSENT
            findings.append(Finding(f"{place}/{path.name}", state, _reason(error)))
    return len(index.cases), findings


def _record_agrees(path: Path) -> bool:
    """Whether the record beside a case, for people and other programs, is the one inside it; it may be absent."""
    beside = path.with_suffix(".json")
    if not beside.is_file():
        return True
    try:
        return bool(json.loads(beside.read_text(encoding="utf-8")) == load_record(path))
    except (OSError, ValueError, RecursionError):
        return False


def _reason(error: Exception) -> str:
    """What an error says, without the path in front and without its advice."""
    return str(error).partition(";")[0]

"""Write the run folder of a collection. What is scored is kept, so a run that was interrupted or has grown goes on."""

import hashlib
import json
import shutil
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import tomli_w

from lesionloss.collecting.collected_cohort import write_cohort
from lesionloss.collecting.collected_record import FORMAT, RunFacts, collected_record, trial_record
from lesionloss.collecting.found_predictions import Collection, Mismatch, Prediction, TrialName, digest_of
from lesionloss.collecting.mismatches import Design
from lesionloss.collecting.score_prediction import ROWS, Rules, ScoreTask, score_prediction, scores_csv
from lesionloss.collecting.side_by_side import Progress, side_by_side
from lesionloss.core.errors import DataError, UsageError
from lesionloss.core.files import write_text
from lesionloss.runs.run_files import read_toml
from lesionloss.runs.run_records import MACHINE
from lesionloss.runs.trial_manifest import COLLECTED, MANIFEST, bound_files, manifest_text, read_manifest, verified

KEY_LETTERS = 16
STRICT = "they must all fit (strict)"


def write_run(
    out: Path,
    collection: Collection,
    design: Design,
    facts: RunFacts,
    rules: Rules,
    *,
    strict: bool,
    jobs: int,
    progress: Progress,
    notify: Callable[[Mismatch], None],
) -> None:
    """Score all predictions and write the run folder.

    Raises:
        UsageError: The folder holds something else.
        DataError: No prediction can be read, or `strict` and one can't be.
    """
    refuse_foreign(out)
    digests, unread = write_cohort(
        out / "cohort", collection.predictions, collection.labels, collection.left_out, jobs, progress
    )
    found = [Mismatch("reference or image that can't be used", each.reason) for each in unread]
    groups: dict[TrialName, list[Prediction]] = defaultdict(list)
    for each in collection.predictions:
        if each.case in digests:
            groups[each.trial].append(each)
    keys = {trial: _key(trial, group, rules, digests, collection) for trial, group in groups.items()}
    bad = _score(out, groups, keys, rules, jobs, progress)
    found += [Mismatch("prediction that can't be scored", why) for why in bad.values()]
    for mismatch in found:
        notify(mismatch)
    if sum(map(len, groups.values())) == len(bad):
        raise DataError(f"no prediction can be scored: {len(found)} problems; the first: {found[0]}")
    if found and strict:
        raise DataError(f"{len(found)} files can't be used; {STRICT}. What is scored is kept")
    whole = replace(collection, mismatches=(*collection.mismatches, *found))
    write_text(out / COLLECTED, tomli_w.dumps(collected_record(whole, design, facts)))
    _finish(out, whole, groups, keys, bad, rules)


def _score(
    out: Path,
    groups: Mapping[TrialName, Sequence[Prediction]],
    keys: Mapping[TrialName, str],
    rules: Rules,
    jobs: int,
    progress: Progress,
) -> dict[tuple[TrialName, str], str]:
    """Score what is not scored yet; return why predictions can't be scored, by trial and case."""
    bad: dict[tuple[TrialName, str], str] = {}
    tasks = []
    for trial, group in groups.items():
        folder = out / "trials" / keys[trial]
        if (folder / MANIFEST).is_file():
            bad |= {(trial, f"{n}"): why for n, why in enumerate(read_toml(folder / "trial.toml").get("problems", []))}
        else:
            partial = folder.with_name(f"{folder.name}.partial")
            tasks += [ScoreTask(each, out / "cohort" / f"{each.case}.npz", partial, rules) for each in group]
    for task, why in zip(tasks, side_by_side(score_prediction, tasks, "predictions", jobs, progress), strict=True):
        if why:
            bad[task.prediction.trial, task.prediction.case] = why
    return bad


def refuse_foreign(out: Path) -> None:
    """Stop at a folder that holds something else than a collection.

    Raises:
        UsageError: It does.
    """
    if out.is_file() or (out.is_dir() and any(out.iterdir()) and not _is_collection(out)):
        raise UsageError(f"{out} exists and holds no collection; give a new folder")


def _is_collection(out: Path) -> bool:
    """Whether a folder is a collection, or one that was interrupted: only its own folders, and no plan."""
    return (out / COLLECTED).is_file() or {path.name for path in out.iterdir()} <= {"cohort", "trials"}


def _key(
    trial: TrialName, group: Sequence[Prediction], rules: Rules, digests: Mapping[str, str], collection: Collection
) -> str:
    """The digest of all that determines the scores of a trial, and of what is known of its training."""
    record = collection.proofs.get(trial)
    known = {"training": asdict(record) if record else None, "train": list(collection.train.get(trial.fold, ()))}
    cases = {each.case: [digest_of(each.prediction), digest_of(each.probability), digests[each.case]] for each in group}
    whole = {"format": FORMAT, "trial": asdict(trial), "rules": asdict(rules), "cases": cases, "known": known}
    return key_of(json.dumps(whole, sort_keys=True))


def key_of(text: str) -> str:
    """Return the key of a trial from a text that determines it."""
    return hashlib.sha256(text.encode()).hexdigest()[:KEY_LETTERS]


def _finish(
    out: Path,
    collection: Collection,
    groups: Mapping[TrialName, Sequence[Prediction]],
    keys: Mapping[TrialName, str],
    bad: Mapping[tuple[TrialName, str], str],
    rules: Rules,
) -> None:
    """Turn the parts of each trial into its folder, and remove trials of another state of the files."""
    for trial, group in groups.items():
        folder = out / "trials" / keys[trial]
        cases = [each.case for each in group if (trial, each.case) not in bad]
        if (folder / MANIFEST).is_file():
            seal(folder, out)
        elif cases:
            maps = {each.probability is not None or rules.threshold is not None for each in group}
            known = collection.proofs.get(trial)
            train = {"train": list(collection.train[trial.fold])} if trial.fold in collection.train else {}
            more = {
                "maps": "probabilities" if maps == {True} else "masks",
                "threshold": 0.5 if rules.threshold is None else rules.threshold,
                "problems": [why for (of, _), why in bad.items() if of == trial],
                **train,
                **(known.trial if known else {}),
            }
            record = trial_record(trial, collection.source.get("dataset", ""), cases, more)
            _assemble(folder, trial, record, known.machine if known else {}, out)
    remove_others(out, set(keys.values()))


def remove_others(out: Path, keys: AbstractSet[str]) -> None:
    """Remove the folders of trials that are no longer part of the run, as of files that have changed since."""
    for folder in (out / "trials").iterdir():
        if folder.is_dir() and folder.name.removesuffix(".partial") not in keys:
            shutil.rmtree(folder)


def _assemble(folder: Path, trial: TrialName, record: Mapping[str, Any], machine: Mapping[str, str], out: Path) -> None:
    """Make the folder of a trial of its parts: maps, and the rows of each case."""
    parts = folder.with_name(f"{folder.name}.partial")
    rows = [row for case in record["test"] for row in json.loads((parts / ROWS / f"{case}.json").read_text("utf-8"))]
    write_text(parts / "scores.csv", scores_csv(trial, str(record["dataset"]), rows))
    write_text(parts / "trial.toml", tomli_w.dumps({"key": folder.name, **record}))
    if machine:
        write_text(parts / MACHINE, json.dumps(machine, indent=1) + "\n")
    write_text(parts / MANIFEST, manifest_text(parts, folder.name, out))
    parts.rename(folder)
    shutil.rmtree(folder / ROWS)


def seal(folder: Path, out: Path) -> None:
    """Let the manifest of a finished trial name the present collected.toml, after its files were compared with it."""
    manifest = read_manifest(folder)
    shutil.rmtree(folder / ROWS, ignore_errors=True)
    if manifest.changed(bound_files(out)):
        for name in manifest.files:
            verified(folder, name, manifest.files)
        write_text(folder / MANIFEST, manifest_text(folder, folder.name, out))

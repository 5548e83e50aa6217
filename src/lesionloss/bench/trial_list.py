"""RUN/agenda.json: every trial of a run in the order of the work, written once before the first begins.

A worker anywhere needs nothing but the run's folder and a key. What must not change within a run stands here too: the
threads of a trial, since sums in another order have other last bits.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from lesionloss.bench.difference_threshold import NAME
from lesionloss.core.errors import DataError, UsageError
from lesionloss.core.files import create_text
from lesionloss.runs.results import DIFFERENCE_THRESHOLD
from lesionloss.runs.run_files import read_json
from lesionloss.training.trial import Recipe, Trial

FILE = "agenda.json"
FORMAT = 1


@dataclass(frozen=True)
class Agenda:
    """Trials in order, CPU threads of each, and about the bytes that a training step needs."""

    trials: tuple[Trial, ...]
    threads: int
    step_bytes: int

    @cached_property
    def by_key(self) -> Mapping[str, Trial]:
        return {trial.key: trial for trial in self.trials}

    def trial(self, key: str) -> Trial:
        """Raises UsageError for a key that the run doesn't have."""
        if key not in self.by_key:
            raise UsageError(f"this run has no trial {key!r}; see lesionloss bench --status DIR --json")
        return self.by_key[key]


def difference_trials(trials: Sequence[Trial]) -> tuple[Trial, ...]:
    """The method without a network, once per fold."""
    first_seed = min(trial.seed for trial in trials)
    folds = {trial.fold: trial for trial in reversed(trials) if trial.seed == first_seed}
    return tuple(replace(trial, loss=NAME, method=DIFFERENCE_THRESHOLD, seed=0) for trial in folds.values())


def settle(folder: Path, agenda: Agenda, threads_asked: int | None = None) -> Agenda:
    """Write the agenda of a run that begins; of one that goes on, give the stored one.

    Raises UsageError where the stored one has other trials (the data or the arithmetic changed) or another number of
    threads than was asked for.
    """
    if create_text(folder / FILE, _text(agenda)):
        return agenda
    stored = read_agenda(folder)
    if [trial.key for trial in stored.trials] != [trial.key for trial in agenda.trials]:
        raise UsageError(f"{folder} holds trials of another kind ({_difference(stored, agenda)}); choose another --out")
    if threads_asked not in (None, stored.threads):
        raise UsageError(
            f"{folder} was begun with {stored.threads} thread(s) a trial, and results have other last bits with "
            f"{threads_asked}; leave --threads out, or choose another --out"
        )
    return stored


def read_agenda(folder: Path) -> Agenda:
    """What a run folder has to do. Raises UsageError where it has no agenda yet, DataError where it is damaged."""
    path = folder / FILE
    record = read_json(path)
    if not record:
        raise UsageError(f"{folder} has no {FILE}: its patients are not prepared yet, or it is no run of lesionloss")
    if record.get("format", 0) > FORMAT:
        raise UsageError(f"{path} is of format {record['format']}; install a newer lesionloss")
    try:
        agenda = Agenda(tuple(map(trial_from, record["trials"])), int(record["threads"]), int(record["step_bytes"]))
        keys = [entry["key"] for entry in record["trials"]]
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} is no whole agenda ({error!r}); remove it and bench again") from error
    if keys != [trial.key for trial in agenda.trials]:
        raise DataError(f"{path}: a trial does not agree with its key; remove the file and bench again")
    return agenda


def trial_from(record: Mapping[str, Any]) -> Trial:
    """A trial from plain values. Raises KeyError or TypeError where a field is missing or unknown."""
    values = {name: _tuples(value) for name, value in record.items() if name not in ("key", "recipe")}
    recipe = Recipe(**{name: _tuples(value) for name, value in record["recipe"].items()})
    return Trial(**values, recipe=recipe)


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _text(agenda: Agenda) -> str:
    trials = [{"key": trial.key} | asdict(trial) for trial in agenda.trials]
    record = {"format": FORMAT, "threads": agenda.threads, "step_bytes": agenda.step_bytes, "trials": trials}
    return json.dumps(record, indent=1) + "\n"


def _difference(stored: Agenda, wanted: Agenda) -> str:
    """In which fields the trials differ."""
    if len(stored.trials) != len(wanted.trials):
        return f"{len(stored.trials)} trials, now {len(wanted.trials)}"
    names: set[str] = set()
    for ours, theirs in zip(stored.trials, wanted.trials, strict=True):
        names |= {field.name for field in fields(Trial) if getattr(ours, field.name) != getattr(theirs, field.name)}
        names |= {
            f"recipe.{field.name}"
            for field in fields(Recipe)
            if getattr(ours.recipe, field.name) != getattr(theirs.recipe, field.name)
        }
    return f"it differs in {', '.join(sorted(names - {'recipe'}))}"

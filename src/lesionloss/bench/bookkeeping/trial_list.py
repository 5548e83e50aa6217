"""RUN/trial_list.json: all trials of a run in their order, written before the first starts and when a run is extended.

A worker needs only the run folder and the key of a trial. The file also fixes the CPU threads of a trial, because sums
in another order differ in their last bits.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from lesionloss.core.errors import DataError, UsageError
from lesionloss.core.files import create_text, write_text
from lesionloss.core.sealed_json import is_intact, seal
from lesionloss.runs.earlier_plans import earlier_plan_files
from lesionloss.runs.run_files import read_json, refuse_former_run
from lesionloss.runs.run_records import TRIALS
from lesionloss.training.trial import TrainingRecipe, Trial

FILE = "trial_list.json"
FORMAT = 1


@dataclass(frozen=True)
class TrialList:
    """Trials in order, CPU threads of each, and the estimated bytes of a training step."""

    trials: tuple[Trial, ...]
    threads: int
    step_bytes: int

    @cached_property
    def by_key(self) -> Mapping[str, Trial]:
        """The trials by their keys."""
        return {trial.key: trial for trial in self.trials}

    @property
    def losses(self) -> int:
        """The number of losses: the networks of a pair."""
        return len({trial.loss for trial in self.trials if trial.method == "network"})

    def trial(self, key: str) -> Trial:
        """Return the trial of a key.

        Raises:
            UsageError: The run has no such trial.
        """
        if key not in self.by_key:
            raise UsageError(f"this run has no trial {key!r}; see lesionloss bench --status DIR --json")
        return self.by_key[key]


def store_trial_list(folder: Path, trial_list: TrialList, threads: int | None = None) -> TrialList:
    """Write the trial list of a new run, or return the stored one of a run that is continued.

    A run whose plan was extended gets the new trials; what holds for all of its trials stays.

    Args:
        folder: The run folder.
        trial_list: What the plan gives today.
        threads: The number of threads that the user gave; None: none.

    Raises:
        UsageError: The stored list has other trials (the data or the precision changed) or another number of threads.
    """
    if create_text(folder / FILE, _text(trial_list)):
        return trial_list
    stored, grows = read_trial_list(folder), bool(earlier_plan_files(folder))
    refuse_other_trials(folder, trial_list, threads, grows=grows)
    if stored.by_key.keys() < trial_list.by_key.keys():
        stored = TrialList(trial_list.trials, stored.threads, stored.step_bytes)
        write_text(folder / FILE, _text(stored))
    return stored


def refuse_other_trials(folder: Path, trial_list: TrialList, threads: int | None = None, *, grows: bool) -> None:
    """Refuse to continue a run with other trials.

    Args:
        folder: The run folder; nothing is refused where it has no trial list yet.
        trial_list: What the plan gives today.
        threads: The number of threads that the user gave; None: none.
        grows: Whether there may be more trials than the run has.

    Raises:
        UsageError: The stored list has other trials (the data or the precision changed) or another number of threads.
    """
    if not (folder / FILE).is_file():
        return
    stored = read_trial_list(folder)
    same = [trial.key for trial in stored.trials] == [trial.key for trial in trial_list.trials]
    if not same and not (grows and stored.by_key.keys() < trial_list.by_key.keys()):
        raise UsageError(f"{folder} holds other trials ({_what_changed(stored, trial_list)}); choose another --out")
    if threads not in (None, stored.threads):
        raise UsageError(
            f"{folder} was started with {stored.threads} thread(s) a trial, and results with {threads} differ in their "
            "last bits; leave --threads out, or choose another --out"
        )


def read_trial_list(folder: Path) -> TrialList:
    """Read the trial list of a run folder.

    Raises:
        UsageError: The folder has none yet, or is of version 0.1 or of a newer version.
        DataError: The file is damaged.
    """
    path = folder / FILE
    refuse_former_run(folder)
    record = read_json(path)
    if not record:
        raise UsageError(f"{folder} has no {FILE}: its patients are not prepared yet, or it is no run of lesionloss")
    try:
        if record.get("format", 0) > FORMAT:
            raise UsageError(f"{path} is of format {record['format']}; install a newer lesionloss")
        trials = tuple(map(_trial_from, record["trials"]))
        trial_list = TrialList(trials, int(record["threads"]), int(record["step_bytes"]))
        keys = [entry["key"] for entry in record["trials"]]
    except UsageError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise DataError(f"{path} is damaged ({error!r}); remove it and bench again") from error
    if keys != [trial.key for trial in trial_list.trials]:
        raise DataError(f"{path}: a trial does not agree with its key; remove the file and bench again")
    if not is_intact(path.read_text(encoding="utf-8"), record):
        raise DataError(f"{path} is damaged or was edited; remove it and bench again")
    return trial_list


def lock_name(place: str, key: str) -> str:
    """Return the name of a trial's lock and checkpoints; trials of the run have their key, others their folder, too."""
    return key if place == TRIALS else f"{place}-{key}"


def _trial_from(record: Mapping[str, Any]) -> Trial:
    values = {name: _tuples(value) for name, value in record.items() if name not in ("key", "recipe")}
    recipe = TrainingRecipe(**{name: _tuples(value) for name, value in record["recipe"].items()})
    return Trial(**values, recipe=recipe)


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _text(trial_list: TrialList) -> str:
    trials = [{"key": trial.key} | asdict(trial) for trial in trial_list.trials]
    record = {"format": FORMAT, "threads": trial_list.threads, "step_bytes": trial_list.step_bytes, "trials": trials}
    return seal(record)


def _what_changed(stored: TrialList, wanted: TrialList) -> str:
    """In which fields the trials differ; trials of the same loss, fold and seed are compared."""
    ours, theirs = ({_place(trial): trial for trial in each.trials} for each in (stored, wanted))
    names: set[str] = set()
    for place in ours.keys() & theirs.keys():
        one, other = ours[place], theirs[place]
        names |= {field.name for field in fields(Trial) if getattr(one, field.name) != getattr(other, field.name)}
        names |= {
            f"recipe.{field.name}"
            for field in fields(TrainingRecipe)
            if getattr(one.recipe, field.name) != getattr(other.recipe, field.name)
        }
    if names:
        return f"they differ in {', '.join(sorted(names - {'recipe'}))}"
    if len(stored.trials) != len(wanted.trials):
        return f"{len(stored.trials)} trials, now {len(wanted.trials)}"
    return "they are in another order"


def _place(trial: Trial) -> tuple[str, str, int, int]:
    return trial.method, trial.loss, trial.fold, trial.seed

"""RUN/earlier-plans: the plans that a run had before losses or seeds were added to it, 1.toml first.

They are kept because finished trials are bound to the plan that they were made with, and because a reader must know
what was added after results were there.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from lesionloss.core.errors import DataError
from lesionloss.core.files import sha256_of
from lesionloss.core.number_text import listed, plural
from lesionloss.runs.run_files import read_toml
from lesionloss.runs.run_records import RunTrial

FOLDER = "earlier-plans"
MAY_GROW = ("losses", "losses_files", "seeds")
_RESTORE = "trials are bound to it: restore it from a copy, or bench into a new folder"


@dataclass(frozen=True)
class EarlierPlan:
    """A plan before an extension: its content, and its checksum."""

    plan: Mapping[str, Any]
    sha256: str


def earlier_plan_files(run: Path) -> list[Path]:
    """Return the files of earlier plans, the first plan first."""
    return sorted((run / FOLDER).glob("[0-9]*.toml"), key=lambda path: (len(path.name), path.name))


def read_earlier_plans(run: Path, plan: Mapping[str, Any]) -> tuple[EarlierPlan, ...]:
    """Read the plans that a run had before.

    Args:
        run: The run folder.
        plan: Its plan of today.

    Raises:
        DataError: One is absent or damaged, or differs from `plan` in more than losses and seeds that were added.
    """
    found = []
    for number, path in enumerate(earlier_plan_files(run), 1):
        if path.name != f"{number}.toml":
            raise DataError(f"{path.parent}/{number}.toml is absent; {_RESTORE}")
        try:
            earlier = read_toml(path)
        except DataError as error:
            raise DataError(f"{path} is damaged; {_RESTORE}") from error
        if not _holds(plan, earlier):
            raise DataError(f"{path} has more than losses and seeds that differ from the run's plan.toml; {_RESTORE}")
        found.append(EarlierPlan(earlier, sha256_of(path)))
    return tuple(found)


def additions(plan: Mapping[str, Any], earlier: tuple[EarlierPlan, ...], trials: tuple[RunTrial, ...]) -> str:
    """Say what was added to the plan of a run after trials had finished; empty if nothing was."""
    sentences, digests = [], set[str]()
    for before, after in pairwise([*earlier, EarlierPlan(plan, "")]):
        digests.add(before.sha256)
        finished = sum(trial.plan_sha256 in digests for trial in trials)
        parts = []
        for key, one, several in (("losses", "the loss", "the losses"), ("seeds", "seed", "seeds")):
            new = [str(value) for value in after.plan.get(key, ()) if value not in before.plan.get(key, ())]
            parts += [f"{one if len(new) == 1 else several} {listed(new)}"] if new else []
        if parts and finished:
            sentences.append(f"{listed(parts)} {_were(parts)} added when {plural(finished, 'trial')} had finished")
    if not sentences:
        return ""
    return f"{'; '.join(sentences)}: their results could be seen by then, which no interval takes into account"


def _were(parts: list[str]) -> str:
    return "was" if len(parts) == 1 and parts[0].startswith(("the loss ", "seed ")) else "were"


def _holds(later: Any, earlier: Any, *, grows: bool = True) -> bool:
    """Whether a plan holds all of an earlier one; keys that a newer version has added do not count."""
    if not isinstance(earlier, Mapping):
        return bool(later == earlier)
    if not isinstance(later, Mapping):
        return False
    return all(
        _is_part(value, later.get(key, [])) if grows and key in MAY_GROW else _holds(later.get(key), value, grows=False)
        for key, value in earlier.items()
    )


def _is_part(earlier: Any, later: Any) -> bool:
    return isinstance(earlier, list) and isinstance(later, list) and all(each in later for each in earlier)

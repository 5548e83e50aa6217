"""The trials of a run: those that ended well, with the proof that two are a pair, and those that failed or lack."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class RunTrial:
    """A trial that ended well. `record` holds every field of its trial.toml."""

    key: str
    loss: str
    method: str
    fold: int
    seed: int
    folder: Path
    record: Mapping[str, Any]

    def is_pair_of(self, other: "RunTrial") -> bool:
        """Whether two trainings are proven to differ in nothing but the loss: pair digest, initial weights, batches.

        Of two that ended at different steps, the batches up to the earlier end are compared.
        """
        mine, theirs = ([str(trial.record.get(key, "")) for key in ("pair", "weights_hash")] for trial in (self, other))
        if mine != theirs or not all(mine):
            return False
        last = min(self.last_step, other.last_step)
        seen = [trial.batches_at(last) for trial in (self, other)]
        return seen[0] == seen[1] != ""

    @property
    def last_step(self) -> int:
        """The step at which the training ended, of trainings that may end early; else 0."""
        return int(self.record.get("last_step", 0))

    def batches_at(self, step: int) -> str:
        """The hash of all batches up to a step at which the training might have ended, or up to its end."""
        if step == self.last_step:
            return str(self.record.get("batches_hash", ""))
        return str(dict(self.record.get("batches_hash_at", {})).get(str(step), ""))


@dataclass(frozen=True)
class FailedTrial:
    """A trial that stopped with an error; `reason` is the last line of its traceback."""

    key: str
    loss: str
    fold: int
    seed: int
    reason: str


@dataclass(frozen=True)
class MissingTrial:
    """A trial that the plan asks for and the folder has not, neither whole nor failed."""

    loss: str
    fold: int
    seed: int

"""The log of training steps, history.csv; other programs that show them are in `trackers`."""

import csv
from dataclasses import astuple, fields
from pathlib import Path
from types import TracebackType
from typing import Self

from lesionloss.training.state import Step
from lesionloss.training.trackers import StepLog


class HistoryFile:
    """history.csv, one line for each step, flushed before the next step starts.

    A training run that continues from a checkpoint logs the steps before it again, so the file is always complete.
    """

    def __init__(self, folder: Path) -> None:
        """Create the file with its header."""
        self._handle = (folder / "history.csv").open("w", newline="", encoding="utf-8")
        self._writer = csv.writer(self._handle, lineterminator="\n")
        self._writer.writerow([field.name for field in fields(Step)])

    def __call__(self, step: Step) -> None:
        """Write a step."""
        self._writer.writerow(astuple(step))
        self._handle.flush()

    def __enter__(self) -> Self:
        """Return the log."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self._handle.close()


def combine_logs(*logs: StepLog) -> StepLog:
    """Return one log that passes every step to several."""

    def log_step(step: Step) -> None:
        for log in logs:
            log(step)

    return log_step

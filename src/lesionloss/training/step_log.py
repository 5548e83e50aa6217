"""Logs of training steps: history.csv always, TensorBoard's event files where TensorBoard is installed."""

import csv
import importlib.util
import math
import shutil
from collections.abc import Callable
from dataclasses import astuple, fields
from pathlib import Path
from types import TracebackType
from typing import Self

from lesionloss.training.state import Step

StepLog = Callable[[Step], None]


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


class EventFile:
    """Event files for TensorBoard in FOLDER/tensorboard: loss, learning rate and gradient health of every step."""

    def __init__(self, folder: Path) -> None:
        """Create the folder; what was there before is removed."""
        from torch.utils.tensorboard import SummaryWriter

        place = folder / "tensorboard"
        shutil.rmtree(place, ignore_errors=True)
        self._writer = SummaryWriter(str(place))

    def __call__(self, step: Step) -> None:
        """Write a step."""
        for field in fields(Step):
            value = getattr(step, field.name)
            if field.name not in ("step", "seconds") and not math.isnan(value):
                self._writer.add_scalar(field.name, value, step.step)

    def __enter__(self) -> Self:
        """Return the log."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the files."""
        self._writer.close()


def tensorboard_installed() -> bool:
    """Return whether the extra `lesionloss[tensorboard]` is installed."""
    return importlib.util.find_spec("tensorboard") is not None


def combine_logs(*logs: StepLog) -> StepLog:
    """Return one log that passes every step to several."""

    def log_step(step: Step) -> None:
        for log in logs:
            log(step)

    return log_step

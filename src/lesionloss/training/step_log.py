"""Where a training writes its steps as they happen: history.csv always, TensorBoard's event files where it can."""

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

Log = Callable[[Step], None]


class HistoryFile:
    """history.csv, one line per step, each on disk's way before the next step begins.

    A training that goes on from a checkpoint tells of the steps before, so the file is written anew and is whole.
    """

    def __init__(self, folder: Path) -> None:
        self._handle = (folder / "history.csv").open("w", newline="", encoding="utf-8")
        self._writer = csv.writer(self._handle, lineterminator="\n")
        self._writer.writerow([field.name for field in fields(Step)])

    def __call__(self, step: Step) -> None:
        self._writer.writerow(astuple(step))
        self._handle.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._handle.close()


class EventFile:
    """Event files for TensorBoard in FOLDER/tensorboard: loss, learning rate and gradient health of every step."""

    def __init__(self, folder: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        place = folder / "tensorboard"
        shutil.rmtree(place, ignore_errors=True)
        self._writer = SummaryWriter(str(place))

    def __call__(self, step: Step) -> None:
        for field in fields(Step):
            value = getattr(step, field.name)
            if field.name not in ("step", "seconds") and not math.isnan(value):
                self._writer.add_scalar(field.name, value, step.step)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()


def tensorboard_installed() -> bool:
    """Whether the extra `lesionloss[tensorboard]` is there."""
    return importlib.util.find_spec("tensorboard") is not None


def together(*watchers: Log) -> Log:
    """One watcher of steps that tells them to several."""

    def told(step: Step) -> None:
        for watcher in watchers:
            watcher(step)

    return told

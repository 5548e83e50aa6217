"""Predict one case after the other; each is written in a thread while the next one is predicted."""

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lesionloss.core.argument_types import with_checked_types
from lesionloss.core.errors import LesionLossError, UsageError
from lesionloss.core.locks import POLL_SECONDS, acquire_lock
from lesionloss.core.overlapping import overlapped
from lesionloss.inference.predict.output_files import (
    OutputFiles,
    bids_output_files,
    describe_dataset,
    plain_output_files,
)
from lesionloss.inference.predict.predict_in_memory import PredictSettings
from lesionloss.inference.predict.predict_inputs import CaseSource
from lesionloss.inference.predict.predict_one import FoundCase, PredictedCase, predict_unwritten, write_case
from lesionloss.networks.bundle import Bundle

Progress = Callable[[str, int, int], None]


@with_checked_types
def predict_cases(
    bundle: Bundle,
    sources: Sequence[CaseSource],
    out: Path,
    settings: PredictSettings,
    *,
    folder_each: bool,
    bids: bool = False,
    progress: Progress | None = None,
) -> tuple[list[PredictedCase], list[str]]:
    """Predict all cases; several processes with the same `out` share them.

    Args:
        bundle: The trained network with its record.
        sources: The cases.
        out: Folder for the results.
        settings: Threshold, inference mode and so on.
        folder_each: Whether each case gets a folder of its own in `out`.
        bids: Whether the results get names of BIDS derivatives instead.
        progress: Called after each case with its name, its number from 1 on, and the number of all.

    Returns:
        The predicted cases, and a line for each that failed; one that fails does not stop the others.

    Raises:
        UsageError: if two cases would get the same names, or other files are in the way and `force` is not set.
        LesionLossError: that of the case, if there is only one.
    """
    outputs = [_output_files(source, out, folder_each, bids) for source in sources]
    _check_distinct(sources, outputs)
    if bids:
        describe_dataset(out)
    bundle.network.to(settings.device)
    waiting = list(zip(sources, outputs, strict=True))
    with contextlib.ExitStack() as locks:
        run = _Run(bundle, settings, alone=len(sources) == 1, total=len(sources), progress=progress, locks=locks)
        while waiting:
            ended = overlapped(waiting, run.predict, run.write)
            elsewhere = [case for case, done in zip(waiting, ended, strict=True) if not done]  # of other processes
            if len(elsewhere) == len(waiting):
                time.sleep(POLL_SECONDS)
            waiting = elsewhere
    return [run.predicted[source.name] for source in sources if source.name in run.predicted], run.failures


@dataclass(frozen=True)
class _Locked:
    """A case that was predicted, was there already (None) or failed, and its lock."""

    found: FoundCase | LesionLossError | None
    held: contextlib.ExitStack


@dataclass
class _Run:
    """Predicts cases and, each in a thread beside the next one, writes them; a case stays locked until it is written.

    Attributes:
        bundle: The trained network with its record.
        settings: How to predict.
        alone: Whether there is one case only, whose error is raised.
        total: The number of cases.
        progress: As in `predict_cases`.
        locks: Holds what is left of the locks when an error ends everything.
        predicted: What was written, by the name of the case.
        failures: A line for each case that failed.
    """

    bundle: Bundle
    settings: PredictSettings
    alone: bool
    total: int
    progress: Progress | None
    locks: contextlib.ExitStack
    predicted: dict[str, PredictedCase] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def predict(self, case: tuple[CaseSource, OutputFiles]) -> _Locked | None:
        """Lock and predict a case; None where another process has it."""
        source, files = case
        lock = acquire_lock(files.lock)
        if lock is None:
            return None
        held = self.locks.enter_context(contextlib.ExitStack())
        held.enter_context(lock)
        try:
            found: FoundCase | LesionLossError | None = predict_unwritten(self.bundle, source, files, self.settings)
        except LesionLossError as error:  # is raised in its turn
            found = error
        return _Locked(found, held)

    def write(self, case: tuple[CaseSource, OutputFiles], locked: _Locked | None) -> bool:
        """Write a case and release it; False where another process has it."""
        if locked is None:
            return False
        source, files = case
        try:
            with locked.held:
                if isinstance(locked.found, LesionLossError):
                    raise locked.found
                self.predicted[source.name] = write_case(self.bundle, source, files, self.settings, locked.found)
        except LesionLossError as error:
            with contextlib.suppress(OSError):  # where it holds other files
                files.record.parent.rmdir()
            if self.alone:
                raise
            self.failures.append(str(error) if source.name in str(error) else f"{source.name}: {error}")
        if self.progress is not None:
            self.progress(source.name, len(self.predicted) + len(self.failures), self.total)
        return True


def _output_files(source: CaseSource, out: Path, folder_each: bool, bids: bool) -> OutputFiles:
    if bids:
        return bids_output_files(out, source.patient, source.session)
    return plain_output_files(out / source.name if folder_each else out)


def _check_distinct(sources: Sequence[CaseSource], outputs: Sequence[OutputFiles]) -> None:
    owners: dict[Path, str] = {}
    for source, files in zip(sources, outputs, strict=True):
        if files.mask in owners:
            raise UsageError(
                f"{owners[files.mask]} and {source.name} would both be written to {files.mask}; predict them separately"
            )
        owners[files.mask] = source.name

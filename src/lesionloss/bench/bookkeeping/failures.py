"""The record of a failed trial in RUN/trials/KEY.failed: cause, traceback and history so far.

The folder that these functions take is that of the trials.
"""

import errno
import json
import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lesionloss.core.errors import LesionLossError
from lesionloss.core.files import atomic_folder
from lesionloss.core.locks import new_holder
from lesionloss.runs.run_files import read_json

FILE = "failed.json"
CAUSES = ("not finite", "out of memory", "disk full", "killed", "error")


@dataclass(frozen=True)
class Failure:
    """Why a trial has no result.

    Attributes:
        cause: One of CAUSES.
        text: The traceback.
        call: Identifies the call of `bench` in which it happened.
    """

    cause: str
    text: str
    call: str

    @property
    def reason(self) -> str:
        """The last line of the traceback."""
        lines = [line.strip() for line in self.text.splitlines() if line.strip()]
        return lines[-1] if lines else self.cause


def cause_of(error: BaseException) -> str:
    """Return the one of CAUSES that fits an exception or what it was raised from."""
    for each in _chain(error):
        if type(each).__name__ == "TrainingFailed":
            return "not finite"
        text = str(each)
        if isinstance(each, MemoryError) or type(each).__name__ == "OutOfMemoryError" or "allocate memory" in text:
            return "out of memory"
        number = each.errno if isinstance(each, OSError) else None
        if number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) or "No space left" in text or "File too large" in text:
            return "disk full"
    return "error"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def failure_of_exit_code(code: int, call: str) -> Failure:
    """Return the failure of a process that ended without a record of its own.

    Args:
        code: Its exit code; negative: the signal that ended it.
        call: The call of `bench`.
    """
    if code >= 0:
        return Failure("error", f"its process ended with exit code {code} without a message", call)
    number = -code
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = "a signal"
    guess = ": probably out of memory; try fewer --jobs" if number == signal.SIGKILL else ""
    return Failure("killed", f"killed by signal {number} ({name}){guess}", call)


def failed_folder(trials: Path, key: str) -> Path:
    """Return where the failure of a trial is recorded."""
    return trials / f"{key}.failed"


def read_failure(trials: Path, key: str) -> Failure | None:
    """Read the failure of a trial; None where it has not failed."""
    place = failed_folder(trials, key)
    note = place / "failed.txt"
    if not place.is_dir():
        return None
    try:
        text = note.read_text(encoding="utf-8", errors="replace")
        record = read_json(place / FILE)
    except (OSError, LesionLossError):
        return Failure("error", "no reason was recorded", "")
    return Failure(str(record.get("cause", "error")), text, str(record.get("call", "")))


def remove_failure(trials: Path, key: str) -> None:
    """Remove the record of an earlier attempt."""
    shutil.rmtree(failed_folder(trials, key), ignore_errors=True)


def write_failure(trials: Path, key: str, trial_toml: str, failure: Failure) -> None:
    """Record the trial, the reason and the history so far, and remove the unfinished rest.

    Raises:
        OSError: Even that can't be written.
    """
    unfinished = trials / f"{key}.partial"
    history = unfinished / "history.csv"
    rows = history.read_text(encoding="utf-8") if history.is_file() else ""
    shutil.rmtree(unfinished, ignore_errors=True)  # first, because the disk may be full
    remove_failure(trials, key)
    holder = new_holder()
    record: dict[str, str | float] = {"cause": failure.cause, "reason": failure.reason, "call": failure.call}
    record |= {"host": holder.host, "when": holder.since}
    with atomic_folder(failed_folder(trials, key)) as place:
        (place / "trial.toml").write_text(trial_toml, encoding="utf-8")
        (place / "failed.txt").write_text(failure.text.rstrip() + "\n", encoding="utf-8")
        (place / FILE).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        if rows:
            (place / "history.csv").write_text(rows, encoding="utf-8")

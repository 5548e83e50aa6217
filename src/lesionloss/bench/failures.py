"""What is kept of a trial that did not end well: RUN/trials/KEY.failed, and why."""

import errno
import json
import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lesionloss.bench.locks import new_holder
from lesionloss.core.errors import LesionLossError
from lesionloss.core.files import whole_folder
from lesionloss.runs.run_files import read_json

FILE = "failed.json"
CAUSES = ("not finite", "out of memory", "disk full", "killed", "error")


@dataclass(frozen=True)
class Failure:
    """Why a trial has no result. `cause`: one of CAUSES; `text`: the whole traceback, its last line says the reason;
    `call`: the call of `bench` in which it happened."""

    cause: str
    text: str
    call: str

    @property
    def reason(self) -> str:
        """The last line."""
        lines = [line.strip() for line in self.text.splitlines() if line.strip()]
        return lines[-1] if lines else self.cause


def cause_of(error: BaseException) -> str:
    """One of CAUSES: what kind of mishap an exception is, or was made of."""
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


def ended_by(code: int, call: str) -> Failure:
    """The failure of a process that ended with `code` (negative: a signal) and could not say why itself."""
    if code >= 0:
        return Failure("error", f"its process ended with exit code {code} and said nothing", call)
    number = -code
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = "a signal"
    guess = ": probably out of memory; try fewer --jobs" if number == signal.SIGKILL else ""
    return Failure("killed", f"killed by signal {number} ({name}){guess}", call)


def failed_folder(folder: Path, key: str) -> Path:
    return folder / "trials" / f"{key}.failed"


def read_failure(folder: Path, key: str) -> Failure | None:
    """What is kept of a failed trial; None where it has not failed."""
    place = failed_folder(folder, key)
    note = place / "failed.txt"
    if not place.is_dir():
        return None
    try:
        text = note.read_text(encoding="utf-8", errors="replace")
        record = read_json(place / FILE)
    except (OSError, LesionLossError):
        return Failure("error", "no reason was kept", "")
    return Failure(str(record.get("cause", "error")), text, str(record.get("call", "")))


def forget_failure(folder: Path, key: str) -> None:
    """Remove what an earlier try has left: the trial begins again."""
    shutil.rmtree(failed_folder(folder, key), ignore_errors=True)


def keep_failure(folder: Path, key: str, trial_toml: str, failure: Failure) -> None:
    """Keep the trial, the reason and the history so far, and drop the rest. Raises OSError where even that fails."""
    unfinished = folder / "trials" / f"{key}.partial"
    history = unfinished / "history.csv"
    rows = history.read_text(encoding="utf-8") if history.is_file() else ""
    shutil.rmtree(unfinished, ignore_errors=True)  # first, since the disk may be full
    forget_failure(folder, key)
    who = new_holder()
    record: dict[str, str | float] = {"cause": failure.cause, "reason": failure.reason, "call": failure.call}
    record |= {"host": who.host, "when": who.since}
    with whole_folder(failed_folder(folder, key)) as place:
        (place / "trial.toml").write_text(trial_toml, encoding="utf-8")
        (place / "failed.txt").write_text(failure.text.rstrip() + "\n", encoding="utf-8")
        (place / FILE).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        if rows:
            (place / "history.csv").write_text(rows, encoding="utf-8")

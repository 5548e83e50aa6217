"""The command line. Each module of this package adds its commands to `app`; heavy imports happen inside commands."""

import contextlib
import errno
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

from lesionloss.cli.app import app, global_options
from lesionloss.cli.terminal import one_line, say
from lesionloss.core.errors import DataError, LesionLossError
from lesionloss.core.extras import missing_extra

_METRICS = ("evaluate", "metrics")  # the commands that need no more than the extra `metrics`
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_UNUSABLE = (errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.EACCES, errno.EPERM, errno.EROFS)  # the same again fails

# What a command keeps that could not end, and how to go on.
_AGAIN = "give the same command again to continue"
_KEPT = {
    "prepare": f"prepared cases are kept; {_AGAIN}",
    "synth": f"finished patients are kept; {_AGAIN}",
    "predict": f"finished cases are kept; {_AGAIN}",
    "bench": f"finished trials are kept; {_AGAIN}",
    "nnunet": f"checkpoints of nnU-Net are kept; {_AGAIN}, for nnunet train with --continue",
    "train": "the last checkpoint is kept; add --resume to continue",
    "explain": "files written before are kept; add --force to write them again",
    "report": "an earlier report is kept",
}


def main() -> None:
    """Run a command. An error of the user is printed as one line; the exit code is 2 for usage, 1 for data."""
    try:
        with _sigterm_as_interrupt():
            try:
                app()
            finally:
                sys.stdout.flush()
    except LesionLossError as error:
        _fail(error)
    except ModuleNotFoundError as error:
        extra = "metrics" if global_options.command in _METRICS else "bench"
        missing = missing_extra(error, global_options.command, extra)
        if missing is None:
            raise
        _fail(missing)
    except OSError as error:
        if error.errno is None:
            raise
        _discard_output()
        _fail(_in_one_line(error))
    except SystemExit as end:
        # typer ends so, without a word, after KeyboardInterrupt
        if isinstance(getattr(end.__context__, "__cause__", None), KeyboardInterrupt):
            say(f"lesionloss: interrupted; {_kept()}", colour="yellow", err=True)
        raise


def _kept() -> str:
    return _KEPT.get(global_options.command, "files written before are kept")


def _in_one_line(error: OSError) -> DataError:
    """What the system refused, what is kept, and how to go on."""
    what = f"{error.filename or 'output'}: {os.strerror(error.errno or 0)}"
    if error.errno in _UNUSABLE:
        return DataError(f"{what}; check the name and its permissions, or choose another place")
    advice = "free space there, or choose another place; " if error.errno in _FULL else ""
    return DataError(f"{what}; {advice}{_kept()}")


def _discard_output() -> None:
    """Drop what can't be written to stdout; Python would try again at its end."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextlib.contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """Treat SIGTERM as Ctrl-C, so that worker processes end and temporary files are removed."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _fail(error: LesionLossError) -> NoReturn:
    if global_options.debug:
        traceback.print_exc()
    say(f"lesionloss: {one_line(str(error))}", colour="red", err=True)
    sys.exit(error.exit_code)


__all__ = ["app", "main"]

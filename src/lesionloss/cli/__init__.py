"""The command line. Each module of this package adds its commands to `app`; heavy imports happen inside commands."""

import sys
import traceback
from typing import NoReturn

from lesionloss.cli.app import app, global_options
from lesionloss.cli.terminal import one_line, say
from lesionloss.core.errors import LesionLossError
from lesionloss.core.extras import missing_extra

_METRICS = ("evaluate", "metrics")  # the commands that need no more than the extra `metrics`


def main() -> None:
    """Run a command. An error of the user is printed as one line; the exit code is 2 for usage, 1 for data."""
    try:
        app()
    except LesionLossError as error:
        _fail(error)
    except ModuleNotFoundError as error:
        extra = "metrics" if global_options.command in _METRICS else "bench"
        missing = missing_extra(error, global_options.command, extra)
        if missing is None:
            raise
        _fail(missing)
    except KeyboardInterrupt:
        say("lesionloss: interrupted; finished results are kept", colour="yellow", err=True)
        sys.exit(130)


def _fail(error: LesionLossError) -> NoReturn:
    if global_options.debug:
        traceback.print_exc()
    say(f"lesionloss: {one_line(str(error))}", colour="red", err=True)
    sys.exit(error.exit_code)


__all__ = ["app", "main"]

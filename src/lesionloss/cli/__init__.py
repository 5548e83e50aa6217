"""The command line. Each module of this package adds its commands to `app`; heavy imports happen inside commands."""

import sys
import traceback
from typing import NoReturn

import typer

from lesionloss.cli.app import app, global_options
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
        typer.secho("lesionloss: interrupted; finished results are kept", fg=typer.colors.YELLOW, err=True)
        sys.exit(130)


def _fail(error: LesionLossError) -> NoReturn:
    if global_options.debug:
        traceback.print_exc()
    typer.secho(f"lesionloss: {error}", fg=typer.colors.RED, err=True)
    sys.exit(error.exit_code)


__all__ = ["app", "main"]

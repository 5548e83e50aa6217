"""The command line. Each module of this package adds its commands to `app`; heavy imports happen inside commands."""

import sys
import traceback
from typing import NoReturn

import typer

from lesionloss.cli.app import app, settings
from lesionloss.core.errors import LesionLossError
from lesionloss.core.extras import missing_extra

_METRICS = ("evaluate", "metrics")  # the commands that need no more than the extra `metrics`


def main() -> None:
    """Run a command; a user's mistake becomes one line and an exit code: 2 usage, 1 findings."""
    try:
        app()
    except LesionLossError as error:
        _fail(error)
    except ModuleNotFoundError as error:
        extra = "metrics" if settings.command in _METRICS else "bench"
        missing = missing_extra(error, settings.command, extra)
        if missing is None:
            raise
        _fail(missing)
    except KeyboardInterrupt:
        typer.secho("lesionloss: interrupted; what was finished is kept", fg=typer.colors.YELLOW, err=True)
        sys.exit(130)


def _fail(error: LesionLossError) -> NoReturn:
    if settings.debug:
        traceback.print_exc()
    typer.secho(f"lesionloss: {error}", fg=typer.colors.RED, err=True)
    sys.exit(error.exit_code)


__all__ = ["app", "main"]

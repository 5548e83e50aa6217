"""The command line. Each module of this package adds its commands to `app`; heavy imports happen inside commands."""

import sys
import traceback

import typer

from lesionloss.cli.app import app, global_options
from lesionloss.core.errors import LesionLossError


def main() -> None:
    """Run a command. An error of the user is printed as one line; the exit code is 2 for usage, 1 for data."""
    try:
        app()
    except LesionLossError as error:
        if global_options.debug:
            traceback.print_exc()
        typer.secho(f"lesionloss: {error}", fg=typer.colors.RED, err=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        typer.secho("lesionloss: interrupted; finished results are kept", fg=typer.colors.YELLOW, err=True)
        sys.exit(130)


__all__ = ["app", "main"]

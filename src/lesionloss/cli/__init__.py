"""The command line. Each module of this package adds its commands to `app`; heavy imports happen inside commands."""

import sys
import traceback

import typer

from lesionloss.cli.app import app, settings
from lesionloss.core.errors import LesionLossError


def main() -> None:
    """Run a command; a user's mistake becomes one line and an exit code: 2 usage, 1 findings."""
    try:
        app()
    except LesionLossError as error:
        if settings.debug:
            traceback.print_exc()
        typer.secho(f"lesionloss: {error}", fg=typer.colors.RED, err=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        typer.secho("lesionloss: interrupted; what was finished is kept", fg=typer.colors.YELLOW, err=True)
        sys.exit(130)


__all__ = ["app", "main"]

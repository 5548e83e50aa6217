"""The root of the command line: global options, then the commands in the order in which they are used."""

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from lesionloss.cli.terminal import say


class GroupWithFiles(TyperGroup):
    """The commands; --with FILE behind a command is that before it."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put every --with first."""
        end = args.index("--") if "--" in args else len(args)
        places = [place for place, word in enumerate(args[:end]) if word == "--with" or word.startswith("--with=")]
        words = [place + step for place in places for step in ((0, 1) if args[place] == "--with" else (0,))]
        first = [args[place] for place in words if place < end]
        rest = [word for place, word in enumerate(args) if place not in words or place >= end]
        return super().parse_args(ctx, first + rest)


app = typer.Typer(
    cls=GroupWithFiles,
    name="lesionloss",
    help="Is this loss really better for my lesions, or was it a lucky seed?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@dataclass
class GlobalOptions:
    """Values of the options before the command."""

    debug: bool = False
    command: str = ""  # the one that runs


global_options = GlobalOptions()


def _version(wanted: bool) -> None:
    if wanted:
        from lesionloss.core.version import __version__

        say(__version__)
        raise typer.Exit


def _run_code(word: str) -> None:
    """Execute a file of the user's or, for a name such as package.module that is no file, import that module."""
    if word.endswith(".py") or "/" in word or Path(word).is_file():
        from lesionloss.core.user_files import load_user_file

        load_user_file(Path(word))
    else:
        from lesionloss.networks import allow_module

        allow_module(word)


@app.callback()
def root(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    with_files: Annotated[
        list[str] | None,
        typer.Option(
            "--with",
            metavar="FILE.py|MODULE",
            help="A file with losses or networks of your own, or the module of a model's network; its code is run. "
            "Goes behind the command too.",
        ),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Is this loss really better for my lesions, or was it a lucky seed?"""
    global_options.debug = debug
    global_options.command = context.invoked_subcommand or ""
    for word in with_files or []:
        _run_code(word)


for _module in (
    *(
        "losses",
        "networks",
        "models",
        "check_explain",
        "layouts",
        "data",
        "prepare",
        "synth",
        "synth_check",
        "init",
        "bench",
        "train",
        "predict",
        "self_check",
        "nnunet",
        "nnunet_bench",
    ),
    *("collect", "compare_report", "power", "verify", "metrics", "evaluate"),
):
    importlib.import_module(f"lesionloss.cli.{_module}")

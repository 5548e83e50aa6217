"""The root of the command line: global options, then the commands in the order in which they are used."""

import importlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from lesionloss.cli.start_screen import START
from lesionloss.cli.terminal import note, say, verbosity
from lesionloss.core.errors import UsageError

ANYWHERE = ("--debug", "-q", "--quiet", "-v", "--verbose")


def without_flag_types(parameters: list[Any]) -> list[Any]:
    """The parameters; the help shows no type for those that take no value."""
    for parameter in parameters:
        if getattr(parameter, "is_flag", False):
            parameter.metavar = ""
    return parameters


class GroupWithFiles(TyperGroup):
    """The commands; --with FILE, --quiet, --verbose and --debug behind a command are those before it."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters; flags have no type."""
        return without_flag_types(super().get_params(ctx))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put every global option first."""
        end = args.index("--") if "--" in args else len(args)
        places = [place for place, word in enumerate(args[:end]) if word == "--with" or word.startswith("--with=")]
        words = [place + step for place in places for step in ((0, 1) if args[place] == "--with" else (0,))]
        words += [place for place, word in enumerate(args[:end]) if word in ANYWHERE and place not in words]
        first = [args[place] for place in words if place < end]
        rest = [word for place, word in enumerate(args) if place not in words or place >= end]
        return super().parse_args(ctx, first + rest)


app = typer.Typer(
    cls=GroupWithFiles,
    name="lesionloss",
    help="Is this loss really better for my lesions, or was it a lucky seed?",
    invoke_without_command=True,
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
        say(_versions())
        raise typer.Exit


def _versions() -> str:
    """The program, torch, and the device that `--device auto` is here."""
    import torch

    from lesionloss.core.devices import resolve_device
    from lesionloss.core.processors import usable_cores
    from lesionloss.core.version import __version__

    device = resolve_device("auto")
    what = f"{usable_cores()} cores" if device == "cpu" else torch.cuda.get_device_name(device)
    return f"lesionloss {__version__}\ntorch {torch.__version__}\ndevice {device} ({what})"


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
    with_files: Annotated[
        list[str] | None,
        typer.Option(
            "--with",
            metavar="FILE.py|MODULE",
            help="A file with losses or networks of your own, or the module of a model's network; its code is run.",
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print results and errors only.")] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Also print versions, each case and step, and the time taken.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_version, is_eager=True, help="Print the versions, and the device that auto is here."
        ),
    ] = False,
) -> None:
    """Is this loss really better for my lesions, or was it a lucky seed?

    --with, -q, -v and --debug stand before a command or behind it.
    """
    global_options.debug = debug
    global_options.command = context.invoked_subcommand or ""
    verbosity.quiet, verbosity.verbose = quiet, verbose
    if quiet and verbose:
        raise UsageError("--quiet and --verbose exclude each other; choose one")
    if not global_options.command:
        say(START, nl=False)
        return
    if verbose:
        start_time = time.perf_counter()
        note(_versions())
        context.call_on_close(lambda: note(f"took {time.perf_counter() - start_time:.1f} s"))
    for word in with_files or []:
        _run_code(word)


for _module in (
    *("losses", "metrics", "networks", "check", "explain"),
    *("layouts", "data", "prepare", "synth", "synth_check"),
    *("init", "bench", "train", "nnunet", "nnunet_bench"),
    *("compare_report", "power", "verify", "collect", "evaluate"),
    *("predict", "models", "self_check"),
):
    importlib.import_module(f"lesionloss.cli.{_module}")

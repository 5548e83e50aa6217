"""How a command is added to the command line: with its group, and with examples at the end of its help."""

import shlex
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, get_type_hints

import typer
from typer.core import TyperCommand

from lesionloss.cli import panels
from lesionloss.cli.app import app, without_flag_types
from lesionloss.cli.terminal import say

Function = TypeVar("Function", bound=Callable[..., Any])
COLUMNS = 80
REMARK = "   # "


class CommandWithExamples(TyperCommand):
    """A command whose help ends with examples, as they are typed."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters in the order of their groups."""
        places = {heading: place for place, heading in enumerate(panels.OPTIONS)}
        parameters = without_flag_types(super().get_params(ctx))
        return sorted(parameters, key=lambda each: places.get(getattr(each, "rich_help_panel", ""), -1))

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help; the examples are not wrapped as text."""
        examples, self.epilog = self.epilog, None
        try:
            super().format_help(ctx, formatter)
        finally:
            self.epilog = examples
        say(f" Examples\n\n{laid_out(examples or '')}")


def command(
    name: str | None = None,
    *,
    panel: str | None,
    examples: str,
    help: str | None = None,
    options: Mapping[str, str] | None = None,
    cls: type[CommandWithExamples] = CommandWithExamples,
    group: typer.Typer = app,
) -> Callable[[Function], Function]:
    """Add a function to the command line.

    Args:
        name: The name of the command; None: that of the function.
        panel: The group of commands in the help; None: there is one only.
        examples: One command a line, perhaps with a remark behind three blanks and `#`.
        help: The help text; None: the docstring.
        options: Groups of options in the help, with the names of the parameters; None: one group.
        cls: The kind of command.
        group: The commands to which it is added.
    """

    def add(function: Function) -> Function:
        annotations = get_type_hints(function, include_extras=True)
        for heading, names in (options or {}).items():
            for parameter in names.split():
                annotations[parameter].__metadata__[0].rich_help_panel = heading
        return group.command(name, cls=cls, help=help, epilog=examples, rich_help_panel=panel)(function)

    return add


def laid_out(examples: str) -> str:
    """Examples within 80 columns: a remark too far right goes before its command, a long command on in another line."""
    lines: list[str] = []
    for example in filter(None, map(str.strip, examples.splitlines())):
        words, _, remark = example.partition(REMARK)
        if remark and len(words) + len(REMARK) + len(remark) + 2 <= COLUMNS:
            lines.append(f"  {example}")
            continue
        lines += [f"  # {remark}"] if remark else []
        lines += _folded(words)
    return "\n".join(lines)


def _folded(line: str) -> list[str]:
    """A command in lines that a shell reads as one; an option stays with its value."""
    parts: list[str] = []
    for word in _words(line):
        with_option = parts and parts[-1].startswith("-") and " " not in parts[-1] and not word.startswith("-")
        if with_option:
            parts[-1] += f" {word}"
        else:
            parts.append(word)
    lines = [f"  {parts[0]}"]
    for part in parts[1:]:
        if len(lines[-1]) + len(part) + 1 > COLUMNS - 2:
            lines[-1] += " \\"
            lines.append(f"      {part}")
        else:
            lines[-1] += f" {part}"
    return lines


def _words(line: str) -> list[str]:
    """The words of a command with their quotes."""
    lexer = shlex.shlex(line, posix=False, punctuation_chars=False)
    lexer.whitespace_split, lexer.commenters = True, ""
    return list(lexer)

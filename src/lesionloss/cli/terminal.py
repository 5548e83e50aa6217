"""The only way to the terminal: text from outside is shown as it is, never as markup, emoji or control codes.

`say` prints results and errors, `note` what is worth knowing meanwhile, `hint` what to do next; `--quiet` leaves out
the latter two. Tables and progress bars need `plain_console`, and the latter `text_column` for their texts.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.progress import Task, TextColumn
    from rich.segment import Segment
    from rich.text import Text

# Control codes, characters that turn the direction of text, and bytes of a file name that are no text.
_CODES = (*range(0x20), *range(0x7F, 0xA0), 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A))
_VISIBLE = {code: f"\\x{code:02x}" if code < 0x7F else f"\\u{code:04x}" for code in (*_CODES, *range(0xD800, 0xE000))}
_VISIBLE |= {ord("\n"): "\\n", ord("\t"): "\\t", ord("\r"): "\\r"}
_VISIBLE_LINES = {code: text for code, text in _VISIBLE.items() if chr(code) not in "\n\t"}


@dataclass
class Verbosity:
    """How much is printed beside results and errors: little (`quiet`), or more than usual (`verbose`)."""

    quiet: bool = False
    verbose: bool = False


verbosity = Verbosity()


def one_line(text: str) -> str:
    """A text with all control characters written out, such as a line break as backslash and n."""
    return text.translate(_VISIBLE)


def visible(text: str) -> str:
    """A text with all control characters but line breaks and tabs written out."""
    return text.translate(_VISIBLE_LINES)


def say(text: str, *, err: bool = False, nl: bool = True, colour: str | None = None) -> None:
    """Print a text.

    Args:
        text: what to print.
        err: to stderr.
        nl: with a line break.
        colour: on a terminal, such as "red".
    """
    shown = visible(text)
    typer.echo(shown if colour is None else typer.style(shown, fg=colour), err=err, nl=nl)


def say_json(value: object) -> None:
    """Print plain values as one JSON document; NaN becomes null."""
    import json

    say(json.dumps(_without_nan(value), indent=1, ensure_ascii=False, allow_nan=False))


def _without_nan(value: object) -> object:
    if isinstance(value, dict):
        return {key: _without_nan(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(each) for each in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def note(text: str) -> None:
    """Print a line to stderr, unless --quiet."""
    if not verbosity.quiet:
        say(text, err=True)


def hint(text: str) -> None:
    """Print a line to stdout, unless --quiet."""
    if not verbosity.quiet:
        say(text)


def plain_console(*, stderr: bool = False, width: int | None = None) -> "Console":
    """A console that prints strings as they are.

    Args:
        stderr: print there.
        width: columns; None: as the terminal has.
    """
    from rich.console import Console
    from rich.segment import Segment

    class PlainConsole(Console):
        def render(self, renderable: "RenderableType", options: "ConsoleOptions | None" = None) -> "Iterable[Segment]":
            for text, style, control in super().render(renderable, options):
                yield Segment(text if control else visible(text), style, control)

    return PlainConsole(stderr=stderr, width=width, markup=False, emoji=False, highlight=False)


def text_column(template: str, width: int) -> "TextColumn":
    """A column of a progress bar, such as `text_column("{task.description}", 20)`; longer texts are cut."""
    from rich.progress import TextColumn
    from rich.table import Column
    from rich.text import Text

    class VisibleColumn(TextColumn):
        def render(self, task: "Task") -> "Text":
            return Text(one_line(super().render(task).plain), style=self.style)  # before its width is measured

    return VisibleColumn(
        template, markup=False, table_column=Column(no_wrap=True, overflow="ellipsis", max_width=width)
    )

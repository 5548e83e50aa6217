"""Errors that a user can correct. Each message is one line: what and where, what was given, what is allowed."""

from enum import IntEnum

LONGEST_MESSAGE = 3000  # a file from outside may hold a key or value of any length
LONGEST_VALUE = 80


class ExitCode(IntEnum):
    """How a command ends, for shells and programs.

    Attributes:
        FINE: Done; where something was checked, nothing was found.
        PROBLEM: Something is wrong with files or results, or part of the work failed.
        USAGE: The command can't be understood or carried out as it is; nothing was done.
        INTERRUPTED: Ended by Ctrl-C or SIGTERM; the same command continues.
    """

    FINE = 0
    PROBLEM = 1
    USAGE = 2
    INTERRUPTED = 130


class LesionLossError(Exception):
    """Base class of all errors that the command line prints as one line, without a traceback."""

    exit_code = ExitCode.PROBLEM

    def __str__(self) -> str:
        """The message in one line, whatever the names and values that it quotes."""
        text = super().__str__().replace("\n", "\\n").replace("\r", "\\r")
        return text if len(text) <= LONGEST_MESSAGE else f"{text[:LONGEST_MESSAGE]} ..."


class UsageError(LesionLossError, ValueError):
    """A wrong option, key, name, path or argument (exit code 2)."""

    exit_code = ExitCode.USAGE


def shown(value: object) -> str:
    """A value as a message quotes it, short and in one line."""
    text = " ".join(repr(value).split())
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]} ..."


def expect_type(value: object, kind: type | tuple[type, ...], name: str, advice: str) -> None:
    """Compare the type of an argument with what is expected.

    Args:
        value: the argument.
        kind: a type, or several.
        name: what the caller calls it.
        advice: what to pass.

    Raises:
        UsageError: it has another type.
    """
    if not isinstance(value, kind):
        quoted = f" {shown(value)}" if isinstance(value, str | int | float) else ""
        raise UsageError(f"{name}: {advice}, got {type(value).__name__}{quoted}")


class DataError(LesionLossError, ValueError):
    """A file or array whose content can't be used (exit code 1)."""

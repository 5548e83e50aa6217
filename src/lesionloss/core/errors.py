"""Errors that a user can correct. Each message is one line: what and where, what was given, what is allowed."""


class LesionLossError(Exception):
    """Base class of all errors that the command line prints as one line, without a traceback."""

    exit_code = 1


class UsageError(LesionLossError, ValueError):
    """A wrong option, key, name, path or argument (exit code 2)."""

    exit_code = 2


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
        shown = f" {value!r}" if isinstance(value, str | int | float) else ""  # others may take many lines
        raise UsageError(f"{name}: {advice}, got {type(value).__name__}{shown}")


class DataError(LesionLossError, ValueError):
    """A file or array whose content can't be used (exit code 1)."""

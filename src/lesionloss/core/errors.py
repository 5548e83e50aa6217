"""Errors that a user can correct. Each message is one line: what and where, what was given, what is allowed."""

LONGEST_MESSAGE = 3000  # a file from outside may hold a key or value of any length
LONGEST_VALUE = 80


class LesionLossError(Exception):
    """Base class of all errors that the command line prints as one line, without a traceback."""

    exit_code = 1

    def __str__(self) -> str:
        """The message in one line, whatever the names and values that it quotes."""
        text = super().__str__().replace("\n", "\\n").replace("\r", "\\r")
        return text if len(text) <= LONGEST_MESSAGE else f"{text[:LONGEST_MESSAGE]} ..."


class UsageError(LesionLossError, ValueError):
    """A wrong option, key, name, path or argument (exit code 2)."""

    exit_code = 2


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

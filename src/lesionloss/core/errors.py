"""The mistakes a user can mend. Each message is one line: what and where, what came, what is allowed, what to do."""


class LesionLossError(Exception):
    """Base of all errors that the command line prints as one line instead of a traceback."""

    exit_code = 1


class UsageError(LesionLossError, ValueError):
    """A wrong option, key, name, path or argument: something that was typed (exit code 2)."""

    exit_code = 2


class DataError(LesionLossError, ValueError):
    """A file or array whose content can't be used as it is (exit code 1)."""

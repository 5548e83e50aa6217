"""The version of the package, which is part of every file that it writes."""

__version__ = "0.1.0"

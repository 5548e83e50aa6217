"""The version of the package, which is part of every file that it writes."""

__version__ = "0.2.0"

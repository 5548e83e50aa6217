"""Short names for the folders of runs: letters, digits, points and dashes."""

import re
from collections.abc import Sequence
from pathlib import Path

LONGEST = 40


def folder_name(text: str) -> str:
    """Return a text as the name of a folder: `unet3d-filters-8` for `unet3d(filters=8)`."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-.")[:LONGEST].strip("-.") or "unnamed"


def source_folder(name: str, layout: str, source: str) -> str:
    """Return the name of a data set's folder: its own name, that of its layout, or that of its source."""
    return folder_name(name or layout or Path(source.partition(":")[2] or source).name or "data")


def number_repeated(names: Sequence[str]) -> list[str]:
    """Return the names, each repeated one with its position behind it."""
    return [name if name not in names[:index] else f"{name}-{index + 1}" for index, name in enumerate(names)]

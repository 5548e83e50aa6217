"""Short names for the folders of runs: letters, digits, points and dashes."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lesionloss.bench.plan_parts import Data

LONGEST = 40


def slug(text: str) -> str:
    """`unet3d-filters-8` for `unet3d(filters=8)`."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-.")[:LONGEST].strip("-.") or "unnamed"


def network_slug(text: str) -> str:
    """The name of a network's folder."""
    return slug(text)


def dataset_slug(data: "Data") -> str:
    """The name of a data set's folder: its own, its layout's, or that of its source."""
    return slug(data.name or data.layout or Path(data.source.partition(":")[2] or data.source).name or "data")


def distinct(names: Sequence[str]) -> list[str]:
    """The names with a number behind those that came before."""
    return [name if name not in names[:place] else f"{name}-{place + 1}" for place, name in enumerate(names)]

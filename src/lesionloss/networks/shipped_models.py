"""Trained models that come with the package, each a bundle in a folder of `lesionloss/models`."""

import json
from pathlib import Path
from typing import Any

from lesionloss.core.errors import UsageError
from lesionloss.networks.bundle import RECORD

FOLDER = Path(__file__).parents[1] / "models"
DEFAULT = "new-lesions"


def shipped_models() -> dict[str, Path]:
    """Folders of the shipped models by name, the default one first."""
    found = {record.parent.name: record.parent for record in sorted(FOLDER.glob(f"*/{RECORD}"))}
    return dict(sorted(found.items(), key=lambda item: item[0] != DEFAULT))


def shipped_records() -> dict[str, tuple[dict[str, Any], Path]]:
    """The record of each shipped model as plain values, with its folder."""
    return {
        name: (json.loads((folder / RECORD).read_text(encoding="utf-8")), folder)
        for name, folder in shipped_models().items()
    }


def model_folder(given: Path | None) -> Path:
    """The folder of a model: the one given, a shipped one by its name, or the default one.

    Args:
        given: A folder, the name of a shipped model, or None.

    Raises:
        UsageError: No model is given, and the package came without its models.
    """
    shipped = shipped_models()
    if given is None:
        if DEFAULT not in shipped:
            raise UsageError(f"this lesionloss came without its model ({FOLDER / DEFAULT}); name a folder with a model")
        return shipped[DEFAULT]
    return shipped[str(given)] if str(given) in shipped and not given.exists() else given

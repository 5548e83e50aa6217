"""Losses by the key that stands in the name of a trainer.

A loss of the package without hyperparameters is its own key. Every other text gets a key of its words and a digest. It
is kept, with the user's files that it needs, in `nnUNet_results/lesionloss_losses`, where all commands of nnU-Net find
it.
"""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from lesionloss.core.catalogue import nearest
from lesionloss.core.errors import DataError, UsageError
from lesionloss.core.files import is_file_name, write_text
from lesionloss.core.user_files import load_user_file
from lesionloss.integrations.nnunet.installation import folder_of
from lesionloss.losses.registry import list_losses
from lesionloss.losses.spec import parse, user_files_of

OWN_LOSS = "nnunet"  # nnU-Net's loss, trained in pairs like the others
FOLDER = "lesionloss_losses"
FORMAT = 1
LONGEST_WORDS = 40


def loss_text(text: str) -> str:
    """Return the text of a loss in its usual form; `nnunet` is nnU-Net's own.

    Raises:
        UsageError: The text is no sum of known losses, or its weights change during training.
    """
    if text == OWN_LOSS:
        return OWN_LOSS
    spec = parse(text)
    if any(isinstance(term.weight, tuple) for term in spec.terms):
        raise UsageError(
            f"loss {text!r}: in nnU-Net each term has one weight; weights that change during training are for "
            "lesionloss train and bench"
        )
    return str(spec)


def store_loss(text: str) -> str:
    """Return the key of a loss, kept for all who meet it in the name of a trainer.

    Raises:
        UsageError: The text is no sum of known losses, or it must be kept and `nnUNet_results` is not set.
    """
    text = loss_text(text)
    if text in _plain_keys():
        return text
    files = user_files_of(text)
    digest = hashlib.sha256("\n".join([text, *sorted(file.sha256 for file in files)]).encode()).hexdigest()[:8]
    words = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")[:LONGEST_WORDS].strip("_")
    key, folder = f"{words}_{digest}", folder_of("nnUNet_results") / FOLDER
    copies = {f"{file.path.stem}_{file.sha256[:8]}.py": file for file in files}
    for name, file in copies.items():
        write_text(folder / name, file.path.read_text(encoding="utf-8"))
    record = {"format": FORMAT, "loss": text, "files": list(copies)}
    write_text(folder / f"{key}.json", json.dumps(record, indent=1) + "\n")
    return key


def stored_loss(key: str) -> str:
    """Return the text of a loss by its key; the user's files that it needs are loaded.

    Raises:
        UsageError: No loss has this key.
        DataError: The file of the loss is damaged.
    """
    if key in _plain_keys():
        return key
    file = folder_of("nnUNet_results") / FOLDER / f"{key}.json"
    if not file.is_file():
        known = _plain_keys() + sorted(path.stem for path in file.parent.glob("*.json"))
        raise UsageError(
            f"no loss has the key {key!r}; {nearest(key, known)}; `lesionloss nnunet env --loss TEXT` adds a loss with "
            "hyperparameters, a sum, or one of your own, and prints its trainer"
        )
    record = _read(file)
    for name in record["files"]:
        load_user_file(file.parent / name)
    return str(record["loss"])


def _plain_keys() -> list[str]:
    of_package = [record.name for record in list_losses() if not user_files_of(record.name)]
    return [OWN_LOSS, *of_package]


def _read(file: Path) -> dict[str, Any]:
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        intact = (
            record["format"] == FORMAT and isinstance(record["loss"], str) and all(map(is_file_name, record["files"]))
        )
    except (ValueError, TypeError, KeyError, RecursionError):
        intact = False
    if not intact:
        raise DataError(
            f"{file}: expected what `lesionloss nnunet` writes (format {FORMAT}); remove it and train again"
        )
    return dict(record)

"""lesionloss_pairing.json: what a trainer wrote beside its results of initial weights, batches, length and machine."""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

from lesionloss.core.errors import DataError

PAIRING = "lesionloss_pairing.json"
FORMAT = 1


@dataclass(frozen=True)
class TrainerRecord:
    """What is known of a training run.

    Attributes:
        trial: Fields of trial.toml: three hashes, which make two training runs a pair where they are equal; `steps`.
        machine: Content of machine.json: versions and device.
        differs: What may differ between two losses of a pair all the same.
    """

    trial: dict[str, str | int]
    machine: dict[str, str] = field(default_factory=dict)
    differs: tuple[str, ...] = ()


def read_pairing(folder: Path) -> TrainerRecord | None:
    """Read what a trainer wrote into its folder; None without such a file.

    Raises:
        DataError: The file is damaged, or of another format.
    """
    path = folder / PAIRING
    if not path.is_file():
        return None
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        batches = {str(step): str(digest) for step, digest in record["batches_sha256"].items()}
        trial: dict[str, str | int] = {
            "pair": f"fold {record['fold']}, seed {int(record['seed'])}",
            "weights_hash": str(record["initial_weights_sha256"]),
            "batches_hash": hashlib.sha256(json.dumps(batches, sort_keys=True).encode()).hexdigest(),
        }
        trial |= {"steps": int(record["epochs"]) * int(record["iterations"])} if "epochs" in record else {}
        machine = {str(name): str(version) for name, version in record.get("versions", {}).items()}
        machine |= {"device": str(record["device"])} if record.get("device") else {}
        differs = tuple(map(str, record.get("what_differs", ())))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{path}: not a record of a pair ({error!r}); remove it, and the pair is not proven") from error
    if record.get("format") != FORMAT:
        raise DataError(
            f"{path}: format {record.get('format')!r}, this version reads {FORMAT}; install a newer lesionloss"
        )
    return TrainerRecord(trial, machine, differs)

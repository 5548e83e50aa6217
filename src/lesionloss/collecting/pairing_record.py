"""lesionloss_pairing.json: the hashes of initial weights and batches that a trainer wrote beside its results."""

import hashlib
import json
from pathlib import Path

from lesionloss.core.errors import DataError

PAIRING = "lesionloss_pairing.json"
FORMAT = 1


def read_pairing(folder: Path) -> dict[str, str]:
    """Read the hashes that a trainer wrote into its folder, as a trial has them; empty without such a file.

    Two training runs are a pair where all three values are equal.

    Raises:
        DataError: The file is damaged, or of another format.
    """
    path = folder / PAIRING
    if not path.is_file():
        return {}
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        batches = {str(step): str(digest) for step, digest in record["batches_sha256"].items()}
        known = {
            "pair": f"fold {int(record['fold'])}, seed {int(record['seed'])}",
            "weights_hash": str(record["initial_weights_sha256"]),
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{path}: not a record of a pair ({error!r}); remove it, and the pair is not proven") from error
    if record.get("format") != FORMAT:
        raise DataError(
            f"{path}: format {record.get('format')!r}, this version reads {FORMAT}; install a newer lesionloss"
        )
    return known | {"batches_hash": hashlib.sha256(json.dumps(batches, sort_keys=True).encode()).hexdigest()}

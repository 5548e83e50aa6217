"""JSON with a checksum of itself: any byte that changed later is noticed."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

SEAL = "sha256"


def seal(record: Mapping[str, Any]) -> str:
    """Return a record as JSON whose last value is the checksum of all others.

    Args:
        record: Plain values; a value under `SEAL` is replaced.
    """
    values = {name: value for name, value in record.items() if name != SEAL}
    digest = hashlib.sha256(json.dumps(values, indent=1).encode()).hexdigest()
    return json.dumps(values | {SEAL: digest}, indent=1) + "\n"


def is_intact(text: str, record: Mapping[str, Any]) -> bool:
    """Return whether `text` is what `seal` wrote for the record that was read from it."""
    return seal(record) == text

"""The text of a network in its parts; nothing is imported or built here."""

import re
from typing import Any, NamedTuple

from lesionloss.core.call_text import parse_call
from lesionloss.core.errors import expect_type


class NetworkText(NamedTuple):
    """A text in its parts: `library` is empty, `monai`, or the module of a class."""

    library: str
    name: str
    values: dict[str, Any]


def parse_network(text: str) -> NetworkText:
    """Return the parts of a text; nothing is imported or built.

    Raises:
        UsageError: It is no `name`, `name(key=value, ...)` or either behind `module:`.
    """
    expect_type(text, str, "network", "write a name, such as 'unet3d(filters=8)'")
    library, colon, call = text.strip().partition(":")
    if not colon or not re.fullmatch(r"[\w.]+", library):  # the colon of a value
        library, call = "", text.strip()
    return NetworkText(library, *parse_call(call, "network"))

"""Writes `lesionloss/__init__.pyi`, from which type checkers and editors know the public names: run this module."""

import inspect
from pathlib import Path

import lesionloss
from lesionloss.core.files import write_text
from lesionloss.core.parameters import Parameter
from lesionloss.losses import families
from lesionloss.losses.named_classes import named_class
from lesionloss.losses.registry import LossRecord, list_losses

STUB = Path(lesionloss.__file__).with_suffix(".pyi")
_HEAD = """\
# ruff: noqa: I001
# Written by `python -m lesionloss.losses.write_stub`, and kept up to date by a test.
from collections.abc import Sequence
from typing import Literal

from lesionloss.core.version import __version__ as __version__"""


def stub_text() -> str:
    """The stub: imports of the public names, and a class with typed keywords for each loss of the package."""
    imports = [f"from lesionloss.{room} import {name} as {name}" for name, room in lesionloss.PUBLIC_NAMES.items()]
    built_in = [record for record in list_losses() if record.name in families.__all__]
    names = ["", "PUBLIC_NAMES: dict[str, str]", "__all__: list[str]"]
    return "\n".join([_HEAD, *imports, *names, *map(_class_text, built_in)]) + "\n"


def _class_text(record: LossRecord) -> str:
    signature = inspect.signature(named_class(record.class_name))
    lines = [f"\nclass {record.class_name}(Loss):", f'    """{record.title}"""', "", "    def __init__("]
    lines += ["        self,", "        *,"]
    for keyword in signature.parameters.values():
        declared = record.hyperparameters.get(keyword.name)
        kind = _type_text(declared) if declared else inspect.formatannotation(keyword.annotation)
        kind = kind.removeprefix("collections.abc.")
        lines.append(f"        {keyword.name}: {kind} = {keyword.default!r},".replace("'", '"'))
    return "\n".join([*lines, "    ) -> None: ..."])


def _type_text(parameter: Parameter) -> str:
    return " | ".join("None" if kind is type(None) else kind.__name__ for kind in parameter.kinds)


if __name__ == "__main__":
    write_text(STUB, stub_text())
    print(f"written: {STUB}")

"""`lesionloss models`: the trained models that come with the package."""

from typing import Annotated

import typer

from lesionloss.cli import panels
from lesionloss.cli.commands import command
from lesionloss.cli.terminal import say, say_json

MODEL_HELP = (
    "Folder with model.json and model.safetensors, or the name of a shipped model, see lesionloss models "
    "(default: the first of these)."
)
EXAMPLES = """
lesionloss models
lesionloss predict --baseline A.nii.gz --followup B.nii.gz --out predicted   # with the default one
"""


@command(panel=panels.USE, examples=EXAMPLES)
def models(as_json: Annotated[bool, typer.Option("--json", help="Print the records as JSON.")] = False) -> None:
    """List the shipped models: what they saw, licence, scores and limits."""
    from lesionloss.networks.shipped_models import DEFAULT, shipped_records

    records = shipped_records()
    if as_json:
        say_json({name: record for name, (record, _) in records.items()})
        return
    for name, (record, folder) in records.items():
        size = sum(file.stat().st_size for file in folder.iterdir()) / 1e6
        say(f"{name}{' (default)' if name == DEFAULT else ''}: {size:.1f} MB, {folder}")
        say(f"  data seen: {record['data_note']}")
        say(f"  licence: {record['licence']}")
        for key in ("task", "scores", "limits"):
            say(f"  {key}: {record['training'].get(key, 'not recorded')}")

"""The plan that a command line asks for."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lesionloss.bench.plan import Plan


def chosen_plan(name: str, data: str | None, losses: list[str]) -> "Plan":
    """The plan file or preset with what the command line adds to it."""
    from lesionloss.bench.plan import Plan

    plan = Plan.load(name) if name.endswith(".toml") or Path(name).is_file() else Plan.preset(name)
    changes: dict[str, object] = {}
    if data is not None:
        changes["data"] = plan.data.model_dump() | data_keys(data)
    if losses:
        changes["losses"] = (*plan.losses, *losses)
    return plan.changed(changes) if changes else plan


def data_keys(text: str) -> dict[str, str]:
    """What `--data PATH` or `--data LAYOUT:PATH` says in a plan's [data]. Raises UsageError for an unknown layout."""
    from lesionloss.data.cohort import split_layout

    layout, path = split_layout(text)
    return {"source": str(path.resolve())} | ({"layout": layout} if layout else {})

"""The plan that the options of a command give."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lesionloss.bench.plan import Plan


def chosen_plan(name: str, data: str | None, losses: list[str]) -> "Plan":
    """Return a plan file or preset with the data and losses of the command line.

    Args:
        name: A TOML file or the name of a preset.
        data: PATH or LAYOUT:PATH; None: as in the plan.
        losses: Losses to add.

    Raises:
        UsageError: The plan, the layout or a loss is wrong.
    """
    from lesionloss.bench.plan import Plan

    plan = Plan.load(name) if name.endswith(".toml") or Path(name).is_file() else Plan.preset(name)
    changes: dict[str, object] = {}
    if data is not None:
        changes["data"] = plan.data.model_dump() | data_keys(data)
    if losses:
        changes["losses"] = (*plan.losses, *losses)
    return plan.changed(changes) if changes else plan


def data_keys(text: str) -> dict[str, str]:
    """Return the keys of a plan's [data] for `--data PATH` or `--data LAYOUT:PATH`.

    Raises:
        UsageError: The layout is unknown.
    """
    from lesionloss.data.cohort import split_layout

    layout, path = split_layout(text)
    return {"source": str(path.resolve())} | ({"layout": layout} if layout else {})

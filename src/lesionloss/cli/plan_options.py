"""The plan that the options of a command give."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lesionloss.core.errors import UsageError

if TYPE_CHECKING:
    from lesionloss.bench.plan import Plan


def chosen_plan(name: str, data: str | None, losses: list[str], settings: list[str] | None = None) -> "Plan":
    """Return a plan file or preset with the data and losses of the command line.

    Args:
        name: A TOML file or the name of a preset.
        data: PATH or LAYOUT:PATH; None: as in the plan.
        losses: Losses to add.
        settings: Other keys, as KEY=VALUE.

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
    if settings:
        record = plan.model_dump() | changes
        for key, value in map(parse_setting, settings):
            put_setting(record, key, value)
        return plan.changed(record)
    return plan.changed(changes) if changes else plan


def data_keys(text: str) -> dict[str, str]:
    """Return the keys of a plan's [data] for `--data PATH` or `--data LAYOUT:PATH`.

    Raises:
        UsageError: The layout is unknown.
    """
    from lesionloss.data.cohort import split_layout

    layout, path = split_layout(text)
    return {"source": str(path.resolve())} | ({"layout": layout} if layout else {})


def put_setting(record: dict[str, Any], key: str, value: Any) -> None:
    """Set a key such as `training.steps` in a plan's record; an unknown last name is left for the plan to refuse.

    Raises:
        UsageError: A plan has no such part.
    """
    *parts, last = key.split(".")
    for number, part in enumerate(parts):
        if part not in record or not isinstance(record[part], dict | None):
            known = ", ".join(name for name, each in record.items() if isinstance(each, dict | None))
            where = ".".join(parts[:number]) or "a plan"
            raise UsageError(f"--set {key}: {where} has no part {part!r}; parts: {known or 'none'}")
        record[part] = dict(record[part] or {})
        record = record[part]
    record[last] = value


def parse_setting(text: str) -> tuple[str, Any]:
    """Read an option such as `training.steps=250` as key and value.

    Raises:
        UsageError: It is not KEY=VALUE with a value as in TOML.
    """
    import tomllib

    key, equals, value = text.partition("=")
    try:
        if not equals:
            raise ValueError("no = in it")
        return key.strip(), tomllib.loads(f"value = {value}")["value"]
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"--set needs KEY=VALUE with a value as in TOML (words in quotes), got {text!r}: {error}"
        ) from error

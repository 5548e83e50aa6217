"""Reference pages from the program itself: commands, metrics, layouts, presets, networks, Python."""

import importlib
import inspect
import re
from collections.abc import Callable
from importlib import resources
from itertools import groupby
from pathlib import Path

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_group

import lesionloss
from lesionloss.bench.plan import Plan, list_presets
from lesionloss.cli import app
from lesionloss.data.layouts import layout_docs
from lesionloss.metrics import metric_docs
from lesionloss.networks import NETWORKS

# The rooms whose exports have a page, and its title.
ROOMS = {
    "metrics": "Metrics",
    "statistics": "Statistics",
    "networks": "Networks",
    "inference": "Inference",
    "synth": "Synthetic patients",
    "report": "Report",
}


def pages() -> dict[str, str | bytes]:
    """The generated pages by their places below docs."""
    made: dict[str, str | bytes] = {
        "reference/metrics.md": metric_docs.markdown(),
        "reference/layouts.md": layout_docs.markdown().replace("](data.md)", "](../howto/data.md)"),
        "reference/api/lesionloss.md": _front_page(),
    }
    shown = {getattr(lesionloss, name) for name in lesionloss.PUBLIC_NAMES}
    for room, title in ROOMS.items():
        made[f"reference/api/{room}.md"] = _room(room, title, shown)
    return made


def _room(room: str, title: str, shown: set[object]) -> str:
    """What a room exports. What an earlier page shows is named only; what is shown here is added to `shown`."""
    module = importlib.import_module(f"lesionloss.{room}")
    exported = {name: getattr(module, name) for name in module.__all__ if callable(getattr(module, name))}
    listed = [_object(value) for value in exported.values() if value not in shown]
    earlier = [f"`{name}`" for name, value in exported.items() if value in shown]
    shown |= set(exported.values())
    text = inspect.cleandoc(module.__doc__ or "")
    also = [f"Also here, and described on an earlier page: {', '.join(earlier)}."] if earlier else []
    return "\n\n".join([f"# {title}", text, *also, *listed]) + "\n"


def command_line() -> str:
    """Every command with its arguments, options and examples, as `--help` says them."""
    group = get_group(app)
    lines = [f"{_options(group, 'lesionloss')}"]
    for name, command in _commands(group, "lesionloss"):
        lines += [f"## {name}", _prose(command.help or ""), _options(command, name)]
        examples = re.sub(r"\[/?bold\]|\x08", "", command.epilog or "").replace("\n\n  ", "\n  ").strip()
        lines += [f"```text\n{examples}\n```"] if examples else []
    return "\n\n".join(lines)


def presets() -> str:
    """Every preset: its question, its size, and what the first lines of its file say."""
    lines = ["| preset | question | losses | folds | seeds |", "|---|---|---|---|---|"]
    sections = []
    for name in list_presets():
        plan = Plan.preset(name)
        text = resources.files("lesionloss.bench").joinpath("presets", f"{name}.toml").read_text(encoding="utf-8")
        size = f"{len(plan.losses)} | {plan.folds} | {len(plan.seeds)}"
        lines.append(f"| [`{name}`](#{name}) | {plan.question} | {size} |")
        head = [line[1:].strip() for line in text.splitlines() if line.startswith("#")]
        sections += [f"### {name}", "```text\n" + "\n".join(head) + "\n```" if head else f"{plan.question}"]
    return "\n".join(lines) + "\n\n" + "\n\n".join(sections)


def networks() -> str:
    """The registered networks with their settings."""
    lines = ["| network | what it is | settings and defaults | source |", "|---|---|---|---|"]
    for design in NETWORKS:
        settings = ", ".join(f"{key}={value!r}" for key, value in design.defaults.items())
        lines.append(f"| `{design.name}` | {design.title} | `{settings}` | {design.source} |")
    return "\n".join(lines)


def bibtex() -> str:
    """The five papers."""
    text = (Path(__file__).parents[1] / "docs" / "references.bib").read_text(encoding="utf-8")
    return f"```bibtex\n{text}```"


INSERTS: dict[str, Callable[[], str]] = {
    "bibtex": bibtex,
    "command_line": command_line,
    "networks": networks,
    "presets": presets,
}


def _front_page() -> str:
    """What `import lesionloss as ll` gives."""
    text = [
        "# lesionloss",
        "What `import lesionloss as ll` gives. Each [loss](../losses.md) is a class here, too, such as `ll.DiceLoss`: "
        "its arguments are the hyperparameters of the loss and the options of `ll.build`.",
    ]
    for name in lesionloss.PUBLIC_NAMES:
        text.append(_object(getattr(lesionloss, name)).replace("heading: ", f"heading: ll.{name} #", 1))
    return "\n\n".join(text) + "\n"


def _object(value: Callable[..., object]) -> str:
    """The lines by which mkdocstrings shows a class or function."""
    name = value.__name__
    return f"::: {value.__module__}.{value.__qualname__}\n    options:\n      heading: {name}\n      toc_label: {name}"


def _commands(group: TyperGroup, path: str) -> list[tuple[str, TyperCommand]]:
    found: list[tuple[str, TyperCommand]] = []
    for name, command in group.commands.items():
        if command.hidden:
            continue
        if isinstance(command, TyperGroup):
            found += _commands(command, f"{path} {name}")
        elif isinstance(command, TyperCommand):
            found.append((f"{path} {name}", command))
    return found


def _options(command: TyperCommand | TyperGroup, path: str) -> str:
    """Tables of arguments and options, one for each panel of the help text."""
    context = typer.Context(command, info_name=path)
    rows = []
    for parameter in command.params:
        record = parameter.get_help_record(context)
        if record is not None and not getattr(parameter, "hidden", False):
            panel = getattr(parameter, "rich_help_panel", None)
            kind = "Arguments" if parameter.param_type_name == "argument" else "Options"
            rows.append((panel or kind, f"| `{record[0]}` | {_cell(record[1])} |"))
    shown = []
    for panel, group in groupby(rows, key=lambda row: row[0]):
        shown.append("\n".join([f"| {panel} | |", "|---|---|", *(row for _, row in group)]))
    return "\n\n".join(shown)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*").replace("_", "\\_")


def _prose(text: str) -> str:
    return text.replace("\x08", "").replace("<", "&lt;").replace("*", "\\*")

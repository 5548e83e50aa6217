"""Layouts described to users, from their records and the docstrings of their modules."""

import sys

from lesionloss.data.layouts import layouts
from lesionloss.data.layouts.records import Layout

INTRODUCTION = """\
Written by `lesionloss layouts --markdown`; [data.md](data.md) says how folders are read. In the patterns, `{a,b}`
stands for both names and `[...]` for a part that may be missing. The first target is the default. A layout that was not
tested on real files was written from the published description and is tested on small folders of that form: please
report where your copy differs."""


def description(layout: Layout) -> tuple[str, str]:
    """Return the first line and the other lines of the docstring of a layout's module."""
    text = sys.modules[layout.discover.__module__].__doc__ or layout.title
    first, _, rest = text.strip().partition("\n")
    return first, rest.strip()


def contrasts(layout: Layout) -> str:
    """List the names of a layout's contrasts."""
    return ", ".join(layout.contrasts) or "defined by the folder"


def markdown() -> str:
    """The page of all layouts: a table of all layouts, then one section for each."""
    lines = ["# Layouts", "", INTRODUCTION, ""]
    lines += ["| layout | data | visits | contrasts | targets | tested on real files |", "|---|---|---|---|---|---|"]
    lines += [_row(layout) for layout in layouts]
    for layout in layouts:
        first, rest = description(layout)
        lines += ["", f"## {layout.name}", "", first, "", "```", layout.looks_like, "```"]
        lines += ["", *(f"- `{target.name}`: {target.title}" for target in layout.targets)]
        lines += ["", rest] if rest else []
    return "\n".join(lines) + "\n"


def _row(layout: Layout) -> str:
    targets = ", ".join(f"`{target.name}`" for target in layout.targets)
    name = f"[`{layout.name}`](#{layout.name})"
    return " | ".join(
        ("| " + name, layout.title, layout.visits, contrasts(layout), targets, f"{layout.tested_on or 'no'} |")
    )

"""A page for each loss: formula, gradient, what is known of it here, what its paper claims, and code."""

import re
import tempfile
import tomllib
from functools import cache, partial
from itertools import groupby
from pathlib import Path

from lesionloss.losses import loss_docs, registry
from lesionloss.losses.explain import draw, gradient_analysis
from lesionloss.losses.laws.exempt import EXEMPTIONS
from lesionloss.losses.registry import LossRecord
from lesionloss.report.loss_references import references_of
from lesionloss.report.printed_tables import all_printed_tables
from mathml import formula_html

CLAIMS = Path(__file__).with_name("claims.toml")
BESIDE = "cross_entropy"  # drawn beside each loss
CODE = """\
```python
import lesionloss as ll

criterion = ll.build("{text}")
loss = criterion(logits, labels)  # (B, C, X, Y, Z) and (B, X, Y, Z)
loss.backward()
```"""
NOT_MEASURED = "No run with it is in [results](../../results/index.md) yet."


def navigation() -> list[object]:
    """Entries of the navigation: the families, with their losses."""
    families = groupby(registry.list_losses(), key=loss_docs.family)
    return [
        {heading: [{record.name: f"reference/losses/{record.name}.md"} for record in each]}
        for heading, each in families
    ]


def pages(docs: Path) -> dict[str, str | bytes]:
    """The page of all losses, and for each loss its page and its picture, by their places below docs."""
    records = registry.list_losses()
    claims = tomllib.loads(CLAIMS.read_text(encoding="utf-8"))
    made: dict[str, str | bytes] = {"reference/losses.md": _index(records)}
    for record in records:
        made[f"reference/losses/{record.name}.md"] = _page(record, claims.get(record.name), docs)
        made[f"reference/losses/{record.name}.svg"] = _picture(record.name)
    return made


def _index(records: list[LossRecord]) -> str:
    lines = ["# Losses", "", "In a terminal, `lesionloss losses` shows this list and `lesionloss losses NAME` a card."]
    for heading, members in groupby(records, key=loss_docs.family):
        lines += ["", f"## {heading}", "", *loss_docs.table(list(members), "losses/{}.md")]
    return "\n".join([*lines, "", "## Notation", "", loss_docs.LEGEND]) + "\n"


def _page(record: LossRecord, claim: str | None, docs: Path) -> str:
    found = loss_docs.sections(record)
    names = {*record.defaults, *(each.name for each in registry.list_losses())}
    title, _, rest = record.title.partition(": ")
    parts = [
        f"# {record.name}",
        f"**{title}:** {rest}",
        f'<div class="formula" tabindex="0" markdown="0">{formula_html(found["Formula"], names)}</div>',
        "The symbols are explained [below the list of losses](../losses.md#notation).",
    ]
    if record.defaults:
        parts += [f"```text\n{loss_docs.call(record)}\n```", "\n".join(loss_docs.hyperparameters(record))]
    parts += ["## Code", CODE.format(text=found["Example"].replace('"', "'"))]
    parts += [f"As a class: `ll.{record.class_name}`, with the hyperparameters as arguments.", *_gradient(record.name)]
    parts += ["## What to know", "\n".join(_notes(record, found)), "## Measured here", _measured(record.name, docs)]
    parts += ["## What papers say", *([claim] if claim else []), f"Source: {record.source}.", *_printed(record.name)]
    entries = "\n\n".join(reference.bibtex for reference in references_of(record.source))
    parts += [f"```bibtex\n{entries}\n```"] if entries else []
    return "\n\n".join(parts) + "\n"


def _gradient(name: str) -> list[str]:
    beside = "" if name == BESIDE else f" Beside it: `{BESIDE}`."
    return [
        "## Gradient",
        f"![The gradient of {name} at lesion and at background voxels, over the predicted probability]({name}.svg)",
        "One image with 1 % lesion voxels. To the left, lesion voxels are confidently wrong, and background voxels "
        f"confidently right. Values above 0 lead towards the reference.{beside} `lesionloss explain {name}` prints the "
        "numbers; [gradients](../../explanation/gradients.md) derives those of Dice.",
    ]


def _notes(record: LossRecord, found: dict[str, str]) -> list[str]:
    """The notes of its card, and the laws that it need not keep."""
    lines = [f"- **{heading}:** {found[heading]}" for heading in loss_docs.NOTES if heading in found]
    broken: dict[str, list[str]] = {}
    for item in EXEMPTIONS:
        if item.loss == record.name:
            broken.setdefault(item.reason, []).append(f"`{item.law}`")
    for reason, laws in broken.items():
        lines.append(f"- **Does not keep** the {'law' if len(laws) == 1 else 'laws'} {', '.join(laws)}: {reason}.")
    if record.geometric:
        lines.append("- **Geometry:** it depends on where voxels lie; give `spacing_mm` with each call.")
    if not broken:
        lines.append(f"- **Laws:** it keeps all that `lesionloss check {record.name}` asks.")
    return lines


def _printed(name: str) -> list[str]:
    """The rows of a loss in the printed tables of the papers."""
    shown = []
    for table in all_printed_tables():
        rows = [row for row in table.rows if row.loss.partition("(")[0] == name]
        if rows:
            heads = ["as printed", *(column.heading for column in table.columns)]
            lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
            lines += ["| " + " | ".join([row.name, *row.cells]) + " |" for row in rows]
            shown += [f"{table.paper}, {table.title} ({table.of}):", "\n".join(lines)]
    return shown


def _measured(name: str, docs: Path) -> str:
    """The rows of a loss in all tables of results."""
    shown = []
    for path in sorted((docs / "results").glob("*.md")):
        heading = ""
        table: list[str] = []
        for line in [*path.read_text(encoding="utf-8").splitlines(), ""]:
            heading = line.lstrip("# ") if line.startswith("#") else heading
            if line.startswith("|"):
                table.append(line)
            elif table:
                rows = [row for row in table[2:] if _loss_of(row) == name]
                if rows:
                    link = f"../../{path.relative_to(docs)}#{_slug(heading)}"
                    shown += [f"[{heading}]({link})", "\n".join([*table[:2], *rows])]
                table = []
    return "\n\n".join(shown) or NOT_MEASURED


def _loss_of(row: str) -> str:
    """The name of the loss of a row, without hyperparameters and remarks; empty if the row is of something else."""
    found = re.match(r"\|\s*`?(\w+)(?:\([^)]*\))?`?(?: \(baseline loss\))?\s*\|", row)
    return found[1] if found else ""


def _slug(heading: str) -> str:
    """The anchor that Python-Markdown gives a heading."""
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower())


_analysis = cache(partial(gradient_analysis, share=0.01))


def _picture(name: str) -> str:
    shown = [name] if name == BESIDE else [name, BESIDE]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "gradient.svg"
        draw([_analysis(each) for each in shown], path)
        return path.read_text(encoding="utf-8")

"""Cards of losses, made from the sections of their docstrings: "Formula: ...", "fp: ...", "Limits: ..."."""

import re
import sys

from lesionloss.losses import registry
from lesionloss.losses.registry import LossRecord

LEGEND = """\
One image: n valid voxels; classes c, background 0; t one-hot reference; p probabilities (softmax, or for one channel a
sigmoid); ce = -log p of the true class; q = 1 - p of the true class. Per class: TP = Σ p t, FP = Σ p (1 - t),
FN = Σ (1 - p) t; s = 1e-5; index(fp, fn) = (TP + s) / (TP + fp·FP + fn·FN + s). Everything is computed per image and
averaged over images (`pooled=True`: the batch is one image); overlap losses are averaged over the lesion classes
(`average_background=True`: over all). `empty="skip"` excludes classes that are absent from the reference from
overlap losses. `class_weights=(background, lesion, ...)` says how often each class counts: in averages over classes, in
both sums of `generalised_dice`, and in means over voxels, where n is then the sum of the weights of the voxels."""
# Headings of a docstring, and what the card in a terminal calls them.
NOTES = {
    "Limits": "limits",
    "Empty": "no lesion",
    "Lesions": "lesions",
    "Border": "border",
    "Soft labels": "soft labels",
    "Released": "released code",
}
HEADINGS = ("Formula", *NOTES, "Example")


def sections(record: LossRecord) -> dict[str, str]:
    """The sections of a docstring: HEADINGS, and one per hyperparameter; an alias has those of its parts."""
    if record.text is None:
        return _parse(record.doc, (*HEADINGS, *record.defaults))
    parts = [registry.get(name) for name in record.text.split(" + ")]
    found = {"Formula": record.text, "Empty": "as in its two parts.", "Example": record.name}
    for part in parts:
        found |= {key: text for key, text in sections(part).items() if key in part.defaults}
    return found


def call(record: LossRecord) -> str:
    """The text of a loss with its defaults: name(hyperparameter=default, ...)."""
    inside = ", ".join(f"{key}={value}" for key, value in record.defaults.items())
    return f"{record.name}({inside})" if inside else record.name


def markdown() -> str:
    """One page of all losses: a table, then one section for each."""
    records = registry.list_losses()
    lines = ["# Losses", "", LEGEND, "", *table(records, "#{}")]
    for record in records:
        lines += ["", f"## {record.name}", "", record.title, "", *card(record)]
    return "\n".join(lines) + "\n"


def table(records: list[LossRecord], link: str) -> list[str]:
    """Rows of a Markdown table: name, title, class; `link` is that of a loss, with {} for its name."""
    lines = ["| name | what it does | class |", "|---|---|---|"]
    for record in records:
        lines.append(f"| [`{record.name}`]({link.format(record.name)}) | {record.title} | `{record.class_name}` |")
    return lines


def card(record: LossRecord) -> list[str]:
    """Lines of Markdown: the call with its defaults, then formula, hyperparameters, notes, source and example."""
    found = sections(record)
    lines = ["```", call(record), "```", ""] if record.defaults else []
    lines += [f"- **Formula:** {found['Formula']}"] if "Formula" in found else []
    lines += hyperparameters(record)
    lines += [f"- **{heading}:** {found[heading]}" for heading in NOTES if heading in found]
    lines += [f"- **Source:** {record.source}"]
    lines += [f"- **Example:** `{found['Example']}`"] if "Example" in found else []
    return lines


def hyperparameters(record: LossRecord) -> list[str]:
    """A line of Markdown for each hyperparameter: what it may be, and what it does."""
    found = sections(record)
    return [f"- `{key}` ({each.describe()}): {found.get(key, '')}" for key, each in record.hyperparameters.items()]


def _parse(doc: str, known: tuple[str, ...]) -> dict[str, str]:
    """Lines "heading: text"; a continued line is indented."""
    found: dict[str, str] = {}
    current = ""
    for line in doc.splitlines()[1:]:
        heading, colon, rest = line.partition(": ")
        if colon and heading in known:
            current = heading
            found[current] = rest.strip()
        elif current and line.startswith(" "):
            found[current] += " " + line.strip()
        else:
            current = ""
    return found


def family(record: LossRecord) -> str:
    """The heading of a family of losses: the first words of its module."""
    if record.text is not None:
        return "Sums of other losses"
    module = record.function.__module__
    if not module.startswith("lesionloss."):
        return "Your own"
    text = (sys.modules[module].__doc__ or module).splitlines()[0]
    return re.split(r"[.:,]| that share", text)[0]

"""What a docstring of a loss says, by section: "Formula: ...", "fp: ...", "Limits: ...", one paragraph each."""

from lesionloss import registry
from lesionloss.registry import LossRecord

HEADINGS = ("Formula", "Limits", "Empty", "Released", "Example")


def sections(record: LossRecord) -> dict[str, str]:
    """The sections of a loss's docstring: HEADINGS, and one per hyperparameter; an alias has those of its parts."""
    if record.text is None:
        return _parse(record.doc, (*HEADINGS, *record.defaults))
    parts = [registry.get(name) for name in record.text.split(" + ")]
    found = {"Formula": record.text, "Empty": "as its two parts.", "Example": record.name}
    for part in parts:
        found |= {key: text for key, text in sections(part).items() if key in part.defaults}
    return found


def _parse(doc: str, known: tuple[str, ...]) -> dict[str, str]:
    """Lines "heading: text"; a line that goes on is indented."""
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

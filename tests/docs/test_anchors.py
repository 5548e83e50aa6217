"""Links to a section of a page lead to a section; `make docs` checks the rest, and pages written from the program."""

import re
from pathlib import Path

from markdown.extensions.toc import slugify

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as the site names them."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return {slugify(heading, "-") for heading in re.findall(r"^#+ +(.+)$", text, re.MULTILINE)}


def test_links_to_sections_lead_to_sections() -> None:
    dead, checked = [], 0
    for page in PAGES:
        for target, anchor in re.findall(r"\]\(([\w./-]*)#([^)\s]+)\)", page.read_text(encoding="utf-8")):
            place = (page.parent / target).resolve() if target else page
            written_by_the_program = place.is_file() and "<!-- " in place.read_text(encoding="utf-8")
            if place.is_file() and not written_by_the_program:
                checked += 1
                dead += [] if anchor in anchors(place) else [f"{page.relative_to(ROOT)}: {target}#{anchor}"]
    assert not dead
    assert checked > 10

"""Hooks of mkdocs: pages from the registries and the notebooks, links out of the documentation, formulas.

`make docs` builds the site. What a hook adds is in no file of the repository; each page names what it was made from.
"""

import os
import re
from html import escape
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

import loss_pages
import notebooks
import reference_pages
from mathml import lines_html

ROOT = Path(__file__).parents[1]
REPOSITORY = "https://github.com/lesionloss/lesionloss"
LINK = re.compile(r"(?<=\]\()(?!\w+:|#)([^)\s#]+)(#[^)\s]*)?(?=\))")
FORMULAS = re.compile(r"^```math\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INSERT = re.compile(r"^<!-- insert: (\w+) -->$", re.MULTILINE)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the pages of losses, tutorials and results into the navigation."""
    _fill(config.nav, "losses", loss_pages.navigation())
    _fill(config.nav, "tutorials", notebooks.navigation(ROOT / "docs" / "tutorials"))
    pages = sorted(path.name for path in (ROOT / "docs" / "results").glob("*.md"))
    _fill(config.nav, "results", [f"results/{name}" for name in pages if name not in ("index.md", "transfer.md")])
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages and pictures."""
    made: dict[str, str | bytes] = {**reference_pages.pages(), **loss_pages.pages(ROOT / "docs")}
    made |= notebooks.pages(ROOT / "docs" / "tutorials")
    for place, content in made.items():
        files.append(File.generated(config, place, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Fill in tables, draw formulas, and lead links to files outside the documentation to the repository."""
    markdown = INSERT.sub(lambda found: reference_pages.INSERTS[found[1]](), markdown)
    markdown = FORMULAS.sub(lambda found: lines_html(found[1]), markdown)
    folder = os.path.dirname(page.file.src_uri)
    return LINK.sub(lambda found: _outside(found, folder, files), markdown)


def _outside(found: re.Match[str], folder: str, files: Files) -> str:
    """The address of a file of the repository that is no page; all else as it is, for mkdocs to check."""
    place = os.path.normpath(os.path.join("docs", folder, found[1]))
    page = files.get_file_from_path(os.path.relpath(place, "docs"))
    if not place.startswith("..") and (page is None or page.inclusion.is_excluded()):
        path = ROOT / place
        if path.exists():
            return f"{REPOSITORY}/{'tree' if path.is_dir() else 'blob'}/main/{escape(place)}{found[2] or ''}"
    return found[0]


def _fill(nav: object, word: str, entries: list[object]) -> None:
    """Replace the entry `@word` of the navigation by several."""
    if isinstance(nav, dict):
        nav = list(nav.values())
    if isinstance(nav, list):
        if f"@{word}" in nav:
            place = nav.index(f"@{word}")
            nav[place : place + 1] = entries
        for entry in nav:
            _fill(entry, word, entries)

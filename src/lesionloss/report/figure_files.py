"""From a figure to files and to a picture inside the page."""

import io
import re
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup

from lesionloss.core.drawing import PNG_DPI, drawing_style
from lesionloss.core.files import atomic_file, write_text
from lesionloss.core.palette import INK, LINE, MUTED
from lesionloss.report.workers import ReportWorkers

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PAGE_COLOURS = {INK: "var(--ink)", MUTED: "var(--muted)", LINE: "var(--line)", "#ffffff": "var(--paper)"}


@dataclass(frozen=True)
class FigureFolder:
    """The folder of the figures, and their formats beside SVG; those files are complete after `finish`."""

    folder: Path
    formats: Sequence[str]
    workers: ReportWorkers
    waiting: "list[tuple[Future[None], Figure, Path]]" = field(default_factory=list)

    def save(self, figure: "Figure", name: str) -> str:
        """Write NAME.svg and start the other formats; return the SVG as text."""
        text = as_svg(figure)
        write_text(self.folder / f"{name}.svg", text)
        if self.formats:
            stem = self.folder / name
            self.waiting.append((self.workers.later(_save_as, self.formats, figure, stem), figure, stem))
        return text

    def finish(self) -> None:
        """Write the files that no process has begun, and wait for the others; raises their errors."""
        for other, figure, stem in reversed(self.waiting):
            if other.cancel():
                _save_as(self.formats, figure, stem)
        for other, _, _ in self.waiting:
            if not other.cancelled():
                other.result()


def _save_as(formats: Sequence[str], figure: "Figure", stem: Path) -> None:
    with drawing_style():
        if "pdf" in formats:
            with atomic_file(stem.with_name(f"{stem.name}.pdf")) as path:
                figure.savefig(path, format="pdf", transparent=True, metadata={"CreationDate": None})
        if "png" in formats:
            with atomic_file(stem.with_name(f"{stem.name}.png")) as path:
                figure.savefig(path, format="png", dpi=PNG_DPI, facecolor="white", pil_kwargs={"compress_level": 3})


def as_svg(figure: "Figure") -> str:
    """The figure as SVG text; equal figures give equal text."""
    out = io.StringIO()
    figure.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    return out.getvalue()


def for_the_page(svg: str, prefix: str, title: str, description: str = "") -> Markup:
    """An SVG of matplotlib for use inside the page; matplotlib has escaped its words.

    Its greys follow the page. `prefix` is its id in the page and the start of the ids of its parts. `description` says
    in words what the picture shows.
    """
    from markupsafe import escape

    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    for colour, variable in _PAGE_COLOURS.items():
        body = body.replace(colour, variable)
    body = re.sub(r'\bid="', f'id="{prefix}-', body)
    body = re.sub(r'((?:xlink:)?href)="#', rf'\1="#{prefix}-', body)
    body = body.replace("url(#", f"url(#{prefix}-")
    head, rest = body.split(">", 1)
    if not description:
        return Markup(f'{head} id="{prefix}" role="img" aria-label="{escape(title)}">{rest}')
    words = f'<title id="{prefix}-title">{escape(title)}</title><desc id="{prefix}-desc">{escape(description)}</desc>'
    named = f'role="img" aria-labelledby="{prefix}-title" aria-describedby="{prefix}-desc"'
    return Markup(f'{head} id="{prefix}" {named}>{words}{rest}')


def file_names(metrics: Sequence[str]) -> list[str]:
    """Names that are safe for files, one per metric."""
    names: list[str] = []
    for metric in metrics:
        plain = re.sub(r"[^A-Za-z0-9]+", "-", metric).strip("-") or "metric"
        names.append(plain if plain not in names else f"{plain}-{len(names)}")
    return names

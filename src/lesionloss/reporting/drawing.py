"""From a figure to files and to a picture inside the page."""

import base64
import io
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from lesionloss.files import whole_file, write_text
from lesionloss.reporting.helping import Help
from lesionloss.reporting.palette import INK, LINE, MUTED

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PNG_DPI = 200
_PAGE_COLOURS = {INK: "var(--ink)", MUTED: "var(--muted)", LINE: "var(--line)", "#ffffff": "var(--paper)"}


@contextmanager
def drawing_style() -> Iterator[None]:
    """Words stay words in SVG, names are never read as mathematics, and equal figures are equal files."""
    import matplotlib as mpl

    settings: dict[Any, Any] = {
        "svg.fonttype": "none",
        "pdf.fonttype": 42,
        "svg.hashsalt": "lesionloss",
        "text.parse_math": False,
        "font.family": "sans-serif",
        "axes.unicode_minus": True,
    }
    with mpl.rc_context(settings):
        yield


@dataclass(frozen=True)
class Gallery:
    """Where figures are kept, and in which formats beside SVG; those are there only after `finish`."""

    folder: Path
    formats: Sequence[str]
    help: Help
    waiting: "list[tuple[Future[None], Figure, Path]]" = field(default_factory=list)

    def save(self, figure: "Figure", name: str) -> str:
        """Write NAME.svg and the other formats, each whole; gives the SVG as text."""
        text = as_svg(figure)
        write_text(self.folder / f"{name}.svg", text)
        if self.formats:
            stem = self.folder / name
            self.waiting.append((self.help.later(_save_as, self.formats, figure, stem), figure, stem))
        return text

    def finish(self) -> None:
        """Write the files that nobody has begun, and wait for the others. Raises what went wrong with them."""
        for other, figure, stem in reversed(self.waiting):
            if other.cancel():
                _save_as(self.formats, figure, stem)
        for other, _, _ in self.waiting:
            if not other.cancelled():
                other.result()


def _save_as(formats: Sequence[str], figure: "Figure", stem: Path) -> None:
    with drawing_style():
        if "pdf" in formats:
            with whole_file(stem.with_name(f"{stem.name}.pdf")) as path:
                figure.savefig(path, format="pdf", transparent=True, metadata={"CreationDate": None})
        if "png" in formats:
            with whole_file(stem.with_name(f"{stem.name}.png")) as path:
                figure.savefig(path, format="png", dpi=PNG_DPI, facecolor="white", pil_kwargs={"compress_level": 3})


def as_svg(figure: "Figure") -> str:
    """The figure as SVG text; equal figures give equal text."""
    out = io.StringIO()
    figure.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    return out.getvalue()


def for_the_page(svg: str, prefix: str, title: str) -> Markup:
    """An SVG that matplotlib wrote, made to live in the page: its greys follow the page, `prefix` is its own name there
    and starts those of its parts.

    All words in it were escaped by matplotlib.
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
    return Markup(f'{head} id="{prefix}" role="img" aria-label="{escape(title)}">{rest}')


def png_data(pixels: NDArray[np.uint8]) -> str:
    """A `data:` address of an RGB picture (rows, columns, 3)."""
    from matplotlib.image import imsave

    buffer = io.BytesIO()
    imsave(buffer, pixels, format="png")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")

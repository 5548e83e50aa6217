"""The common style of all figures, and pictures as `data:` URLs."""

import base64
import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

PNG_DPI = 200
WEBP_QUALITY = 78


@contextmanager
def drawing_style() -> Iterator[None]:
    """Settings for matplotlib: text stays text in SVG, names are never mathematics, equal figures give equal files."""
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


def png_data(pixels: NDArray[np.uint8]) -> str:
    """The `data:` URL (PNG) of an RGB picture, (rows, columns, 3)."""
    from matplotlib.image import imsave

    buffer = io.BytesIO()
    imsave(buffer, pixels, format="png")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def webp_data(pixels: NDArray[np.uint8]) -> str:
    """The `data:` URL (WebP, a fifth of the size) of an RGB picture, (rows, columns, 3)."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="webp", quality=WEBP_QUALITY, method=3)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")

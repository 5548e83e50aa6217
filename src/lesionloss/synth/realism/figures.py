"""Pictures of a comparison: the distributions of every quantity, and real and synthetic patches."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lesionloss.core.files import atomic_file
from lesionloss.synth.realism.classifier import CasePatches
from lesionloss.synth.realism.distances import QuantityDistance, pooled
from lesionloss.synth.realism.measures import VOLUME, Measured, Values

if TYPE_CHECKING:
    from matplotlib.axes import Axes

REAL, SYNTHETIC, INK, MUTED = "#0072b2", "#d55e00", "#1c2127", "#59616b"
_COLUMNS = 4
_BINS = 40
_FEW = 30  # values; fewer are drawn as ticks, since a histogram of them shows only its bins

_LINES = (
    (True, 1, "real"),
    (False, 1, "synthetic"),
    (True, 2, "real,\ndifference"),
    (False, 2, "synthetic,\ndifference"),
)


def write_distributions(
    rows: Sequence[QuantityDistance], real: Sequence[Measured], synthetic: Sequence[Measured], files: Sequence[Path]
) -> None:
    """Draw one panel per quantity, real against synthetic.

    Args:
        rows: The quantities.
        real: Measurements of the real cohort.
        synthetic: Measurements of the synthetic cohort.
        files: PNG, SVG or PDF files.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    lines = -(-len(rows) // _COLUMNS)
    figure = Figure(figsize=(3.3 * _COLUMNS, 2.5 * lines + 0.4), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(lines, _COLUMNS, squeeze=False).ravel()
    for axes, row in zip(panels, rows, strict=False):
        _panel(axes, row, pooled(real, row.quantity), pooled(synthetic, row.quantity))
    for axes in panels[len(rows) :]:
        axes.set_axis_off()
    figure.suptitle("real (blue, filled) and synthetic (orange, line)", color=INK, fontsize=10)
    for file in files:
        with atomic_file(file) as temporary:
            figure.savefig(temporary, dpi=110, metadata={"Date": None} if file.suffix == ".svg" else None)


def _panel(axes: "Axes", row: QuantityDistance, first: Values, second: Values) -> None:
    logarithmic = row.quantity == VOLUME
    values = [np.log10(part) if logarithmic else part for part in (first, second)]
    low, high = np.quantile(np.concatenate(values), (0.003, 0.997))
    edges = np.linspace(low, high if high > low else low + 1, _BINS + 1)
    for sample, colour, filled in zip(values, (REAL, SYNTHETIC), (True, False), strict=True):
        if len(sample) < _FEW:
            axes.plot(sample, np.full(len(sample), 0.04 if filled else 0.1), "|", color=colour, markersize=14, mew=2,
                      transform=axes.get_xaxis_transform())  # fmt: skip
            continue
        bins = edges if len(sample) > 400 else np.linspace(edges[0], edges[-1], 16)
        density, _ = np.histogram(sample, bins, density=True)
        axes.stairs(density, bins, fill=filled, color=colour, alpha=0.35 if filled else 1.0, linewidth=1.6)
    axes.set_yticks([])
    for side in ("left", "right", "top"):
        axes.spines[side].set_visible(False)
    axes.tick_params(axis="x", labelsize=7, colors=MUTED)
    if logarithmic:
        axes.set_xticks([0, 1, 2, 3], ["1", "10", "100", "1000"])
    unit = f" ({row.quantity.unit})" if row.quantity.unit else ""
    axes.set_title(_folded(f"{row.quantity.name}{unit}"), fontsize=8, color=INK)
    axes.text(1, 0.98, f"KS {row.ks:.2f}", transform=axes.transAxes, ha="right", va="top", fontsize=8, color=MUTED)


def _folded(text: str) -> str:
    import textwrap

    return "\n".join(textwrap.wrap(text, 34))


def write_patches(patches: Sequence[CasePatches], file: Path, shown: int = 12) -> None:
    """Draw patches of follow-up and difference, real ones above synthetic ones; lesions are not marked."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(shown * 1.05, 4.9), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(4, shown, squeeze=False)
    for line, (real, channel, name) in enumerate(
        (
            (True, 1, "real"),
            (False, 1, "synthetic"),
            (True, 2, "real,\ndifference"),
            (False, 2, "synthetic,\ndifference"),
        )
    ):
        images = _picked(patches, real=real, channel=channel, count=shown)
        for axes in panels[line]:
            axes.set_axis_off()
        for axes, image in zip(panels[line], images, strict=False):
            axes.imshow(image, cmap="gray", vmin=-2, vmax=2.5 if channel == 1 else 2, interpolation="nearest")
        panels[line][0].text(-0.1, 0.5, name, transform=panels[line][0].transAxes, fontsize=8, ha="right", va="center")
    with atomic_file(file) as temporary:
        figure.savefig(temporary, dpi=110)


def _picked(patches: Sequence[CasePatches], *, real: bool, channel: int, count: int) -> list[Values]:
    """Choose patches that lie within the brain, equally many of each patient."""
    kind = [found for found in patches if found.real is real]
    each = -(-count // max(len(kind), 1))
    inside = [[image for image in found.images if (image[1] != 0).mean() > 0.9][:each] for found in kind]
    return [image[channel] for images in inside for image in images][:count]

"""A picture sheet of a cohort: baseline, follow-up, their difference, and the changes drawn over the follow-up."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesionloss.core.files import atomic_file
from lesionloss.synth.fields import Float, Mask
from lesionloss.synth.patient_files import RECORD_FILE
from lesionloss.synth.write_cohort import patient_folder

_TITLES = ("baseline (left is left)", "follow-up", "difference", "what changed", "sagittal, follow-up")
_CENTRE_OF_CONTRAST = 0.7  # grey value at which normal white matter is shown
_COLOURS = {"new": "#ff4d4d", "enlarging": "#ffb14d", "shrinking": "#4dd2ff", "vanishing": "#6a7dff"}


def write_preview(folder: Path, patients: int, file: Path, rows: int = 4) -> None:
    """Draw the first patients of a written cohort.

    Args:
        folder: The cohort.
        patients: How many patients it has.
        file: A PNG, SVG or PDF file.
        rows: How many patients are drawn at most.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown = min(rows, patients)
    figure = Figure(figsize=(3.0 * len(_TITLES), 3.6 * shown + 0.4), facecolor="black", layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(shown, len(_TITLES), squeeze=False)
    for index in range(shown):
        _draw_row(axes[index], _load_patient(patient_folder(folder, index)))
    for axis, title in zip(axes[0], _TITLES, strict=True):
        axis.set_title(title, color="white", fontsize=10)
    _explain_colours(figure)
    with atomic_file(file) as temporary:
        figure.savefig(temporary, dpi=110, facecolor="black")


@dataclass(frozen=True, eq=False)
class _Shown:
    """One written patient, turned to RAS."""

    caption: str
    visits: tuple[Float, Float]
    brain: Mask
    kinds: dict[str, Mask]
    spacing_mm: tuple[float, float, float]


def _load_patient(folder: Path) -> _Shown:
    import nibabel

    def load(name: str) -> Any:
        return nibabel.as_closest_canonical(nibabel.load(folder / f"{name}.nii.gz"))

    first, second = (load(f"flair_time0{visit}_on_middle_space") for visit in (1, 2))
    record = json.loads((folder / RECORD_FILE).read_text(encoding="utf-8"))
    news = [lesion for lesion in record["lesions"] if lesion["kind"] == "new"]
    volume = sum(lesion["volume_mm3"] for lesion in news)
    x, y, z = (float(step) for step in first.header.get_zooms())
    return _Shown(
        caption=f"{folder.name}: {len(news)} new, {volume:.0f} mm³",
        visits=(np.asarray(first.dataobj, np.float32), np.asarray(second.dataobj, np.float32)),
        brain=np.asarray(load("brain_mask").dataobj) > 0,
        kinds={kind: np.asarray(load(f"lesions_{kind}").dataobj) > 0 for kind in _COLOURS},
        spacing_mm=(x, y, z),
    )


def _draw_row(axes: NDArray[Any], shown: _Shown) -> None:
    brain = shown.brain
    scaled = [np.where(brain, image / np.median(image[brain]), 0) for image in shown.visits]
    scored = [(image - image[brain].mean()) / image[brain].std() for image in shown.visits]
    difference = np.where(brain, scored[1] - scored[0], 0)
    z, x = _slice_of(shown), brain.shape[0] // 2 - 3
    panels = [scaled[0][:, :, z], scaled[1][:, :, z], difference[:, :, z], scaled[1][:, :, z], scaled[1][x]]
    wide, deep, high = shown.spacing_mm
    for column, (axis, panel) in enumerate(zip(axes, panels, strict=True)):
        darkest, brightest = (-2.5, 2.5) if column == 2 else (0.0, 1 / _CENTRE_OF_CONTRAST)
        aspect = high / deep if column == 4 else deep / wide
        axis.imshow(
            panel.T,
            origin="lower",
            cmap="gray",
            vmin=darkest,
            vmax=brightest,
            interpolation="bicubic",
            aspect=aspect,
        )
        axis.set_axis_off()
    for kind, colour in _COLOURS.items():
        own = shown.kinds[kind][:, :, z]
        if own.any():
            axes[3].contour(own.T, levels=[0.5], colors=[colour], linewidths=1.2)
    axes[0].text(0, -0.02, shown.caption, color="white", fontsize=9, va="top", transform=axes[0].transAxes)


def _slice_of(shown: _Shown) -> int:
    """Choose the slice with most new lesion, or most change, or just above the middle."""
    for masks in ([shown.kinds["new"]], list(shown.kinds.values())):
        area = np.sum([mask.sum(axis=(0, 1)) for mask in masks], axis=0)
        if area.any():
            return int(area.argmax())
    return int(shown.brain.shape[2] * 11 // 20)


def _explain_colours(figure: Any) -> None:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=colour, label=kind) for kind, colour in _COLOURS.items()]
    figure.legend(
        handles=handles,
        loc="outside lower right",
        ncols=len(handles),
        labelcolor="white",
        facecolor="black",
        fontsize=9,
    )

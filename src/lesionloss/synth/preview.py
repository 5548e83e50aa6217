"""A picture sheet of a cohort: baseline, follow-up, their difference, and the reference over the follow-up."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesionloss.files import whole_file
from lesionloss.synth.cohort import RECORD_FILE, patient_folder
from lesionloss.synth.fields import Float

_TITLES = (
    "baseline (left is left)",
    "follow-up",
    "difference",
    "new (red) and old (blue) lesions",
    "sagittal, follow-up",
)
_CENTRE_OF_CONTRAST = 0.75  # grey value at which normal white matter is shown


def write_preview(folder: Path, patients: int, file: Path, rows: int = 4) -> None:
    """Draw the first `rows` patients of a written cohort to `file` (PNG, SVG or PDF by its ending)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown = min(rows, patients)
    figure = Figure(figsize=(3.0 * len(_TITLES), 3.6 * shown), facecolor="black", layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(shown, len(_TITLES), squeeze=False)
    for index in range(shown):
        _draw_row(axes[index], patient_folder(folder, index), first=index == 0)
    with whole_file(file) as temporary:
        figure.savefig(temporary, dpi=110, facecolor="black")


def _load(folder: Path, name: str) -> tuple[Float, NDArray[np.float64]]:
    import nibabel

    image: Any = nibabel.load(folder / f"{name}.nii.gz")
    return np.asarray(image.dataobj, dtype=np.float32), np.asarray(image.affine)


def _draw_row(axes: NDArray[Any], folder: Path, first: bool) -> None:
    (before, affine), (after, _) = (_load(folder, f"flair_time0{visit}_on_middle_space") for visit in (1, 2))
    reference, brain = (_load(folder, name)[0] > 0 for name in ("ground_truth", "brain_mask"))
    record = json.loads((folder / RECORD_FILE).read_text(encoding="utf-8"))
    scaled = [np.where(brain, image / np.median(image[brain]), 0) for image in (before, after)]
    scored = [(image - image[brain].mean()) / image[brain].std() for image in (before, after)]
    difference = np.where(brain, scored[1] - scored[0], 0)
    lesion_voxels = reference.sum(axis=(0, 1))
    z = int(lesion_voxels.argmax()) if lesion_voxels.any() else brain.shape[2] * 11 // 20
    x = brain.shape[0] // 2 - 3
    panels = [scaled[0][:, :, z], scaled[1][:, :, z], difference[:, :, z], scaled[1][:, :, z], scaled[1][x]]
    for column, (axis, panel) in enumerate(zip(axes, panels, strict=True)):
        low, high = (-2.5, 2.5) if column == 2 else (0.0, 1 / _CENTRE_OF_CONTRAST)
        axis.imshow(panel.T, origin="lower", cmap="gray", vmin=low, vmax=high, interpolation="bicubic")
        axis.set_axis_off()
        if first:
            axis.set_title(_TITLES[column], color="white", fontsize=10)
    if reference[:, :, z].any():
        axes[3].contour(reference[:, :, z].T, levels=[0.5], colors=["#ff4d4d"], linewidths=1.2)
    _mark_old(axes[3], record["lesions"], affine, z)
    news = [lesion for lesion in record["lesions"] if lesion["kind"] == "new"]
    volume = sum(lesion["volume_mm3"] for lesion in news)
    caption = f"{folder.name}: {len(news)} new, {volume:.0f} mm³"
    axes[0].text(0, -0.02, caption, color="white", fontsize=9, va="top", transform=axes[0].transAxes)


def _mark_old(axis: Any, lesions: list[dict[str, Any]], affine: NDArray[np.float64], z: int) -> None:
    """A blue ring around each old lesion that this slice meets."""
    spacing = float(affine[0, 0])
    for lesion in lesions:
        voxel = (np.array(lesion["centre_mm"]) - affine[:3, 3]) / spacing
        radius = (0.239 * lesion["volume_mm3"]) ** (1 / 3) / spacing
        if lesion["kind"] == "old" and abs(voxel[2] - z) <= radius:
            size = 2 * (radius + 2)
            axis.plot(voxel[0], voxel[1], "o", markersize=size, fillstyle="none", color="#5cadff", markeredgewidth=0.9)

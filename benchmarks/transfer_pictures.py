"""Pictures of what a model misses and marks wrongly on real patients, and of lesions found by size (docs/models.md).

python benchmarks/transfer_pictures.py ../shared/data/lit --model model --target positive_change --out docs/images
"""

from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import matplotlib as mpl
import numpy as np
import typer
from matplotlib import pyplot as plt
from numpy.typing import NDArray
from PIL import Image
from transfer_cases import MATCHED, real_cases
from transfer_scores import SIZES_MM3, found_by_size, lesions, probability

from lesionloss.core.components import label_components
from lesionloss.data.preparation.recipe import PreparationRecipe
from lesionloss.data.prepared import PreparedCase
from lesionloss.inference.difference_threshold import METHODS
from lesionloss.networks.bundle import load_bundle
from lesionloss.networks.shipped_models import model_folder

HALF_MM = 32.0  # half the side of a picture
KINDS = ("found", "missed", "marked wrongly")
Mask = NDArray[np.bool_]


def main(
    real: Annotated[str, typer.Argument(help="Folder of real patients, or LAYOUT:PATH.")],
    out: Annotated[Path, typer.Option(help="Folder of the pictures.")],
    model: Annotated[Path | None, typer.Option(help="Folder of a model; default: the shipped one.")] = None,
    target: Annotated[str | None, typer.Option(help="What counts as lesion.")] = None,
) -> None:
    """Draw `model-failures.png` and `model-sizes.png`."""
    mpl.use("Agg")
    bundle = load_bundle(model_folder(model))
    record = bundle.record
    cases = real_cases(real, target, MATCHED)
    masks = [
        lesions(case, probability(bundle.network, case, record), record.threshold, record.min_volume_mm3)
        for case in cases
    ]
    out.mkdir(parents=True, exist_ok=True)
    draw_failures(cases, masks, out / "model-failures.png")
    plain = METHODS["matched_difference_threshold"]
    unmatched = real_cases(real, target, PreparationRecipe())
    draw_sizes(cases, {"model": masks, "matched difference threshold": [plain.mask(case) for case in unmatched]}, out)


def draw_failures(cases: list[PreparedCase], masks: list[Mask], file: Path) -> None:
    """One row for each patient and kind: baseline, follow-up, and both outlines around the largest such component."""
    rows = [(case, mask, kind) for case, mask in zip(cases, masks, strict=True) for kind in KINDS]
    places = [(case, mask, kind, largest(case, mask, kind)) for case, mask, kind in rows]
    shown = [place for place in places if place[3] is not None]
    figure, axes = plt.subplots(len(shown), 4, figsize=(8, 2.05 * len(shown)), squeeze=False)
    for line, (case, mask, kind, centre) in zip(axes, shown, strict=True):
        assert centre is not None
        draw_row(line, case, mask, f"{case.name.removeprefix('patient')}: {kind}", centre)
    for axis, title in zip(axes[0], ("baseline", "follow-up", "difference", "reference, model"), strict=True):
        axis.set_title(title, fontsize=9)
    figure.tight_layout(pad=0.4)
    figure.savefig(file, dpi=90)
    plt.close(figure)
    Image.open(file).convert("RGB").quantize(64, dither=Image.Dither.NONE).save(file, optimize=True)


def largest(case: PreparedCase, mask: Mask, kind: str) -> NDArray[np.float64] | None:
    """The centre of the largest component of a kind; None where there is none."""
    of, other = (mask, case.lesion) if kind == "marked wrongly" else (case.lesion, mask)
    components, _ = label_components(of, 26)
    voxels = np.bincount(components.ravel())
    touched = np.bincount(components[other].ravel(), minlength=len(voxels)) > 0
    wanted = (touched if kind == "found" else ~touched) * voxels
    wanted[0] = 0
    return np.argwhere(components == wanted.argmax()).mean(axis=0) if wanted.any() else None


def draw_row(line: Any, case: PreparedCase, mask: Mask, title: str, centre: NDArray[np.float64]) -> None:
    """Draw the slice through a centre, seen from below, front upwards."""
    sides = np.round(HALF_MM / np.array(case.spacing_mm[:2])).astype(int)
    x, y = (slice(max(0, int(c) - side), int(c) + side) for c, side in zip(centre[:2], sides, strict=True))
    part = (x, y, round(centre[2]))
    for axis, channel in zip(line, (0, 1, 2, 1), strict=True):
        low, high = (-1.5, 1.5) if channel == 2 else (-2.5, 4.0)
        axis.imshow(case.image[channel][part].T[::-1, ::-1], cmap="gray", vmin=low, vmax=high)
        axis.set_axis_off()
    for found, colour in ((case.lesion, "#00b4d8"), (mask, "#ff8800")):
        if found[part].any():
            line[3].contour(found[part].T[::-1, ::-1].astype(float), [0.5], colors=colour, linewidths=1.1)
    line[0].text(2, 6, title, color="white", fontsize=8, va="top")


def draw_sizes(cases: list[PreparedCase], methods: dict[str, list[Mask]], folder: Path) -> None:
    """Bars: the share of the reference's lesions of which a voxel is marked, by volume."""
    names = [f"below {SIZES_MM3[0]:g}", *(f"{a:g} to {b:g}" for a, b in pairwise(SIZES_MM3))]
    names.append(f"above {SIZES_MM3[-1]:g}")
    figure, axis = plt.subplots(figsize=(6, 2.8))
    for index, (name, masks) in enumerate(methods.items()):
        counts = np.sum([found_by_size(case, mask) for case, mask in zip(cases, masks, strict=True)], axis=0)
        places = np.arange(len(names)) + 0.4 * index - 0.2
        bars = axis.bar(places, counts[:, 0] / counts[:, 1], 0.38, label=name, color=("#ff8800", "#888888")[index])
        axis.bar_label(bars, [f"{hits} of {total}" for hits, total in counts], fontsize=7)
    axis.set_xticks(np.arange(len(names)), names)
    axis.set(xlabel="volume of the reference's lesion (mm³)", ylabel="share found", ylim=(0, 1.15))
    axis.legend(fontsize=8, frameon=False, loc="upper left")
    figure.tight_layout()
    figure.savefig(folder / "model-sizes.png", dpi=100)
    plt.close(figure)


if __name__ == "__main__":
    typer.run(main)

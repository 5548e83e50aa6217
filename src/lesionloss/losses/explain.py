"""Where a loss pulls: its gradient with respect to the logits, over the range of predictions (Cabezas & Diez, App. A).

One image with a given share of lesion. For the lesion's curve all lesion voxels are predicted at p while the background
stays at 0.1; for the background's curve all background voxels are predicted at p while the lesion stays at 0.5.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from lesionloss.core.errors import UsageError
from lesionloss.core.files import atomic_file, write_text
from lesionloss.losses.criterion import build

VOXELS = 10_000
STEPS = 99
LESION_AT, BACKGROUND_AT = 0.5, 0.1
NEARLY_NOTHING = 1e-3  # pulls below that are drawn to scale, larger ones by their logarithm
TICKS = [0.001, 0.01, 0.1, 1, 10, 100]

Curve = npt.NDArray[np.float64]


@dataclass(frozen=True)
class GradientAnalysis:
    """Curves over `probability` (of lesion). Positive is towards the reference: lesions up, background down.

    `lesion`, `background`: of one voxel, times the number of voxels; the totals: of all voxels of the class.
    """

    spec: str
    share: float
    probability: Curve
    lesion: Curve
    background: Curve
    lesion_total: Curve
    background_total: Curve


def gradient_analysis(spec: str, share: float) -> GradientAnalysis:
    """The curves of a loss for an image in which `share` of the voxels is lesion.

    Raises UsageError for a share that leaves no lesion or no background voxel.
    """
    lesions = round(VOXELS * share)
    if not 0 < lesions < VOXELS:
        raise UsageError(f"the share of lesion must leave voxels of both classes, 0.0001 to 0.9999; got {share:g}")
    p = torch.linspace(0.01, 0.99, STEPS, dtype=torch.float64)
    on_lesion = -_gradients(spec, lesions, p, torch.full_like(p, BACKGROUND_AT))[:, 0]
    on_background = _gradients(spec, lesions, torch.full_like(p, LESION_AT), p)[:, -1]
    return GradientAnalysis(
        spec,
        lesions / VOXELS,
        p.numpy(),
        (VOXELS * on_lesion).numpy(),
        (VOXELS * on_background).numpy(),
        (lesions * on_lesion).numpy(),
        ((VOXELS - lesions) * on_background).numpy(),
    )


def _gradients(spec: str, lesions: int, on_lesion: torch.Tensor, on_background: torch.Tensor) -> torch.Tensor:
    """Of one lesion voxel and one background voxel, for each prediction: (STEPS, 2)."""
    labels = (torch.arange(VOXELS) < lesions).to(torch.uint8).view(1, 1, 1, VOXELS).expand(len(on_lesion), 1, 1, VOXELS)
    high, low = (torch.logit(p)[:, None, None, None] for p in (on_lesion, on_background))
    logits = torch.where(labels > 0, high, low).requires_grad_()
    # Each prediction is an image of its own, and images do not touch each other.
    (gradient,) = torch.autograd.grad(build(spec)(logits, labels.contiguous(), reduce=False).sum(), logits)
    flat = gradient.flatten(1)
    # A loss that ranks voxels takes some of many equal ones: the mean over the class is what the class feels.
    return torch.stack([flat[:, :lesions].mean(1), flat[:, lesions:].mean(1)], dim=1)


def write_csv(curves: list[GradientAnalysis], path: Path) -> None:
    """One row per loss and probability."""
    rows = ["loss,lesion_share,probability,lesion_voxel,background_voxel,lesion_total,background_total"]
    for curve in curves:
        columns = (curve.lesion, curve.background, curve.lesion_total, curve.background_total)
        for place, p in enumerate(curve.probability):
            numbers = ",".join(f"{column[place]:.9g}" for column in columns)
            rows.append(f'"{curve.spec}",{curve.share:g},{p:.4g},{numbers}')
    write_text(path, "\n".join(rows) + "\n")


def draw(curves: list[GradientAnalysis], path: Path) -> None:
    """A figure (PNG or SVG by the path's ending): the pull on one voxel, and on each class as a whole."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.ticker import FuncFormatter, NullLocator

    figure, axes = pyplot.subplots(1, 2, figsize=(11, 4.5), sharex=True, layout="constrained")
    colours = pyplot.get_cmap("tab10")
    for number, curve in enumerate(curves):
        colour = colours(number % 10)
        sides = ((axes[0], curve.lesion, curve.background), (axes[1], curve.lesion_total, curve.background_total))
        for axis, lesion, background in sides:
            axis.plot(curve.probability, lesion, color=colour, label=curve.spec if axis is axes[0] else None)
            axis.plot(curve.probability, background, color=colour, linestyle="--")
    for axis, title in ((axes[0], "one voxel, times the number of voxels"), (axes[1], "all voxels of the class")):
        axis.set_yscale("asinh", linear_width=NEARLY_NOTHING)  # as a logarithm, but smooth through 0
        axis.set_yticks([-tick for tick in TICKS[::-1]] + [0, *TICKS])
        axis.yaxis.set_minor_locator(NullLocator())
        axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.axhline(0, color="0.7", linewidth=0.8)
        axis.set_ylim(min(-NEARLY_NOTHING / 5, 1.5 * axis.dataLim.y0), 1.5 * axis.dataLim.y1)
        axis.set_xlabel("predicted probability of lesion")
        axis.set_title(title, fontsize=10)
    axes[0].set_ylabel("pull towards the reference")
    axes[0].plot([], [], color="0.3", label="lesion voxels")
    axes[0].plot([], [], color="0.3", linestyle="--", label="background voxels")
    figure.legend(loc="outside right center", fontsize=8)
    figure.suptitle(f"Where the losses pull, {100 * curves[0].share:g} % lesion")
    with atomic_file(path) as temporary:
        figure.savefig(temporary, dpi=150, format=path.suffix[1:])
    pyplot.close(figure)

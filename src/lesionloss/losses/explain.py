"""Gradient analysis: the gradient of a loss with respect to the logits, over the range of predicted probabilities.

One image with a given share of lesion voxels. In the curve of the lesion, all lesion voxels are predicted at p and the
background at 0.1; in that of the background, all background voxels are predicted at p and the lesion at 0.5.
Source: Cabezas & Diez 2024, Appendix A.
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
LINEAR_BELOW = 1e-3  # the axis is linear below that and logarithmic above
TICKS = [0.001, 0.01, 0.1, 1, 10, 100]

Curve = npt.NDArray[np.float64]


@dataclass(frozen=True)
class GradientAnalysis:
    """Gradients of one loss over the predicted probability of lesion; positive values lead towards the reference.

    `lesion` and `background` are the gradient of one voxel times the number of voxels of the image; the totals are the
    sum over all voxels of the class. `share` is the share of lesion voxels. All curves have the same length.
    """

    spec: str
    share: float
    probability: Curve
    lesion: Curve
    background: Curve
    lesion_total: Curve
    background_total: Curve


def gradient_analysis(spec: str, share: float) -> GradientAnalysis:
    """The gradients of a loss at lesion and at background voxels.

    Args:
        spec: a loss, or a sum of losses.
        share: share of lesion voxels in the image, between 0 and 1.

    Returns:
        Curves over 99 probabilities from 0.01 to 0.99.

    Raises:
        UsageError: for a share that leaves no lesion or no background voxel, or a text that is no loss.
    """
    lesions = round(VOXELS * share)
    if not 0 < lesions < VOXELS:
        raise UsageError(
            f"the share of lesion voxels must be from 0.0001 to 0.9999, so that both classes have voxels; got {share:g}"
        )
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
    """The gradient of one lesion voxel and of one background voxel for each prediction, (STEPS, 2)."""
    labels = (torch.arange(VOXELS) < lesions).to(torch.uint8).view(1, 1, 1, VOXELS).expand(len(on_lesion), 1, 1, VOXELS)
    high, low = (torch.logit(p)[:, None, None, None] for p in (on_lesion, on_background))
    logits = torch.where(labels > 0, high, low).requires_grad_()
    # Each prediction is one image of the batch, and images are independent.
    (gradient,) = torch.autograd.grad(build(spec)(logits, labels.contiguous(), reduce=False).sum(), logits)
    flat = gradient.flatten(1)
    # A loss that ranks voxels uses only some of many equal ones: the mean over the class describes all of them.
    return torch.stack([flat[:, :lesions].mean(1), flat[:, lesions:].mean(1)], dim=1)


def write_csv(curves: list[GradientAnalysis], path: Path) -> None:
    """Write a table with one row per loss and probability."""
    rows = ["loss,lesion_share,probability,lesion_voxel,background_voxel,lesion_total,background_total"]
    for curve in curves:
        columns = (curve.lesion, curve.background, curve.lesion_total, curve.background_total)
        for place, p in enumerate(curve.probability):
            numbers = ",".join(f"{column[place]:.9g}" for column in columns)
            rows.append(f'"{curve.spec}",{curve.share:g},{p:.4g},{numbers}')
    write_text(path, "\n".join(rows) + "\n")


def draw(curves: list[GradientAnalysis], path: Path) -> None:
    """Draw the gradients of one voxel and of each class as a whole; the ending of the path, .png or .svg, decides."""
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
        axis.set_yscale("asinh", linear_width=LINEAR_BELOW)  # logarithmic, but smooth through 0
        axis.set_yticks([-tick for tick in TICKS[::-1]] + [0, *TICKS])
        axis.yaxis.set_minor_locator(NullLocator())
        axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.axhline(0, color="0.7", linewidth=0.8)
        axis.set_ylim(min(-LINEAR_BELOW / 5, 1.5 * axis.dataLim.y0), 1.5 * axis.dataLim.y1)
        axis.set_xlabel("predicted probability of lesion")
        axis.set_title(title, fontsize=10)
    axes[0].set_ylabel("gradient towards the reference")
    axes[0].plot([], [], color="0.3", label="lesion voxels")
    axes[0].plot([], [], color="0.3", linestyle="--", label="background voxels")
    figure.legend(loc="outside right center", fontsize=8)
    figure.suptitle(f"Gradients of the losses, {100 * curves[0].share:g} % lesion voxels")
    with atomic_file(path) as temporary:
        figure.savefig(temporary, dpi=150, format=path.suffix[1:])
    pyplot.close(figure)

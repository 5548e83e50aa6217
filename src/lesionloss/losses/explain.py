"""Gradient analysis: the gradient of a loss with respect to the logits, over the range of predicted probabilities.

One image with a given share of lesion voxels, which are one lesion. In the curve of the lesion, all lesion voxels are
predicted at p and the background at 0.1; in that of the background, all background voxels are predicted at p and the
lesion at 0.5.
Source: Cabezas & Diez 2024, Appendix A.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from lesionloss.core.errors import UsageError
from lesionloss.core.files import atomic_file, write_text
from lesionloss.losses.criterion import build
from lesionloss.losses.dice_gradient import dice_terms, dice_weights

SIDE = 100  # of the image, whose first rows are one lesion
VOXELS = SIDE * SIDE
NEAR_END = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005)  # probabilities of confident predictions, and 1 - these
LESION_AT, BACKGROUND_AT = 0.5, 0.1
LINEAR_BELOW = 1e-3  # the axis is linear below that and logarithmic above
SHOWN = (0.0001, 0.01, 0.5, 0.99, 0.9999)  # of the probabilities, in tables and on the axis
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
        Curves over 111 probabilities from 0.0001 to 0.9999.

    Raises:
        UsageError: for a share that leaves no lesion or no background voxel, or a text that is no loss.
    """
    lesions = round(VOXELS * share)
    if not 0 < lesions < VOXELS:
        raise UsageError(
            f"the share of lesion voxels must be from 0.0001 to 0.9999, so that both classes have voxels; got {share:g}"
        )
    p = probabilities()
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


def term_analysis(spec: str, lesions: int, predictions: Sequence[float]) -> list[tuple[str, list[float]]]:
    """The terms of the derivative of a Dice loss, where lesion voxels are predicted at p and the background at 0.1.

    Args:
        spec: `dice` or `generalised_dice(power=...)`.
        lesions: lesion voxels among the 10,000 of the image.
        predictions: the values of p.

    Returns:
        What each row is, and its value for each p.

    Raises:
        UsageError: for another loss.
    """
    weights = dice_weights(spec, VOXELS, lesions)
    y = (torch.arange(VOXELS) < lesions).double()
    columns = []
    for prediction in predictions:
        p = torch.where(y > 0, prediction, BACKGROUND_AT).double()
        terms, slope = dice_terms(p, y, weights), p * (1 - p)
        logits = torch.logit(p).requires_grad_()
        (computed,) = torch.autograd.grad(build(spec)(logits[None, None, None], y.to(torch.uint8)[None, None]), logits)
        of_logits = terms.derivative * slope
        columns.append(
            {
                "normalising factor": terms.factor,
                "global term": terms.shared,
                "foreground term": terms.foreground[0],
                "mixed term, lesion": terms.mixed[0],
                "mixed term, background": terms.mixed[-1],
                "d loss / d p, lesion": terms.derivative[0],
                "d loss / d p, background": terms.derivative[-1],
                "d loss / d logit, lesion": of_logits[0],
                "by autograd, lesion": computed[0],
                "d loss / d logit, background": of_logits[-1],
                "by autograd, background": computed[-1],
            }
        )
    return [(words, [float(column[words]) + 0.0 for column in columns]) for words in columns[0]]


def probabilities() -> torch.Tensor:
    """The predictions at which gradients are computed: 0.01 to 0.99 in equal steps, and some nearer to 0 and 1."""
    ends = torch.tensor(NEAR_END, dtype=torch.float64)
    return torch.cat([ends, torch.linspace(0.01, 0.99, 99, dtype=torch.float64), 1 - ends.flip(0)])


def _gradients(spec: str, lesions: int, on_lesion: torch.Tensor, on_background: torch.Tensor) -> torch.Tensor:
    """The gradient of one lesion voxel and of one background voxel for each prediction, (predictions, 2)."""
    labels = (
        (torch.arange(VOXELS) < lesions).to(torch.uint8).view(1, 1, SIDE, SIDE).expand(len(on_lesion), 1, SIDE, SIDE)
    )
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
        axis.set_xscale("logit")
        axis.set_xticks(SHOWN, [f"{p:g}" for p in SHOWN])
        axis.xaxis.set_minor_locator(NullLocator())
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

"""Losses that erode images of probabilities or errors: Hausdorff by erosion, and centre-line Dice."""

from functools import reduce

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import max_pool2d, max_pool3d, pad

from lesionloss.core.ranges import Natural, Positive, PositiveExponent
from lesionloss.losses.reference_maps import Mask, Spacing, reference_map
from lesionloss.losses.registry import loss
from lesionloss.losses.voxels import Voxels


@loss("hausdorff_er", source="Karimi & Salcudean 2020, loss by erosion", geometric=True)
def hausdorff_er(v: Voxels, *, alpha: PositiveExponent = 2.0, erosions: Positive = 10) -> Tensor:
    """Hausdorff by erosion: squared errors that survive many erosions cost more, for they lie in thick regions.

    Formula: mean Σ_(k=1..erosions) k^alpha e_k per lesion class, e_0 = (p - t)², e_k = max(0, 2 B e_(k-1) - 1),
        B = mean of a voxel and its 4 (in 3-D: 6) neighbours
    alpha: power of the number of erosions: how much more thick regions of errors cost (α)
    erosions: how often the errors are eroded (K); erosions beyond half the width of the widest error cost nothing
    Limits: regions of errors that one erosion removes, such as single voxels, cost nothing: add another loss.
    Empty: 0 for an empty prediction; thick false positives cost as elsewhere.
    Border: outside of the patch there are no errors; masked voxels have none. Distances are in voxels.
    Released: other code rescales each e_k to the range from 0 to 1 over the image, so that an error's cost depends on
        errors elsewhere; here soft thresholding at 1/2 maps 1/2..1 to 0..1.
    Example: hausdorff_er + dice_ce
    """
    errors = (v.p - v.onehot)[:, 1:].square()
    if v.valid is not None:
        errors = errors * v.valid[:, None]
    eroded = errors.reshape(*errors.shape[:2], *v.space)
    total = torch.zeros_like(eroded)
    for k in range(1, erosions + 1):
        eroded = torch.relu(2 * _cross_mean(eroded, len(v.space)) - 1)
        total = total + k**alpha * eroded
    costs = total.flatten(2)
    return v.total(costs if v.valid is None else costs * v.valid[:, None]) / v.n[:, None]


def _cross_mean(x: Tensor, axes: int) -> Tensor:
    """Mean of a voxel and its neighbours along the last `axes` axes; outside is 0."""
    total = x
    for axis in range(1, axes + 1):
        side = (0, 0) * (axis - 1)
        length = x.shape[-axis]
        total = total + pad(x.narrow(-axis, 0, length - 1), (*side, 1, 0))
        total = total + pad(x.narrow(-axis, 1, length - 1), (*side, 0, 1))
    return total / (2 * axes + 1)


@reference_map("skeleton")
def skeleton(lesion: Mask, spacing_mm: Spacing) -> npt.NDArray[np.float32]:
    """1 on the centre lines of the lesions: what opening removes from the mask and from all its erosions."""
    from scipy.ndimage import binary_dilation, binary_erosion, generate_binary_structure

    cross, cube = (generate_binary_structure(lesion.ndim, size) for size in (1, lesion.ndim))
    found = np.zeros(lesion.shape, dtype=bool)
    while True:
        eroded = binary_erosion(lesion, cross, border_value=1)
        found |= lesion & ~binary_dilation(eroded, cube)
        if not eroded.any() or eroded.all():
            return found.astype(np.float32)
        lesion = eroded


@loss("cl_dice", source="Shit 2021 (clDice)", maps=["skeleton"])
def cl_dice(v: Voxels, *, iterations: Natural = 3) -> Tensor:
    """Centre-line Dice: overlap of each mask with the centre lines of the other.

    Formula: 1 - 2 P S / (P + S) per lesion class, P = (Σ c_p t + s) / (Σ c_p + s), S = (Σ c_t p + s) / (Σ c_t + s),
        c = centre lines: c_p by soft erosions of p, c_t of the reference
    iterations: erosions of p after the first; p is expected to have lesions with radii up to so many voxels
    Limits: made for tubes; add another loss, for voxels beside the centre lines have no gradient.
    Empty: 0 for an empty prediction, about 1 with false positives.
    Border: a lesion that the patch cuts goes on outside: it is not eroded from the cut. Masked voxels are background.
    Soft labels: refused.
    Released: the authors add 1 instead of s, and erode the reference `iterations` times, here until nothing is left.
    Example: cl_dice + dice_ce
    """
    poison = v.refuse_parts("centre lines are those of masks")
    p, t = v.p[:, 1:], v.onehot[:, 1:]
    if v.valid is not None:
        p = p * v.valid[:, None]
    lines = _soft_skeleton(p.reshape(*p.shape[:2], *v.space), iterations).flatten(2)
    true_lines = v.reference_map("skeleton").to(p.dtype)
    precision = (v.total(lines * t) + v.eps) / (v.total(lines) + v.eps)
    sensitivity = (v.total(true_lines * p) + v.eps) / (v.total(true_lines) + v.eps)
    return 1 - 2 * precision * sensitivity / (precision + sensitivity) + poison


def _soft_skeleton(x: Tensor, iterations: int) -> Tensor:
    """Soft centre lines of x (R, C, *space) in 0 to 1."""
    axes = x.dim() - 2
    lines = [tuple(3 if other == axis else 1 for other in range(axes)) for axis in range(axes)]
    found, negative = torch.zeros_like(x), -x
    for _ in range(iterations + 1):
        negative = reduce(torch.maximum, [_largest_around(negative, line) for line in lines])
        eroded = -negative  # the least of a voxel and its neighbours along the axes
        added = torch.relu(x - _largest_around(eroded, (3,) * axes))
        found = found + added - found * added
        x = eroded
    return found


def _largest_around(x: Tensor, box: tuple[int, ...]) -> Tensor:
    """The largest value in a box of voxels around each; outside of the image there is none."""
    pool = max_pool2d if len(box) == 2 else max_pool3d
    largest: Tensor = pool(x, box, stride=1, padding=tuple(side // 2 for side in box))
    return largest

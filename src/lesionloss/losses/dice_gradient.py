"""The derivative of the Dice losses in closed form, by its three terms (Cabezas & Diez 2024, Appendix A).

`docs/explanation/gradients.md` derives it. Without smoothing, so that it is the paper's; the losses of this package
differ by less than 1e-5 where an image has lesions.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from lesionloss.core.errors import UsageError
from lesionloss.losses.spec import parse


@dataclass(frozen=True)
class DiceWeights:
    """The weights of the two classes in equation A7: `lesion` is w1, `background` w0."""

    lesion: float
    background: float

    def least_lesion(self, voxels: int, lesions: int) -> float:
        """Compute what w1 must exceed, so that its factor |Y1| (w1 - w0) in A20 is larger than the other, N w0."""
        return voxels * self.background / lesions + self.background


@dataclass(frozen=True)
class DiceTerms:
    """The derivative with respect to the probabilities p (N,), A15: -factor * (shared + foreground + mixed).

    Attributes:
        factor: The normalising factor, one number.
        shared: The global term, one number, equal for all voxels.
        foreground: (N,), 0 at background voxels.
        mixed: (N,), positive at lesion voxels and negative at background voxels; 0 for the binary Dice.
    """

    factor: Tensor
    shared: Tensor
    foreground: Tensor
    mixed: Tensor

    @property
    def derivative(self) -> Tensor:
        """The derivative of the loss with respect to each probability, (N,)."""
        return -self.factor * (self.shared + self.foreground + self.mixed)


def dice_terms(p: Tensor, y: Tensor, weights: DiceWeights) -> DiceTerms:
    """Compute the terms of the derivative of A7.

    Args:
        p: Probabilities of lesion (N,), float.
        y: Reference (N,), 0 or 1.
        weights: Of the classes.

    Returns:
        The terms; NaN where the loss is undefined: no voxel is predicted, none is lesion, and w0 is 0.
    """
    w1, w0, n = weights.lesion, weights.background, len(y)
    both = (p + y).sum()
    return DiceTerms(
        factor=2 * (w1 + w0) / ((w1 - w0) * both + 2 * n * w0) ** 2,
        shared=-(w1 - w0) * (p * y).sum(),
        foreground=(w1 - w0) * both * y,
        mixed=n * w0 * (2 * y - 1),
    )


def dice_weights(spec: str, voxels: int, lesions: int) -> DiceWeights:
    """Return the weights of a loss in an image: 1 and 0 for `dice`; for `generalised_dice`, the larger one is 1.

    Args:
        spec: The loss.
        voxels: Voxels of the image.
        lesions: Lesion voxels among them.

    Raises:
        UsageError: The loss is no Dice loss with these terms.
    """
    terms = parse(spec).terms
    given = dict(terms[0].given)
    if len(terms) == 1 and terms[0].name == "dice" and not given.get("squared"):
        return DiceWeights(1.0, 0.0)
    if len(terms) == 1 and terms[0].name == "generalised_dice":
        counts = torch.tensor([lesions, voxels - lesions], dtype=torch.float64)
        power = given.get("power")
        lesion, background = (counts.min() / counts).pow(2.0 if power is None else float(power)).tolist()
        return DiceWeights(lesion, background)
    raise UsageError(f"{spec}: only dice and generalised_dice(power=...) have a derivative of these three terms")

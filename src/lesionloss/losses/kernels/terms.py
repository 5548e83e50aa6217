"""Terms: functions of the cross-entropy of one voxel. Each has a value and a slope, d term / d ce."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class Term(Protocol):
    """ce = -log p of the true class and q = 1 - p have the same shape; value and slope are elementwise."""

    def value(self, ce: Tensor, q: Tensor) -> Tensor:
        """The term of each voxel."""

    def slope(self, ce: Tensor, q: Tensor) -> Tensor:
        """Its derivative by ce; q is a function of ce."""


@dataclass(frozen=True)
class CrossEntropy:
    """The cross-entropy itself."""

    def value(self, ce: Tensor, q: Tensor) -> Tensor:
        """See `Term`."""
        return ce

    def slope(self, ce: Tensor, q: Tensor) -> Tensor:
        """See `Term`."""
        return torch.ones_like(ce)


SMALLEST_BASE = 1e-7  # an overlap to a power below 1: its slope at 0 is infinite, so the base stays above this
SMALLEST_WRONG = 1e-30  # the same for one voxel, where the cross-entropy itself goes to 0 and tames the slope


@dataclass(frozen=True)
class Focal:
    """Focal term q^gamma · ce (Lin 2017)."""

    gamma: float

    def value(self, ce: Tensor, q: Tensor) -> Tensor:
        """See `Term`."""
        return ce if self.gamma == 0 else self._base(q).pow(self.gamma) * ce

    def slope(self, ce: Tensor, q: Tensor) -> Tensor:
        """See `Term`."""
        if self.gamma == 0:
            return torch.ones_like(ce)
        base = self._base(q)
        slope = (1 - q).mul_(ce).mul_(self.gamma).add_(base)
        return slope.mul_(base if self.gamma == 2 else base.pow(self.gamma - 1))

    def _base(self, q: Tensor) -> Tensor:
        return q if self.gamma >= 1 else q.clamp_min(SMALLEST_WRONG)


@dataclass(frozen=True)
class Poly:
    """Focal term with another first coefficient: q^gamma (ce + epsilon q) (Leng 2022)."""

    gamma: float
    epsilon: float

    def value(self, ce: Tensor, q: Tensor) -> Tensor:
        """See `Term`."""
        return Focal(self.gamma).value(ce + self.epsilon * q, q)

    def slope(self, ce: Tensor, q: Tensor) -> Tensor:
        """See `Term`."""
        of_focus = Focal(self.gamma).slope(ce + self.epsilon * q, q)
        return of_focus + self.epsilon * Focal(self.gamma).value(1 - q, q)


@dataclass(frozen=True)
class Tail:
    """Σ_{j>=gamma} q^j / j = ce - Σ_{j<gamma} q^j / j: cross-entropy without its first gamma - 1 Taylor terms."""

    gamma: int

    def value(self, ce: Tensor, q: Tensor) -> Tensor:
        """See `Term`."""
        if self.gamma == 1:
            return ce
        closed = ce - sum((q.pow(j) / j for j in range(2, self.gamma)), start=q)
        junction, terms = self.series(q.dtype)
        return torch.where(q < junction, self._series(q, terms), closed)

    def slope(self, ce: Tensor, q: Tensor) -> Tensor:
        """See `Term`."""
        return torch.ones_like(ce) if self.gamma == 1 else q.pow(self.gamma - 1)

    def series(self, dtype: torch.dtype) -> tuple[float, int]:
        """The q below which the series is used, because the closed form has lost its digits, and its number of terms.

        The closed form is off by gamma q^(1 - gamma) roundings, the series by its first missing term, relatively.
        """
        if dtype == torch.float64:
            return 1e-2, 8
        return (1e-2, 5) if self.gamma == 2 else (0.3, 8)

    def _series(self, q: Tensor, terms: int) -> Tensor:
        last = self.gamma + terms - 1
        polynomial = torch.full_like(q, 1 / last)
        for j in range(last - 1, self.gamma - 1, -1):
            polynomial = polynomial * q + 1 / j
        return polynomial * q.pow(self.gamma)

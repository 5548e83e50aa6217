"""Two samples of a quantity: medians and quartiles, and the distance between their distributions."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lesionloss.synth.realism.measures import QUANTITIES, Measured, Quantity, Values

SHOWN = (25, 50, 75)


@dataclass(frozen=True)
class QuantityDistance:
    """One quantity compared. There is no p-value: voxels of one patient are not independent.

    Attributes:
        quantity: The quantity.
        real: Quartiles (25, 50, 75 %) of the real cohort.
        synthetic: Quartiles of the synthetic cohort.
        values: Numbers of values.
        cases: Numbers of cases.
        wasserstein: How far one distribution has to be moved, on average, to become the other, in the quantity's unit.
        relative: The same over the real sample's interquartile range.
        ks: Largest difference between the two cumulative distributions (Kolmogorov-Smirnov), 0 to 1.
    """

    quantity: Quantity
    real: tuple[float, ...]
    synthetic: tuple[float, ...]
    values: tuple[int, int]
    cases: tuple[int, int]
    wasserstein: float
    relative: float
    ks: float


def compare(real: Sequence[Measured], synthetic: Sequence[Measured]) -> tuple[QuantityDistance, ...]:
    """Compare each quantity that both cohorts have, in the order of `QUANTITIES`."""
    rows = (_row(quantity, real, synthetic) for quantity in QUANTITIES)
    return tuple(row for row in rows if row is not None)


def pooled(measured: Sequence[Measured], quantity: Quantity) -> Values:
    """Collect the finite values of all cases."""
    values: Values = np.concatenate([np.empty(0), *(found[quantity] for found in measured if quantity in found)])
    return values[np.isfinite(values)]


def _row(quantity: Quantity, real: Sequence[Measured], synthetic: Sequence[Measured]) -> QuantityDistance | None:
    from scipy import stats

    first, second = pooled(real, quantity), pooled(synthetic, quantity)
    if not (len(first) and len(second)):
        return None
    low, _, high = np.percentile(first, SHOWN)
    distance = float(stats.wasserstein_distance(first, second))
    return QuantityDistance(
        quantity=quantity,
        real=tuple(np.percentile(first, SHOWN).tolist()),
        synthetic=tuple(np.percentile(second, SHOWN).tolist()),
        values=(len(first), len(second)),
        cases=(_holding(real, quantity), _holding(synthetic, quantity)),
        wasserstein=distance,
        relative=distance / float(high - low) if high > low else float("nan"),
        ks=_largest_gap(first, second),
    )


def _largest_gap(first: Values, second: Values) -> float:
    """Find the largest difference between the cumulative distributions of two samples."""
    everywhere = np.concatenate([first, second])
    shares = [np.searchsorted(np.sort(sample), everywhere, side="right") / len(sample) for sample in (first, second)]
    return float(np.abs(shares[0] - shares[1]).max())


def _holding(measured: Sequence[Measured], quantity: Quantity) -> int:
    return sum(quantity in found for found in measured)

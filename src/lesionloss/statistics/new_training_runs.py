"""What a difference would be with new patients, new training sets and new seeds: Student's t over the folds.

The folds of one repeat have training sets and training runs of their own, and patients of their own. So the spread
between the means of the folds contains all chance variation: patients, training set (loss x fold) and seed. No variance
has to be estimated apart, and none can be put at 0 because it looks small. The cost is the degrees of freedom, one
less than there are folds. docs/explanation/statistics.md compares this with a mixed model and with the
corrected variance of Nadeau and Bengio (2003).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lesionloss.statistics.evidence import Interval

Values = NDArray[np.float64]


@dataclass(frozen=True)
class FoldSpread:
    """The standard error (runs,) of a mean over patients, seen in the means of the folds, and its degrees of freedom.

    `folds` is the number of folds of a repeat, 0 without two folds; then the error is infinite.
    """

    error: Values
    freedom: float
    folds: int


def fold_spread(repeats: Sequence[Sequence[Values]]) -> FoldSpread:
    """The spread of a mean between folds.

    With folds of one size this is the test of a mixed model. Repeats split the same patients anew: the variance is the
    mean of theirs, as if one repeat had been run, because chance effects of a cohort do not average out; they add
    degrees of freedom.

    Args:
        repeats: For each repeat, for each of its folds, one value per patient (runs, patients).
    """
    variances, freedom, patients = [], 0.0, 0
    for folds in repeats:
        sizes = np.array([fold.shape[-1] for fold in folds])
        if len(folds) < 2:
            continue
        form, own_freedom = _variance_of(sizes)
        means = np.stack([fold.mean(axis=-1) for fold in folds], axis=-1)
        variances.append(np.einsum("...i,ij,...j->...", means, form, means).clip(min=0.0))
        freedom += own_freedom
        patients = max(patients, int(sizes.sum()))
    if not variances:
        return FoldSpread(np.array(np.inf), 0, 0)
    error = np.sqrt(np.mean(variances, axis=0))
    return FoldSpread(error, min(freedom, patients - 1), max(map(len, repeats)))


def _variance_of(sizes: NDArray[np.int_]) -> tuple[Values, float]:
    """The quadratic form of the folds' means that estimates the variance of their mean, and its degrees of freedom.

    It is unbiased if only patients vary. If only training runs vary, folds of different sizes have too small a variance
    and fewer degrees of freedom (Bell and McCaffrey 2002): the less favourable case counts.
    """
    share = sizes / sizes.sum()
    centred = np.eye(len(sizes)) - share
    form = centred.T @ np.diag(share**2 / (1 - share)) @ centred
    bias, freedom = 1.0, float(len(sizes) - 1)
    for varying in (np.ones(len(sizes)), 1 / sizes):
        product = form * varying
        bias = min(bias, float(np.trace(product) / (share**2 @ varying)))
        freedom = min(freedom, float(np.trace(product) ** 2 / np.trace(product @ product)))
    return form / bias, freedom


def fold_ps(means: Values, spread: FoldSpread) -> Values:
    """Two-sided p values (runs,) of the means; 1 where there is no difference at all."""
    from scipy import stats

    if not spread.freedom:
        return np.ones(np.shape(means))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(means == 0, 0.0, np.abs(means) / spread.error)
    return np.asarray(2 * stats.t.sf(ratio, spread.freedom), dtype=np.float64)


def fold_interval(centre: float, spread: FoldSpread, confidence: float) -> Interval | None:
    """The interval of a mean; None without two folds."""
    from scipy import stats

    if not spread.freedom:
        return None
    half = float(stats.t.ppf((1 + confidence) / 2, spread.freedom) * spread.error)
    return Interval(centre - half, centre + half)


def probabilities(centre: float, spread: FoldSpread, margin: float) -> tuple[float, float, float]:
    """Posterior probabilities that the mean is below -margin, within the margin, above it, from two folds or more.

    The correlated t of Corani and Benavoli (2015), with a flat prior: the training sets of k folds overlap, and the
    means of the folds are taken to be correlated by 1 / k.
    """
    from scipy import stats

    scale = float(spread.error) * np.sqrt(1 + spread.folds / (spread.folds - 1))
    if scale == 0:
        return float(centre < -margin), float(-margin <= centre <= margin), float(centre > margin)
    below, above = (float(stats.t.sf((margin + sign * centre) / scale, spread.freedom)) for sign in (1, -1))
    return below, max(0.0, 1 - below - above), above

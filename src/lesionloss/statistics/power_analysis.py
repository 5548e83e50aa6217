"""Power: which differences a run can detect, and how many patients and seeds a given difference needs.

There are two questions. *Same training runs, new patients*: the sign-flip test, whose power is that of Student's t at
the level that so many patients can attain. *New training runs too*: the interval over patients and training runs; more
patients alone cannot make it narrower than the seed-to-seed variability.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lesionloss.core.errors import UsageError
from lesionloss.runs.metric_scores import MetricScores
from lesionloss.statistics.complete_blocks import complete_blocks
from lesionloss.statistics.evidence import ALPHA, attained_level
from lesionloss.statistics.paired_differences import paired_rows
from lesionloss.statistics.training_run_variance import anova, training_run_weight

SEEDS = (1, 2, 3, 5, 10, 20)
MOST_PATIENTS = 100_000

PowerOf = Callable[[float, "StudyDesign"], float | None]


@dataclass(frozen=True)
class DifferenceSpread:
    """Standard deviations of a paired difference: between patients, between training runs, and the rest.

    `training_run` and `rest` are None with one seed per fold: `patient` then contains the rest.
    """

    patient: float
    training_run: float | None
    rest: float | None


@dataclass(frozen=True)
class StudyDesign:
    """The number of patients, of folds of equal size, and of seeds."""

    patients: int
    folds: int
    seeds: int


@dataclass(frozen=True)
class SampleSize:
    """Patients that a difference needs with so many seeds; None: more than 100,000 or never.

    `same_training_runs` is for a claim about the trained networks, `new_training_runs` for a claim about the losses.
    """

    seeds: int
    same_training_runs: int | None
    new_training_runs: int | None


@dataclass(frozen=True)
class PowerAnalysis:
    """One loss against the baseline: its spread, what this run can detect, and what a given difference needs.

    `level` is the two-sided level after Holm's first step over `comparisons` losses. A `detectable_...` difference is
    found with probability `power`; it is None if nothing can be found. `power_...` is the power of this run for
    `difference`.
    """

    loss: str
    baseline: str
    metric: str
    difference: float
    power: float
    level: float
    comparisons: int
    design: StudyDesign
    spread: DifferenceSpread
    detectable_same_training_runs: float | None
    detectable_new_training_runs: float | None
    power_same_training_runs: float
    power_new_training_runs: float | None
    sample_sizes: tuple[SampleSize, ...]


def analyse_power(scores: MetricScores, difference: float, *, power: float = 0.8) -> tuple[PowerAnalysis, ...]:
    """Analyse the power for every loss but the baseline, from the spread of its paired differences.

    Args:
        scores: What `Results.metric_scores` gives.
        difference: The difference to detect, in the unit of the metric.
        power: The probability of detecting it.

    Returns:
        One record per loss; losses with fewer than two patients are left out.

    Raises:
        UsageError: Difference or power is out of range, or no loss has two patients.
    """
    if not (difference > 0 and np.isfinite(difference)):
        raise UsageError(f"--difference is {difference}; it must be above 0, in the unit of {scores.metric}")
    if not ALPHA < power < 1:
        raise UsageError(f"--power is {power}; it must lie between {ALPHA} and 1")
    if not scores.facts.has_direction:
        raise UsageError(f"{scores.metric} describes: no value of it is better, so no difference of it is tested")
    spreads = {}
    for loss in scores.losses:
        pairs = paired_rows(scores, loss, scores.baseline) if loss != scores.baseline else None
        blocks = complete_blocks(pairs, ["difference"]) if pairs is not None else ()
        tables = [block.values[0] for block in blocks]
        if sum(len(table) for table in tables) > 1:
            design = StudyDesign(sum(map(len, tables)), len(tables), min(table.shape[1] for table in tables))
            spreads[loss] = (design, spread_of(tables))
    if not spreads:
        raise UsageError(
            f"{scores.folder}: no loss shares two patients with {scores.baseline!r}: the spread is unknown"
        )
    return tuple(_analysis(scores, loss, difference, power, len(spreads), *spreads[loss]) for loss in spreads)


def _analysis(
    scores: MetricScores,
    loss: str,
    difference: float,
    power: float,
    comparisons: int,
    design: StudyDesign,
    spread: DifferenceSpread,
) -> PowerAnalysis:
    level = ALPHA / comparisons
    same, new = _for_level(spread, level)
    return PowerAnalysis(
        loss=loss,
        baseline=scores.baseline,
        metric=scores.metric,
        difference=difference,
        power=power,
        level=level,
        comparisons=comparisons,
        design=design,
        spread=spread,
        detectable_same_training_runs=_detectable(same, design, power),
        detectable_new_training_runs=_detectable(new, design, power),
        power_same_training_runs=same(difference, design) or 0.0,
        power_new_training_runs=new(difference, design),
        sample_sizes=_sample_sizes((same, new), difference, design, spread, power),
    )


def spread_of(tables: list[NDArray[np.float64]]) -> DifferenceSpread:
    """From differences (patients, seeds), one table per fold; variances below 0 count as 0."""
    layout = anova([table[None] for table in tables])
    means = np.concatenate([table.mean(axis=1) for table in tables])
    seeds = float(np.mean([table.shape[1] for table in tables]))
    rest, run = layout.rest_variance, layout.training_run_variance
    if rest is None or run is None:
        return DifferenceSpread(float(means.std(ddof=1)), None, None)
    sizes = [len(table) for table in tables]
    share = np.asarray(sizes) / sum(sizes)
    between = (
        float(1 - (share**2).sum()) * sum(sizes) / (sum(sizes) - 1)
    )  # of the variance of training runs, contained in the means
    patient = float(means.var(ddof=1)) - rest / seeds - max(0.0, run) / seeds * between
    return DifferenceSpread(*(float(np.sqrt(max(0.0, variance))) for variance in (patient, run, rest)))


def power_same_training_runs(difference: float, spread: DifferenceSpread, design: StudyDesign, level: float) -> float:
    """Probability that the sign-flip test detects `difference` with the right sign in new patients."""
    attained = attained_level(design.patients, level)
    if attained == 0:
        return 0.0
    return _power_of_t(difference, np.sqrt(_among_patients(spread, design)), design.patients - 1, attained)


def power_new_training_runs(
    difference: float, spread: DifferenceSpread, design: StudyDesign, level: float
) -> float | None:
    """The same for the interval over patients and training runs; None if their variability is unknown."""
    if spread.training_run is None or spread.rest is None or design.seeds < 2 or design.patients <= design.folds:
        return None
    n, folds, seeds = design.patients, design.folds, design.seeds
    among = _among_patients(spread, design)
    weight = training_run_weight([n / folds] * folds, [seeds] * folds)
    scale = weight * folds / n
    of_seeds, of_rest = n / folds * spread.training_run**2 + spread.rest**2, spread.rest**2
    variance = among + scale * (of_seeds - of_rest)
    uncertainty = among**2 / (n - 1)
    if spread.training_run > 0:
        uncertainty += (scale * of_seeds) ** 2 / (folds * (seeds - 1))
        uncertainty += (scale * of_rest) ** 2 / ((n - folds) * (seeds - 1))
    freedom = max(1.0, variance**2 / uncertainty) if uncertainty else n - 1.0
    return _power_of_t(difference, np.sqrt(variance), freedom, level)


def _among_patients(spread: DifferenceSpread, design: StudyDesign) -> float:
    """Expected squared standard error from the spread between the patients' means."""
    n, seeds = design.patients, design.seeds
    of_one = spread.patient**2 + (spread.rest or 0.0) ** 2 / seeds
    between = n / (n - 1) * (1 - 1 / design.folds) if n > 1 else 0.0
    return float(of_one + (spread.training_run or 0.0) ** 2 / seeds * between) / n


def _power_of_t(difference: float, error: float, freedom: float, level: float) -> float:
    from scipy import stats

    if error == 0:
        return 1.0
    return float(stats.nct.sf(stats.t.ppf(1 - level / 2, freedom), freedom, difference / error))


def _for_level(spread: DifferenceSpread, level: float) -> tuple[PowerOf, PowerOf]:
    """Power by difference and design: with the same training runs, and with new ones."""

    def same(difference: float, design: StudyDesign) -> float | None:
        return power_same_training_runs(difference, spread, design, level)

    def new(difference: float, design: StudyDesign) -> float | None:
        return power_new_training_runs(difference, spread, design, level)

    return same, new


def _sample_sizes(
    powers: tuple[PowerOf, PowerOf], difference: float, design: StudyDesign, spread: DifferenceSpread, power: float
) -> tuple[SampleSize, ...]:
    seeds = [seeds for seeds in SEEDS if spread.training_run is not None or seeds == design.seeds]
    return tuple(SampleSize(s, *(_patients(of, difference, design.folds, s, power) for of in powers)) for s in seeds)


def _detectable(power_of: PowerOf, design: StudyDesign, power: float) -> float | None:
    """The difference detected with this power, by bisection; None if there is none."""
    high = 1e-12
    while (found := power_of(high, design)) is not None and found < power:
        high *= 2
        if high > 1e12:
            return None
    if found is None:
        return None
    low = high / 2
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if (power_of(middle, design) or 0.0) >= power else (middle, high)
    return high


def _patients(power_of: PowerOf, difference: float, folds: int, seeds: int, power: float) -> int | None:
    """The smallest number of patients that reaches this power: every number up to 60, then by bisection."""

    def enough(n: int) -> bool:
        return (power_of(difference, StudyDesign(n, folds, seeds)) or 0.0) >= power

    few = next((n for n in range(max(folds + 1, 2), 61) if enough(n)), None)
    if few is not None or not enough(MOST_PATIENTS):
        return few
    low, high = 60, MOST_PATIENTS
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high

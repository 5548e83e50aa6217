"""Power: which differences a run can detect, and how many patients and seeds a given difference needs.

There are two questions. *These networks, new patients*: the sign-flip test, whose power is that of Student's t at the
level that so many patients can attain. *The losses*: a verdict, which needs that test and the t over folds; more
patients alone cannot make its interval narrower than the spread between training sets and seeds.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lesionloss.core.errors import UsageError
from lesionloss.runs.metric_scores import MetricScores
from lesionloss.statistics.complete_blocks import complete_blocks
from lesionloss.statistics.evidence import ALPHA, attained_level
from lesionloss.statistics.paired_differences import planned_comparisons
from lesionloss.statistics.pairs import paired_rows
from lesionloss.statistics.pilot_spread import DifferenceSpread, Spread, StudyDesign, plausible_spreads, spread_of
from lesionloss.statistics.verdicts import FREEDOM_FOR_A_VERDICT, SEEDS_FOR_A_VERDICT, PairedDifference

SEEDS = (2, 3, 5, 10, 20)
MOST_SEEDS = 20
USUAL_POWER = 0.8
MOST_PATIENTS = 100_000

PowerOf = Callable[[float, StudyDesign], float | None]


@dataclass(frozen=True)
class SampleSize:
    """Patients that a difference needs with so many seeds; None: more than 100,000 or never.

    `same_training_runs` is for a claim about the trained networks, `new_training_runs` for a verdict on the losses,
    both with the folds of the run. `folds` are the folds that a verdict needs with the patients of the run.
    """

    seeds: int
    same_training_runs: int | None
    new_training_runs: int | None
    folds: int | None


@dataclass(frozen=True)
class PowerNumbers:
    """What a run can detect and what a difference needs, if its spread is the true one.

    A `detectable_...` difference is found with probability `power`; it is None if nothing can be found. `power_...` is
    the power of this run for `difference`. `seeds` are those that a verdict on it needs with the patients and folds of
    the run; None: more than 20, or never.
    """

    detectable_same_training_runs: float | None
    detectable_new_training_runs: float | None
    power_same_training_runs: float
    power_new_training_runs: float | None
    seeds: int | None
    sample_sizes: tuple[SampleSize, ...]


@dataclass(frozen=True)
class PowerAnalysis(PowerNumbers):
    """One loss against the baseline: its spread, what this run can detect, and what a given difference needs.

    `level` is the two-sided level after Holm's first step over `comparisons` losses. `smallest_spread` and
    `largest_spread` are the same numbers at both ends of the 90 % range of spreads that the run leaves plausible.
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
    smallest_spread: PowerNumbers
    largest_spread: PowerNumbers


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
    spreads, repeats = {}, scores.rules.repeats
    for loss in scores.losses:
        pairs = paired_rows(scores, loss, scores.baseline) if loss != scores.baseline else None
        blocks = complete_blocks(pairs, ["difference"]) if pairs is not None and "seed" in pairs else ()
        tables = [block.values[0] for block in blocks]
        patients = len({patient for block in blocks for patient in block.patients})
        if patients > 1:
            folds, seeds = max(1, len(tables) // repeats), min(table.shape[1] for table in tables)
            spreads[loss] = (StudyDesign(patients, folds, seeds, repeats), tables)
    if not spreads:
        raise UsageError(
            f"{scores.folder}: no loss shares two patients with {scores.baseline!r}: the spread is unknown"
        )
    comparisons = max(planned_comparisons(scores), 1)
    return tuple(_analysis(scores, loss, difference, power, comparisons, *spreads[loss]) for loss in spreads)


def _analysis(
    scores: MetricScores,
    loss: str,
    difference: float,
    power: float,
    comparisons: int,
    design: StudyDesign,
    tables: list[NDArray[np.float64]],
) -> PowerAnalysis:
    level, spread = ALPHA / comparisons, spread_of(tables)
    seeds = sorted({*SEEDS, design.seeds}) if spread.training_run is not None else [design.seeds]
    numbers, smallest, largest = (
        numbers_for(each, difference, power, level, design, seeds)
        for each in (spread, *plausible_spreads(tables, design.repeats))
    )
    return PowerAnalysis(
        **vars(numbers),
        loss=loss,
        baseline=scores.baseline,
        metric=scores.metric,
        difference=difference,
        power=power,
        level=level,
        comparisons=comparisons,
        design=design,
        spread=spread,
        smallest_spread=smallest,
        largest_spread=largest,
    )


def numbers_for(
    spread: Spread, difference: float, power: float, level: float, design: StudyDesign, seeds: Sequence[int]
) -> PowerNumbers:
    """What a design can detect and what a difference needs with each of these numbers of seeds, of a given spread."""
    same, new = _for_level(spread, level)

    def enough(seeds: int) -> bool:
        return (new(difference, replace(design, seeds=seeds)) or 0.0) >= power

    return PowerNumbers(
        detectable_same_training_runs=_detectable(same, design, power),
        detectable_new_training_runs=_detectable(new, design, power),
        power_same_training_runs=same(difference, design) or 0.0,
        power_new_training_runs=new(difference, design),
        seeds=next((n for n in range(SEEDS_FOR_A_VERDICT, MOST_SEEDS + 1) if enough(n)), None),
        sample_sizes=tuple(
            SampleSize(
                seeds=each.seeds,
                same_training_runs=_patients(same, difference, each, power),
                new_training_runs=_patients(new, difference, each, power),
                folds=_folds(new, difference, each, power),
            )
            for each in (replace(design, seeds=n) for n in seeds)
        ),
    )


def power_same_training_runs(difference: float, spread: Spread, design: StudyDesign, level: float) -> float:
    """Probability that the sign-flip test detects `difference` with the right sign in new patients."""
    attained = attained_level(design.patients, level)
    if attained == 0:
        return 0.0
    return _power_of_t(difference, np.sqrt(spread.errors(design)[0]), design.patients - 1, attained)


def power_new_training_runs(difference: float, spread: Spread, design: StudyDesign, level: float) -> float | None:
    """Probability of the right verdict: of the test over patients and the t over folds, the lower power of both.

    None if the variability is unknown, or for a design without verdicts (one seed, two folds without repeats).
    """
    if not spread.complete:
        return None
    freedom = min(design.repeats * (design.folds - 1), design.patients - 1)
    if design.seeds < SEEDS_FOR_A_VERDICT or freedom < FREEDOM_FOR_A_VERDICT or design.folds > design.patients:
        return None
    over_patients = power_same_training_runs(difference, spread, design, level)
    return (
        min(over_patients, _power_of_t(difference, np.sqrt(spread.errors(design)[1]), freedom, level))
        if over_patients
        else 0.0
    )


def _power_of_t(difference: float, error: float, freedom: float, level: float) -> float:
    from scipy import special

    if error == 0:
        return 1.0
    shift, bound = difference / error, special.stdtrit(freedom, 1 - level / 2)
    missed = special.nctdtr(freedom, shift, bound)
    if np.isnan(missed):  # SciPy has no value at some points far out, where t is normal
        missed = special.ndtr(bound - shift)
    return float(1 - missed)


def _for_level(spread: Spread, level: float) -> tuple[PowerOf, PowerOf]:
    """Power by difference and design: with the same training runs, and with new ones."""

    def same(difference: float, design: StudyDesign) -> float | None:
        return power_same_training_runs(difference, spread, design, level)

    def new(difference: float, design: StudyDesign) -> float | None:
        return power_new_training_runs(difference, spread, design, level)

    return same, new


def detectable_at_best(design: StudyDesign, comparisons: int) -> float | None:
    """The smallest difference, in standard deviations between patients, that gives a verdict with 80 % power.

    At best: if training sets and seeds add nothing. None for a design without verdicts.
    """

    def power_of(difference: float, each: StudyDesign) -> float | None:
        return power_new_training_runs(difference, DifferenceSpread(1.0, 0.0, 0.0), each, ALPHA / max(comparisons, 1))

    return _detectable(power_of, design, USUAL_POWER)


def seeds_needed(difference: PairedDifference) -> int | None:
    """The fewest seeds that could lead to a verdict, from a run with one seed; None: more than 20.

    As if the seed were all that varies, so that the error falls with the root of their number: fewer are not enough.
    What has to be found is the margin, or the difference that was seen if it is larger.
    """
    d, found = difference, max(abs(difference.mean or 0.0), difference.margin)
    if d.error is None or found == 0 or d.freedom < FREEDOM_FOR_A_VERDICT:
        return None
    seeds = range(SEEDS_FOR_A_VERDICT, MOST_SEEDS + 1)
    powers = {n: _power_of_t(found, d.error / np.sqrt(n), d.freedom, d.level / d.comparisons) for n in seeds}
    return next((n for n, power in powers.items() if power >= USUAL_POWER), None)


def _folds(power_of: PowerOf, difference: float, design: StudyDesign, power: float) -> int | None:
    """The smallest number of folds of these patients that reaches this power."""
    tried = range(2, design.patients + 1)
    return next((k for k in tried if (power_of(difference, replace(design, folds=k)) or 0.0) >= power), None)


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


def _patients(power_of: PowerOf, difference: float, design: StudyDesign, power: float) -> int | None:
    """The smallest number of patients that reaches this power: every number up to 60, then by bisection."""

    def enough(n: int) -> bool:
        return (power_of(difference, replace(design, patients=n)) or 0.0) >= power

    few = next((n for n in range(max(design.folds, 2), 61) if enough(n)), None)
    if few is not None or not enough(MOST_PATIENTS):
        return few
    low, high = 60, MOST_PATIENTS
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high

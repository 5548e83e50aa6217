"""What a run of this kind can show: detectable differences, and the patients and seeds that a wanted one needs.

Two questions. *These trainings, new patients*: the sign-flip test, whose power is that of Student's t at the level that
so many patients can attain. *New trainings too*: the interval over patients and trainings; more patients alone can't
make it narrower than the luck of the trainings.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lesionloss.core.errors import UsageError
from lesionloss.runs.results import Results
from lesionloss.runs.values import facts
from lesionloss.statistics.comparison import known_loss
from lesionloss.statistics.complete_blocks import complete_blocks
from lesionloss.statistics.differences import comparable_rows, pairs_of
from lesionloss.statistics.evidence import ALPHA, attained_level
from lesionloss.statistics.new_training_runs import anova, training_weight

SEEDS = (1, 2, 3, 5, 10, 20)
MOST_PATIENTS = 100_000

PowerOf = Callable[[float, "Design"], float | None]


@dataclass(frozen=True)
class Spread:
    """Standard deviations of one difference between losses: among patients, among trainings, and the rest.

    `training` and `rest` are None with one seed per fold: `patient` then holds the rest.
    """

    patient: float
    training: float | None
    rest: float | None


@dataclass(frozen=True)
class Design:
    """How many patients, folds of equal size, and seeds."""

    patients: int
    folds: int
    seeds: int


@dataclass(frozen=True)
class Need:
    """Patients that a wanted difference needs with so many seeds; None: more than 100,000 or never.

    `these_trainings` for a claim about the trained networks, `new_trainings` for one about the losses.
    """

    seeds: int
    these_trainings: int | None
    new_trainings: int | None


@dataclass(frozen=True)
class Outlook:
    """One loss against the baseline: its spread, what this run could detect, and what the wanted difference needs.

    `level` is the two-sided level after Holm's first step over `comparisons` losses. `detectable...` are found with
    probability `power`; None where nothing can be found. `power...` are those of the wanted difference in this run.
    """

    loss: str
    baseline: str
    metric: str
    wanted: float
    power: float
    level: float
    comparisons: int
    design: Design
    spread: Spread
    detectable_these_trainings: float | None
    detectable_new_trainings: float | None
    power_these_trainings: float
    power_new_trainings: float | None
    needs: tuple[Need, ...]


def outlook(
    results: Results, metric: str, wanted: float, *, baseline: str | None = None, power: float = 0.8
) -> tuple[Outlook, ...]:
    """For every loss but the baseline, from the spread of its paired differences; losses with fewer than two
    patients left out.

    Raises UsageError for a difference or power that is not possible, and where no loss has two patients.
    """
    if not (wanted > 0 and np.isfinite(wanted)):
        raise UsageError(f"--difference is {wanted}; it must be above 0, in the unit of {metric}")
    if not ALPHA < power < 1:
        raise UsageError(f"--power is {power}; it must lie between {ALPHA} and 1")
    if not facts(metric).judges:
        raise UsageError(f"{metric} describes and does not judge: no difference of it is tested")
    baseline = known_loss(results, baseline if baseline is not None else results.baseline_loss)
    rows = comparable_rows(results, metric)
    spreads = {}
    for loss in results.losses:
        blocks = complete_blocks(pairs_of(rows, loss, baseline), ["difference"]) if loss != baseline else ()
        tables = [block.values[0] for block in blocks]
        if sum(len(table) for table in tables) > 1:
            design = Design(sum(map(len, tables)), len(tables), min(table.shape[1] for table in tables))
            spreads[loss] = (design, spread_of(tables))
    if not spreads:
        raise UsageError(f"{results.folder}: no loss shares two patients with {baseline!r}: the spread is unknown")
    return tuple(_outlook(loss, baseline, metric, wanted, power, len(spreads), *spreads[loss]) for loss in spreads)


def spread_of(tables: list[np.ndarray[tuple[int, int], np.dtype[np.float64]]]) -> Spread:
    """From differences (patients, seeds), one table per fold; variances below 0 are taken as 0."""
    layout = anova([table[None] for table in tables])
    means = np.concatenate([table.mean(axis=1) for table in tables])
    seeds = float(np.mean([table.shape[1] for table in tables]))
    rest, training = layout.rest_variance, layout.training_variance
    if rest is None or training is None:
        return Spread(float(means.std(ddof=1)), None, None)
    sizes = [len(table) for table in tables]
    share = np.asarray(sizes) / sum(sizes)
    between = float(1 - (share**2).sum()) * sum(sizes) / (sum(sizes) - 1)  # of a training's variance, seen in means
    patient = float(means.var(ddof=1)) - rest / seeds - max(0.0, training) / seeds * between
    return Spread(*(float(np.sqrt(max(0.0, variance))) for variance in (patient, training, rest)))


def power_these_trainings(wanted: float, spread: Spread, design: Design, level: float) -> float:
    """Probability that the sign-flip test finds `wanted` on its right side in new patients."""
    attained = attained_level(design.patients, level)
    if attained == 0:
        return 0.0
    return _power_of_t(wanted, np.sqrt(_among_patients(spread, design)), design.patients - 1, attained)


def power_new_trainings(wanted: float, spread: Spread, design: Design, level: float) -> float | None:
    """The same for the interval over patients and trainings; None where the luck of the trainings is unknown."""
    if spread.training is None or spread.rest is None or design.seeds < 2 or design.patients <= design.folds:
        return None
    n, folds, seeds = design.patients, design.folds, design.seeds
    among = _among_patients(spread, design)
    weight = training_weight([n / folds] * folds, [seeds] * folds)
    scale = weight * folds / n
    of_seeds, of_rest = n / folds * spread.training**2 + spread.rest**2, spread.rest**2
    variance = among + scale * (of_seeds - of_rest)
    uncertainty = among**2 / (n - 1)
    if spread.training > 0:
        uncertainty += (scale * of_seeds) ** 2 / (folds * (seeds - 1))
        uncertainty += (scale * of_rest) ** 2 / ((n - folds) * (seeds - 1))
    freedom = max(1.0, variance**2 / uncertainty) if uncertainty else n - 1.0
    return _power_of_t(wanted, np.sqrt(variance), freedom, level)


def _among_patients(spread: Spread, design: Design) -> float:
    """Expected squared standard error from the spread between the patients' means."""
    n, seeds = design.patients, design.seeds
    of_one = spread.patient**2 + (spread.rest or 0.0) ** 2 / seeds
    between = n / (n - 1) * (1 - 1 / design.folds) if n > 1 else 0.0
    return float(of_one + (spread.training or 0.0) ** 2 / seeds * between) / n


def _power_of_t(wanted: float, error: float, freedom: float, level: float) -> float:
    from scipy import stats

    if error == 0:
        return 1.0
    return float(stats.nct.sf(stats.t.ppf(1 - level / 2, freedom), freedom, wanted / error))


def _outlook(
    loss: str, baseline: str, metric: str, wanted: float, power: float, comparisons: int, design: Design, spread: Spread
) -> Outlook:
    level = ALPHA / comparisons

    def these(difference: float, at: Design) -> float | None:
        return power_these_trainings(difference, spread, at, level)

    def new(difference: float, at: Design) -> float | None:
        return power_new_trainings(difference, spread, at, level)

    designs = [seeds for seeds in SEEDS if spread.training is not None or seeds == design.seeds]
    return Outlook(
        loss=loss,
        baseline=baseline,
        metric=metric,
        wanted=wanted,
        power=power,
        level=level,
        comparisons=comparisons,
        design=design,
        spread=spread,
        detectable_these_trainings=_detectable(these, design, power),
        detectable_new_trainings=_detectable(new, design, power),
        power_these_trainings=these(wanted, design) or 0.0,
        power_new_trainings=new(wanted, design),
        needs=tuple(
            Need(s, _patients(these, wanted, design.folds, s, power), _patients(new, wanted, design.folds, s, power))
            for s in designs
        ),
    )


def _detectable(power_of: PowerOf, design: Design, power: float) -> float | None:
    """The difference found with the wanted power, by bisection; None where none is."""
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


def _patients(power_of: PowerOf, wanted: float, folds: int, seeds: int, power: float) -> int | None:
    """The smallest number of patients that reaches the wanted power: each up to 60, by bisection beyond."""

    def enough(n: int) -> bool:
        return (power_of(wanted, Design(n, folds, seeds)) or 0.0) >= power

    few = next((n for n in range(max(folds + 1, 2), 61) if enough(n)), None)
    if few is not None or not enough(MOST_PATIENTS):
        return few
    low, high = 60, MOST_PATIENTS
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high

"""How often verdicts are wrong and intervals hold, in simulated designs: docs/explanation/statistics.md.

PYTHONPATH=tests/support python benchmarks/evidence.py [TABLE ...]
"""

import sys
from collections.abc import Callable
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from lesionloss.core.randomness import numpy_generator
from lesionloss.statistics.comparison import LOOKS
from lesionloss.statistics.complete_blocks import FoldBlock
from lesionloss.statistics.evidence import ALPHA, sign_flip_bounds, sign_flip_ps
from lesionloss.statistics.new_training_runs import FoldSpread, fold_ps, fold_spread
from lesionloss.statistics.pilot_spread import DifferenceSpread, StudyDesign, plausible_spreads
from lesionloss.statistics.power_analysis import numbers_for, power_new_training_runs
from lesionloss.statistics.ranks import rank_losses
from lesionloss.statistics.seed_variability import best_of_reruns, changes_interval
from made_scores import made_scores
from simulated_designs import (
    DIFFERENCES,
    SCORES,
    Draw,
    SimulatedDesign,
    any_verdict,
    simulated_differences,
    simulated_families,
    verdict_ps,
)

Bounds = tuple[NDArray[np.float64], NDArray[np.float64]]
RUNS, RESAMPLES = 2000, 999


def student(samples: NDArray[np.float64]) -> Bounds:
    """Student's t."""
    n = samples.shape[1]
    half = stats.t.ppf(0.975, n - 1) * samples.std(axis=1, ddof=1) / np.sqrt(n)
    return samples.mean(axis=1) - half, samples.mean(axis=1) + half


def _resampled(samples: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Means and variances (runs, resamples); every run has the same resampled patients."""
    n = samples.shape[1]
    weights = numpy_generator("resampled", n).multinomial(n, [1 / n] * n, RESAMPLES) / n
    means = samples @ weights.T
    return means, (samples**2) @ weights.T - means**2


def percentile(samples: NDArray[np.float64]) -> Bounds:
    """The percentile bootstrap."""
    low, high = np.quantile(_resampled(samples)[0], [0.025, 0.975], axis=1)
    return low, high


def widened(samples: NDArray[np.float64]) -> Bounds:
    """Percentiles at the levels of Hesterberg (2015)."""
    n = samples.shape[1]
    tail = stats.norm.cdf(-np.sqrt(n / (n - 1)) * stats.t.ppf(0.975, n - 1))
    low, high = np.quantile(_resampled(samples)[0], [tail, 1 - tail], axis=1)
    return low, high


def bca(samples: NDArray[np.float64]) -> Bounds:
    """The bias-corrected and accelerated bootstrap."""
    means = np.sort(_resampled(samples)[0], axis=1)
    centre = samples.mean(axis=1, keepdims=True)
    below = ((means < centre).mean(axis=1) + (means <= centre).mean(axis=1)) / 2
    bias, around = stats.norm.ppf(below), samples - centre
    skew = (around**3).sum(axis=1) / (6 * (around**2).sum(axis=1) ** 1.5)
    bounds = []
    for level in (0.025, 0.975):
        shifted = bias + stats.norm.ppf(level)
        place = stats.norm.cdf(bias + shifted / (1 - skew * shifted)) * RESAMPLES
        bounds.append(means[np.arange(len(means)), np.clip(place.astype(int), 0, RESAMPLES - 1)])
    return bounds[0], bounds[1]


def bootstrap_t(samples: NDArray[np.float64]) -> Bounds:
    """The studentised bootstrap."""
    n = samples.shape[1]
    means, variances = _resampled(samples)
    centre, error = samples.mean(axis=1), samples.std(axis=1, ddof=1) / np.sqrt(n)
    ratios = (means - centre[:, None]) / np.sqrt(np.maximum(variances, 1e-12) / (n - 1))
    low, high = np.quantile(ratios, [0.025, 0.975], axis=1)
    return centre - high * error, centre - low * error


METHODS: dict[str, Callable[[NDArray[np.float64]], Bounds]] = {
    "percentile": percentile,
    "widened percentile": widened,
    "BCa": bca,
    "bootstrap-t": bootstrap_t,
    "Student's t": student,
    "sign-flip inverted": sign_flip_bounds,
}


def in_parts(function: Callable[[NDArray[np.float64]], Bounds], samples: NDArray[np.float64]) -> Bounds:
    """Bounds for 500 runs at a time, so that memory stays small."""
    parts = [function(samples[start : start + 500]) for start in range(0, len(samples), 500)]
    return np.concatenate([low for low, _ in parts]), np.concatenate([high for _, high in parts])


def row(*cells: object) -> None:
    """Print one row of a Markdown table."""
    print("| " + " | ".join(map(str, cells)) + " |")


def table_of_intervals() -> None:
    """Coverage and width of each interval method."""
    row("distribution", "patients", *METHODS)
    row(*["---"] * (len(METHODS) + 2))
    skewed: dict[str, tuple[Draw, float]] = {
        "skewed differences, exponential": (lambda draw, shape: draw.exponential(size=shape), 1.0)
    }
    distributions = {name: (draw, 0.0) for name, draw in DIFFERENCES.items()} | SCORES | skewed
    for name, (draw, truth) in distributions.items():
        for patients in (8, 20):
            samples = draw(numpy_generator("table", name), (RUNS, patients))
            found = {method: in_parts(function, samples) for method, function in METHODS.items()}
            usual = np.median(found["Student's t"][1] - found["Student's t"][0])
            cells = [
                f"{100 * np.mean((low <= truth) & (high >= truth)):.1f} ({np.median(high - low) / usual:.2f})"
                for low, high in found.values()
            ]
            row(name, patients, *cells)


DESIGNS = [(8, 2), (20, 2), (40, 2), (8, 5), (20, 5), (40, 5), (20, 10), (40, 10)]  # patients, folds
SPREADS = [(0.0, 0.0), (1.0, 0.0), (0.5, 0.5), (0.0, 1.0), (1.0, 1.0)]  # seeds, training sets
Table = list[NDArray[np.float64]]


def of_patients(folds: Table) -> NDArray[np.float64]:
    """The test over patients alone, as if these networks were the losses."""
    values = np.concatenate(folds, axis=-1)
    flat = values.reshape(-1, values.shape[-1])
    parts = [sign_flip_ps(flat[start : start + 500]) for start in range(0, len(flat), 500)]
    return np.concatenate(parts).reshape(values.shape[:-1])


def mixed_model(folds: Table) -> NDArray[np.float64]:
    """A mixed model whose variance between folds is put at 0 where the estimate is negative (Satterthwaite's df)."""
    values = np.concatenate(folds, axis=-1)
    n, mean, spread = values.shape[-1], values.mean(axis=-1), fold_spread([folds])
    pooled = values.std(axis=-1, ddof=1) / np.sqrt(n)
    within = sum(((fold - fold.mean(axis=-1, keepdims=True)) ** 2).sum(axis=-1) for fold in folds) / (n - len(folds))
    seen = 2 * stats.t.sf(np.abs(mean) / pooled, n - 1)
    return np.where(spread.error**2 > within / n, fold_ps(mean, spread), seen)


def corrected_variance(folds: Table) -> NDArray[np.float64]:
    """The corrected resampled t of Nadeau and Bengio for k folds: 1 / k + 1 / (k - 1) instead of 1 / k."""
    spread, k = fold_spread([folds]), len(folds)
    mean = np.concatenate(folds, axis=-1).mean(axis=-1)
    return fold_ps(mean, FoldSpread(spread.error * np.sqrt(1 + k / (k - 1)), k - 1, k))


def t_over_folds(folds: Table) -> NDArray[np.float64]:
    """Student's t over the means of the folds."""
    return fold_ps(np.concatenate(folds, axis=-1).mean(axis=-1), fold_spread([folds]))


def share(found: NDArray[np.bool_]) -> str:
    """A rate in %."""
    return f"{100 * found.mean():.1f}"


def table_of_verdicts() -> None:
    """Verdicts on equal losses in %, in families of 1 and 12 comparisons: lowest and highest rate of five spreads."""
    candidates = {
        "patients alone": of_patients,
        "mixed model": mixed_model,
        "corrected variance": corrected_variance,
        "t over folds": t_over_folds,
    }
    row("comparisons", "patients", "folds", *candidates, "verdict")
    row(*["---"] * (len(candidates) + 4))
    for comparisons, (patients, folds) in product((1, 12), DESIGNS):
        rates = []
        for seed, fold in SPREADS:
            design = SimulatedDesign(patients, folds, 3, 0.0, 0.9, seed, 0.75, fold)
            tables = simulated_families(design, comparisons, 4000 if comparisons == 1 else 1000, "verdicts")
            over_patients = of_patients(tables[0])
            others = [np.maximum(over_patients, other(tables[0])) for other in candidates.values()]
            rates.append([100 * any_verdict(ps).mean() for ps in (*others, verdict_ps(tables))])
        row(comparisons, patients, folds, *(f"{min(found):.1f} to {max(found):.1f}" for found in np.transpose(rates)))


def table_of_power() -> None:
    """Power of one comparison in units of the patients' standard deviation: what folds, seeds and repeats buy."""
    row(
        "patients",
        "folds",
        "repeats",
        "seeds",
        "effect",
        "predicted",
        "verdict",
        "patients alone",
        "corrected variance",
    )
    row(*["---"] * 9)
    designs = [
        (20, 2, 1, 3),
        (20, 2, 5, 3),
        (20, 5, 1, 2),
        (20, 5, 1, 5),
        (20, 5, 3, 2),
        (20, 10, 1, 3),
        (40, 10, 1, 3),
    ]
    for patients, folds, repeats, seeds in designs:
        design = SimulatedDesign(patients, folds, seeds, 0.8, 0.9, 0.5, 0.75, 0.3)
        tables = simulated_families(design, 1, RUNS, "power", repeats=repeats)
        spread = DifferenceSpread(0.9, 0.5, 0.75, 0.3)
        predicted = power_new_training_runs(0.8, spread, StudyDesign(patients, folds, seeds, repeats), ALPHA)
        cells = [verdict_ps(tables), of_patients(tables[0]), corrected_variance(tables[0])]
        known = "none" if predicted is None else f"{predicted:.2f}"
        row(patients, folds, repeats, seeds, 0.8, known, *(f"{(ps < ALPHA).mean():.2f}" for ps in cells))


def table_of_cohorts() -> None:
    """Equal losses with correlated effects of the folds (by 1 / k), which one cohort can't show."""
    row("patients", "folds", "sd of training sets", "t over folds", "corrected variance")
    row(*["---"] * 5)
    for (patients, folds), sd in product(((20, 5), (40, 10)), (0.3, 0.5, 1.0)):
        draw, shape = numpy_generator("cohorts", patients, folds), (10_000, 1, 1)
        shared, share_of_it = draw.normal(size=shape), 1 / folds
        tables = []
        for part in np.array_split(np.arange(patients), folds):
            own = draw.normal(size=shape)
            effects = sd * (np.sqrt(share_of_it) * shared + np.sqrt(1 - share_of_it) * own)
            tables.append(effects + draw.normal(size=(*shape[:2], len(part))))
        row(patients, folds, sd, *(share(method(tables) < ALPHA) for method in (t_over_folds, corrected_variance)))


def table_of_failures() -> None:
    """Equal means, but one loss fails on 10 % of patients (Dice), or is charged the diagonal on 5 % (HD95)."""
    row("metric", "patients", "called better", "patients alone", "of these with a warning")
    row(*["---"] * 5)
    for (metric, rate, cost), patients in product((("Dice", 0.1, 0.7), ("HD95", 0.05, 20.0)), (8, 20, 40)):
        draw = numpy_generator("failures", metric, patients)
        failed = draw.random((RUNS, patients)) < rate
        values = np.where(failed, -cost, cost * rate / (1 - rate)) + 0.03 * cost * draw.normal(size=failed.shape)
        tables = [np.array_split(values[:, None, :], 5, axis=-1)]
        means = values.mean(axis=1)
        found = (verdict_ps(tables)[:, 0] < ALPHA) & (means > 0)
        alone = (of_patients(tables[0])[:, 0] < ALPHA) & (means > 0)
        failures = failed.sum(axis=1)
        unseen = stats.beta.ppf(0.95, failures + 1, patients - failures) - failures / patients
        row(metric, patients, share(found), share(alone), share((means / cost < unseen)[found]))


def table_of_interim_looks() -> None:
    """Some verdict on the way or at the end, of 1 and of 12 equal losses: after each of five folds, three seeds."""
    row("comparisons", "patients", "verdicts at every look", "looks that spend", "at the end")
    row(*["---"] * 5)
    for comparisons, patients in product((1, 12), (20, 40)):
        design = SimulatedDesign(patients, 5, 3, 0.0, 0.9, 0.5, 0.75, 0.5)
        folds = simulated_families(design, comparisons, RUNS, "looks")[0]
        always, spending = np.zeros(RUNS, dtype=bool), np.zeros(RUNS, dtype=bool)
        for done in (2, 3, 4, 5):
            ps = verdict_ps([folds[:done]])
            level = 2 * stats.norm.sf(stats.norm.isf(LOOKS / 2) / (done / 5) ** 0.5) if done < 5 else ALPHA
            always |= any_verdict(ps)
            spending |= any_verdict(ps, float(level))
        row(comparisons, patients, share(always), share(spending), share(any_verdict(verdict_ps([folds]))))


def table_of_ranks() -> None:
    """Six losses: how often all intervals of the ranks hold, and how wide they are."""
    row("patients", "folds", "distance of the losses", "all intervals hold", "mean width in ranks")
    row(*["---"] * 5)
    for (patients, folds), distance in product(((8, 5), (20, 2), (20, 5), (40, 10)), (0.0, 0.3, 1.0)):
        held, width = [], []
        for run in range(100):
            draw = numpy_generator("ranks", patients, folds, run)
            truth = distance * np.arange(6)
            own = (
                draw.normal(size=(6, patients, 1))
                + 0.5 * draw.normal(size=(6, folds, 3))[:, np.arange(patients) % folds]
            )
            values = truth[:, None, None] + own + 0.5 * draw.normal(size=(6, patients, 3))
            ranks = rank_losses(made_scores({f"loss {n}": values[n] for n in range(6)}, folds=folds, metric="brier"))
            first = 1 + (truth[None, :] < truth[:, None]).sum(axis=1)
            last = 6 - (truth[None, :] > truth[:, None]).sum(axis=1)
            held.append(all(rank.low <= last[n] and rank.high >= first[n] for n, rank in enumerate(ranks)))
            width.append(np.mean([rank.high - rank.low + 1 for rank in ranks]))
        row(patients, folds, distance, share(np.array(held)), f"{np.mean(width):.1f}")


def table_of_reruns() -> None:
    """How often the interval of the share of re-runs with another winner holds; seven losses, seeds vary."""
    row("seeds", "distance of the losses", "true share", "interval holds", "mean width")
    row(*["---"] * 5)
    for seeds, distance in product((3, 5, 10), (0.0, 0.3, 1.0)):
        draw = numpy_generator("reruns", seeds)
        truth = distance * np.arange(7) / 7

        shape = (7, 5, 20_000)  # losses, folds, seeds
        fresh = (truth[:, None, None] + 0.5 * draw.normal(size=shape)).mean(axis=1).argmax(axis=0)
        change = float((fresh[::2] != fresh[1::2]).mean())
        held, width = [], []
        for _ in range(200):
            tables = truth[:, None, None] + 0.5 * draw.normal(size=(7, 5, seeds))
            blocks = tuple(FoldBlock(n, ("p",), tuple(range(seeds)), tables[:, n, None, :]) for n in range(5))
            first, again = best_of_reruns(blocks, 1.0, draw)
            bounds = changes_interval(float((first != again).mean()), seeds)
            held.append(bounds.low <= change <= bounds.high)
            width.append(bounds.high - bounds.low)
        row(seeds, distance, f"{change:.2f}", share(np.array(held)), f"{np.mean(width):.2f}")


def table_of_pilots() -> None:
    """How often the 90 % ranges of `power` hold the truth, from pilots of a known spread, and how wide they are."""
    row("pilot", "sd of training sets", "detectable holds", "range / truth", "patients hold", "median range", "truth")
    row(*["---"] * 7)
    for (patients, folds, seeds), training_set in product(((8, 4, 2), (20, 5, 3), (40, 10, 3)), (0.0, 0.5)):
        design = StudyDesign(patients, folds, seeds)
        true = numbers_for(DifferenceSpread(0.9, 0.5, 0.75, training_set), 0.8, 0.8, ALPHA, design, [5])
        pilot = SimulatedDesign(patients, folds, seeds, 0.0, 0.9, 0.5, 0.75, training_set)
        tables = simulated_differences(pilot, 100, "pilots", patients, folds)
        found = []
        for run in range(100):
            ends = plausible_spreads([table[run] for table in tables])
            found.append([numbers_for(end, 0.8, 0.8, ALPHA, design, [5]) for end in ends])
        detectable = np.array([[each.detectable_new_training_runs for each in ends] for ends in found], dtype=float)
        needed = np.array([[each.sample_sizes[0].new_training_runs or np.inf for each in ends] for ends in found])
        truth, need = true.detectable_new_training_runs or np.nan, true.sample_sizes[0].new_training_runs or np.inf
        low, high = np.median(detectable / truth, axis=0)
        row(
            f"{patients} patients, {folds} folds, {seeds} seeds",
            training_set,
            share((detectable[:, 0] <= truth) & (truth <= detectable[:, 1])),
            f"{low:.2f} to {high:.2f}",
            share((needed[:, 0] <= need) & (need <= needed[:, 1])),
            " to ".join(f"{end:.0f}" for end in np.quantile(needed, 0.5, axis=0, method="nearest")),
            f"{need:.0f}",
        )


TABLES = {
    "intervals": table_of_intervals,
    "verdicts": table_of_verdicts,
    "power": table_of_power,
    "pilots": table_of_pilots,
    "cohorts": table_of_cohorts,
    "failures": table_of_failures,
    "looks": table_of_interim_looks,
    "ranks": table_of_ranks,
    "reruns": table_of_reruns,
}

if __name__ == "__main__":
    for name in sys.argv[1:] or TABLES:
        print(f"{name}: {TABLES[name].__doc__}\n")
        TABLES[name]()
        print()

"""Coverage of interval methods, levels of tests and power in simulated designs: the tables of docs/statistics.md.

PYTHONPATH=tests/support python benchmarks/evidence.py
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from lesionloss.core.randomness import numpy_generator
from lesionloss.statistics.evidence import ALPHA, sign_flip_bounds, sign_flip_ps
from lesionloss.statistics.power_analysis import (
    DifferenceSpread,
    StudyDesign,
    power_new_training_runs,
    power_same_training_runs,
)
from lesionloss.statistics.training_run_variance import interval_over_training_runs
from simulated_designs import DIFFERENCES, SCORES, Draw, SimulatedDesign, patient_means, simulated_differences

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


def table_of_training_runs() -> None:
    """Coverage of the intervals for the same and for new training runs."""
    heads = ("sd of training runs", "same training runs", "new training runs", "width", "false positives")
    row("patients", "folds", "seeds", *heads)
    row(*["---"] * 8)
    for patients, folds, seeds in [(8, 1, 2), (8, 2, 2), (8, 4, 2), (8, 2, 5), (20, 2, 2), (20, 5, 2), (20, 5, 5)]:
        for training_run in (0.0, 0.25, 1.0):
            design = SimulatedDesign(patients, folds, seeds, training_run=training_run, rest=1.0)
            tables = simulated_differences(design, RUNS, "table")
            means = patient_means(tables)
            low, high = in_parts(sign_flip_bounds, means)
            new = [
                interval_over_training_runs([t[run] for t in tables], float(means[run].mean())) for run in range(RUNS)
            ]
            bounds = np.array([(found.low, found.high) for found in new if found is not None])
            ps = np.concatenate([sign_flip_ps(means[start : start + 500]) for start in range(0, RUNS, 500)])
            row(
                *(patients, folds, seeds, training_run),
                f"{100 * np.mean((low <= 0) & (high >= 0)):.1f}",
                f"{100 * np.mean((bounds[:, 0] <= 0) & (bounds[:, 1] >= 0)):.1f}",
                f"{np.median(bounds[:, 1] - bounds[:, 0]) / np.median(high - low):.2f}",
                f"{100 * np.mean(ps < ALPHA):.1f}",
            )


def table_of_power() -> None:
    """Predicted and observed power for the same and for new training runs."""
    row("patients", "folds", "seeds", "effect", "same: predicted", "observed", "new: predicted", "observed")
    row(*["---"] * 8)
    for patients, folds, seeds, effect in [(8, 2, 3, 1.0), (20, 2, 3, 0.7), (20, 5, 2, 0.7), (20, 5, 5, 0.7)]:
        spread, design = DifferenceSpread(1.0, 0.5, 0.7), StudyDesign(patients, folds, seeds)
        without_variability = SimulatedDesign(patients, folds, seeds, effect, 1.0, 0.0, 0.7)
        fixed = patient_means(simulated_differences(without_variability, RUNS, "fixed"))
        ps = np.concatenate([sign_flip_ps(fixed[start : start + 500]) for start in range(0, RUNS, 500)])
        tables = simulated_differences(SimulatedDesign(patients, folds, seeds, effect, 1.0, 0.5, 0.7), RUNS, "new")
        means = patient_means(tables).mean(axis=1)
        new = [interval_over_training_runs([t[run] for t in tables], float(means[run])) for run in range(RUNS)]
        row(
            *(patients, folds, seeds, effect),
            f"{power_same_training_runs(effect, DifferenceSpread(1.0, 0.0, 0.7), design, ALPHA):.2f}",
            f"{np.mean((ps < ALPHA) & (fixed.mean(axis=1) > 0)):.2f}",
            f"{power_new_training_runs(effect, spread, design, ALPHA):.2f}",
            f"{np.mean([found is not None and found.low > 0 for found in new]):.2f}",
        )


if __name__ == "__main__":
    for table in (table_of_intervals, table_of_training_runs, table_of_power):
        table()
        print()

"""Verdicts on equal losses, if seeds are added until there is one: docs/explanation/statistics.md.

PYTHONPATH=tests/support python benchmarks/evidence_stopping.py
"""

import numpy as np
from numpy.typing import NDArray

from lesionloss.statistics.evidence import ALPHA
from simulated_designs import SimulatedDesign, simulated_differences, verdict_ps

RUNS = 4000
SEEDS = (2, 3, 5, 10, 20)  # the run begins with two, and is extended one by one up to these
SPREADS = [(0.0, 0.0), (1.0, 0.0), (0.5, 0.5), (0.0, 1.0), (1.0, 1.0)]  # seeds, training sets
DESIGNS = [(20, 5), (40, 5), (40, 10)]  # patients, folds


def verdicts_by_seeds(design: SimulatedDesign, *name: str | int) -> dict[int, NDArray[np.bool_]]:
    """For each number of seeds from 2 on, which of `RUNS` runs have a verdict with these seeds."""
    folds = simulated_differences(design, RUNS, *name)
    return {
        seeds: verdict_ps([[table[:, None, :, :seeds].mean(axis=-1) for table in folds]])[:, 0] < ALPHA
        for seeds in range(2, design.seeds + 1)
    }


def main() -> None:
    """Print the share of runs with a verdict: with the last number of seeds alone, and with any number up to it."""
    print("| patients | folds | seeds | decided once | decided after each seed |\n|---|---|---|---|---|")
    for patients, folds in DESIGNS:
        found = [
            verdicts_by_seeds(
                SimulatedDesign(patients, folds, max(SEEDS), training_run=run, training_set=training_set, rest=1.0),
                *("stopping", patients, folds, place),
            )
            for place, (run, training_set) in enumerate(SPREADS)
        ]
        for most in SEEDS:
            once = [100 * each[most].mean() for each in found]
            ever = [100 * np.any([each[seeds] for seeds in range(2, most + 1)], axis=0).mean() for each in found]
            cells = [f"{min(rates):.1f} to {max(rates):.1f}" for rates in (once, ever)]
            print(f"| {patients} | {folds} | {most} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()

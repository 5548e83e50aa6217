"""How many trials this machine runs at once, and how many threads each gets."""

import math
from dataclasses import dataclass

from lesionloss.bench.bookkeeping.trial_list import TrialList
from lesionloss.bench.run_cohort import ListedCohort
from lesionloss.core.allocator import free_memory
from lesionloss.core.processors import usable_cores
from lesionloss.data.prepared import load_channels
from lesionloss.training.execution import GIB, GROWTH, network_bytes

PROGRAM_BYTES = GIB // 2  # interpreter, torch and what they need, measured
USED_SHARE = 0.8  # of the free memory: the rest is for the system and for estimates that are too low
INDEX_BYTES = 8  # of an entry of the index of brain voxels


@dataclass(frozen=True)
class MemoryNeed:
    """Memory of one trial in bytes: of a training step, of the prepared cases, and of each further network."""

    step_bytes: int
    case_bytes: int
    network_bytes: int

    @property
    def total(self) -> int:
        """Bytes in all, with the program itself."""
        return GROWTH * self.step_bytes + self.case_bytes + PROGRAM_BYTES


def memory_need(cohort: ListedCohort, trial_list: TrialList) -> MemoryNeed:
    """Return the memory of the largest trial of a run.

    Raises:
        DataError: A prepared case is damaged.
    """
    channels = len(load_channels(cohort.folder / f"{cohort.cases[0].name}.npz"))
    voxel_bytes = 4 * channels + 2 + INDEX_BYTES
    size = {name: math.prod(shape) * voxel_bytes for name, shape in cohort.shapes.items()}
    largest = max(sum(size[name] for name in {*trial.train, *trial.test}) for trial in trial_list.trials)
    trial = trial_list.trials[-1]
    return MemoryNeed(trial_list.step_bytes, largest, network_bytes(trial.recipe, trial.network))


def parallel_trials(need: MemoryNeed, trials: int, threads: int = 1) -> int:
    """Return how many trials run at once: as many as there are cores and memory for, at least one.

    Args:
        need: Memory of one trial.
        trials: Trials to run.
        threads: Threads of each trial.
    """
    free = free_memory()
    by_memory = int(USED_SHARE * free) // need.total if free else 1
    return max(1, min(trials, usable_cores() // threads, by_memory))


def threads_per_trial(need: MemoryNeed, trials: int) -> int:
    """Return the default threads of a trial: all cores divided among the trials that run at once."""
    return max(1, usable_cores() // parallel_trials(need, trials))

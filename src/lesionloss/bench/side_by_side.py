"""How many trials fit side by side on this machine, and how many threads each gets."""

import math
import os
from dataclasses import dataclass
from pathlib import Path

from lesionloss.bench.run_cohort import ListedCohort
from lesionloss.bench.trial_list import Agenda
from lesionloss.core.allocator import free_memory
from lesionloss.data.prepared import load_channels
from lesionloss.training.execution import GIB, GROWTH

PROGRAM_BYTES = GIB // 2  # interpreter, torch and what they need, measured
USED_SHARE = 0.8  # of the free memory: the rest is for the system and for what was estimated too low
INDEX_BYTES = 8  # of an entry of the index of brain voxels


@dataclass(frozen=True)
class Need:
    """Memory of one trial in bytes: of a training step, and of the prepared cases."""

    step_bytes: int
    case_bytes: int

    @property
    def total(self) -> int:
        return GROWTH * self.step_bytes + self.case_bytes + PROGRAM_BYTES


def need_of(cohort: ListedCohort, agenda: Agenda) -> Need:
    """What the largest trial of a run needs. Raises DataError where a prepared case is damaged."""
    channels = len(load_channels(cohort.folder / f"{cohort.cases[0].name}.npz"))
    voxel_bytes = 4 * channels + 2 + INDEX_BYTES
    size = {case.name: math.prod(case.shape) * voxel_bytes for case in cohort.cases}
    largest = max(sum(size[name] for name in {*trial.train, *trial.test}) for trial in agenda.trials)
    return Need(agenda.step_bytes, largest)


def cores() -> int:
    """Processors that this process may use: those of its affinity, within the quota of its control group."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return max(1, min(count, int(quota) // int(period)))
    except (OSError, ValueError):
        return count


def side_by_side(need: Need, trials: int, threads: int = 1) -> int:
    """Trials at a time: as many as have a core for each thread and memory for all they need, at least one."""
    free = free_memory()
    by_memory = int(USED_SHARE * free) // need.total if free else 1
    return max(1, min(trials, cores() // threads, by_memory))


def threads_of_each(need: Need, trials: int) -> int:
    """Threads of a trial where nothing else is said: all cores, divided among those that fit side by side."""
    return max(1, cores() // side_by_side(need, trials))

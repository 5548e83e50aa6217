"""As many processes on each GPU as its memory holds, with faked numbers."""

from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from example_trials import TRIAL
from lesionloss.bench import forecast as forecasts
from lesionloss.bench import gpu_sharing, parallel_trials
from lesionloss.bench.bookkeeping.trial_list import TrialList
from lesionloss.bench.engines import local
from lesionloss.bench.engines.local import LocalEngine
from lesionloss.bench.engines.slurm import SlurmEngine
from lesionloss.bench.forecast import forecast
from lesionloss.bench.gpu_sharing import GpuMemoryWatcher, processes_on_gpus
from lesionloss.bench.parallel_trials import MemoryNeed
from lesionloss.bench.run_context import RunContext
from lesionloss.bench.trial_groups import Group
from lesionloss.bench.watcher import SilentWatcher
from lesionloss.cli.bench_tables import forecast_json
from lesionloss.training.execution import default_workers
from lesionloss.training.state import Step
from tiny_runs import tiny_plan

GIB = 2**30
NEED = MemoryNeed(step_bytes=GIB // 4, case_bytes=0, network_bytes=GIB // 8)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], None]:
    """Sets the cores and the free memory of this machine, and GPUs of 80 GiB."""

    def have(cores: int, free: int) -> None:
        monkeypatch.setattr(parallel_trials, "usable_cores", lambda: cores)
        monkeypatch.setattr(parallel_trials, "free_memory", lambda: free)
        monkeypatch.setattr(local, "memory_of_gpu", lambda device: 80 * GIB)
        monkeypatch.setattr(forecasts, "memory_of_gpu", lambda device: 80 * GIB)

    have(64, 512 * GIB)
    return have


@pytest.mark.parametrize(
    ("gpus", "peak", "trials", "cores", "free", "processes"),
    [
        (2, 0, 100, 64, 512, 2),  # nothing is measured yet
        (2, 12 * GIB, 100, 64, 512, 10),  # 64 of 80 GiB over 12.5
        (2, 60 * GIB, 100, 64, 512, 2),
        (2, 100 * GIB, 100, 64, 512, 2),  # too much for one: it runs, fails and says so
        (2, 12 * GIB, 7, 64, 512, 7),
        (2, 12 * GIB, 100, 12, 512, 6),  # two cores each
        (2, 12 * GIB, 100, 1, 512, 2),
        (2, 12 * GIB, 100, 64, 5, 4),  # of main memory a trial needs 1 GiB
        (1, 3 * GIB, 100, 64, 512, 18),
    ],
)
def test_memory_of_gpus_cores_and_main_memory_decide(
    machine: Callable[[int, int], None], gpus: int, peak: int, trials: int, cores: int, free: int, processes: int
) -> None:
    machine(cores, free * GIB)
    assert processes_on_gpus(gpus, 80 * GIB, peak, NEED, trials, threads=1) == processes


def test_threads_of_a_trial_are_cores_too(machine: Callable[[int, int], None]) -> None:
    assert processes_on_gpus(1, 80 * GIB, GIB, NEED, 100, threads=8) == 8


class FakePool:
    """Trials that end one by one; the first says that it needs `peak` bytes, a later one that it needs more."""

    peaks: tuple[int, ...] = ()
    started: list[tuple[str, int, int]]

    def __init__(self, context: RunContext, trial_list: TrialList) -> None:
        self.gpu_bytes = SimpleNamespace(value=0)
        self.workers: dict[Group, int] = {}
        self.peaks_left = list(type(self).peaks)

    def free_slot(self) -> int:
        return next(slot for slot in range(99) if slot not in self.workers.values())

    def start(self, keys: Group, device: str, processes: int) -> None:
        self.workers[keys] = self.free_slot()
        type(self).started.append((device, len(self.workers), processes))

    def wait(self, seconds: float) -> list[Group]:
        if self.peaks_left:
            self.gpu_bytes.value = self.peaks_left.pop(0)
        if not self.peaks_left:
            self.workers.pop(next(iter(self.workers)))
        return []

    def stop(self) -> None:
        assert not self.workers


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> type[FakePool]:
    FakePool.started = []
    monkeypatch.setattr(local, "WorkerPool", FakePool)
    monkeypatch.setattr(local, "memory_need", lambda *of: NEED)
    monkeypatch.setattr(local, "networks_together", lambda *of: 2)
    monkeypatch.setattr(local, "StatusFollower", lambda *of: SimpleNamespace(poll=lambda now=False: None))
    return FakePool


class Notes(SilentWatcher):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def run_fakes(tmp_path: Path, engine: LocalEngine) -> list[str]:
    watcher = Notes()
    trials = tuple(replace(TRIAL, seed=seed, loss=loss) for seed, loss in product(range(20), ("dice", "hytver")))
    cohort: Any = None
    engine.run_trials(RunContext(tmp_path, "cuda:0", "call"), TrialList(trials, 1, 0), cohort, watcher)
    return watcher.notes


def test_the_first_steps_say_how_many_share_a_gpu(
    machine: Callable[[int, int], None], pool: type[FakePool], tmp_path: Path
) -> None:
    pool.peaks = (0, 20 * GIB)  # 64 GiB over 20.5: three on each of two
    notes = run_fakes(tmp_path, LocalEngine(devices=("cuda:0", "cuda:1")))
    assert pool.started[:2] == [("cuda:0", 1, 2), ("cuda:1", 2, 2)]  # one on each, until a step was taken
    assert max(beside for _, beside, _ in pool.started) == 6
    assert len(pool.started) == 20
    assert {processes for *_, processes in pool.started[2:]} == {6}
    assert "a process needs 20 GiB of a GPU: 6 processes on 2 GPUs" in notes


def test_fewer_share_a_gpu_where_predictions_need_more(
    machine: Callable[[int, int], None], pool: type[FakePool], tmp_path: Path
) -> None:
    pool.peaks = (20 * GIB, 50 * GIB)
    notes = run_fakes(tmp_path, LocalEngine(devices=("cuda:0", "cuda:1")))
    assert pool.started[-1][1] == 2
    assert [note for note in notes if "on 2 GPUs" in note] == [
        "a process needs 20 GiB of a GPU: 6 processes on 2 GPUs",
        "a process needs 50 GiB of a GPU: 2 processes on 2 GPUs",
    ]


def test_a_number_that_was_asked_for_stays(
    machine: Callable[[int, int], None], pool: type[FakePool], tmp_path: Path
) -> None:
    pool.peaks = (GIB,)
    run_fakes(tmp_path, LocalEngine(jobs=3, devices=("cuda:0", "cuda:1")))
    assert max(beside for _, beside, _ in pool.started) == 3


def test_a_process_keeps_the_most_that_any_has_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    import multiprocessing

    number = multiprocessing.get_context("spawn").Value("q", 0)
    needed = iter([5, 9, 3])
    monkeypatch.setattr("torch.cuda.max_memory_reserved", lambda device: next(needed))
    watcher = GpuMemoryWatcher("cuda:0", number)
    for expected in (5, 9, 9):
        watcher.step(TRIAL, Step(1, 0.5, 0.1, 1.0, 0.0, 0.0))
        assert number.value == expected
    assert gpu_sharing.peak_of_gpu("cpu") == 0


def test_processes_share_the_cores_that_make_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lesionloss.training.execution.usable_cores", lambda: 12)
    assert [default_workers("cuda:0", processes) for processes in (1, 3, 4, 6, 20)] == [4, 4, 3, 2, 1]
    assert default_workers("cpu", 1) == 0


@pytest.mark.parametrize(("jobs", "processes"), [(None, 8), (4, 4)])
def test_a_dry_run_counts_gpus_and_the_processes_on_each(
    machine: Callable[[int, int], None],
    monkeypatch: pytest.MonkeyPatch,
    data: Path,
    jobs: int | None,
    processes: int,
) -> None:
    monkeypatch.setattr(forecasts, "all_devices", lambda: ("cuda:0", "cuda:1"))
    monkeypatch.setattr(forecasts, "seconds_of_step", lambda *of: (2.0, "3 training steps"))
    monkeypatch.setattr(forecasts, "peak_of_gpu", lambda device: 15 * GIB)
    monkeypatch.setattr("lesionloss.bench.trial_groups.memory_of_gpu", lambda device: 80 * GIB)
    found = forecast(tiny_plan(data, folds=4, seeds=[1, 2]), None, "auto", jobs, 1)
    assert (found.gpus, found.jobs, len(found.trials)) == (2, processes, 16)
    assert found.seconds == 3 * 2.0 * 16 / processes
    assert '"gpus": 2' in forecast_json(found)


def test_a_worker_of_slurm_has_cores_and_memory_for_each_gpu() -> None:
    engine = SlurmEngine(settings=(("gpus_per_node", "a100:4"), ("cpus_per_task", 16)))
    assert engine.threads(NEED, 10) == 4
    assert SlurmEngine(settings=(("cpus_per_task", 16),)).threads(NEED, 10) == 16
    assert SlurmEngine(settings=(("gpus_per_node", 4), ("cpus_per_task", 16)), jobs=2).threads(NEED, 10) == 8

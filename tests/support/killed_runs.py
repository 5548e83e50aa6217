"""Runs in processes of their own, so that they can be killed; the tests talk to this script by files.

It imports and compiles what a run needs once, by a run from end to end, and then forks. It has one thread only.
"""

import contextlib
import json
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from lesionloss.bench.bookkeeping.status import TrialStatus, read_status
from lesionloss.bench.engines import TrialEngine, local
from lesionloss.bench.engines.in_process import InProcessEngine
from lesionloss.bench.engines.local import LocalEngine
from lesionloss.bench.plan import Plan
from lesionloss.bench.run import run
from lesionloss.bench.watcher import SilentWatcher
from lesionloss.cli import main as main_of_lesionloss
from lesionloss.core.errors import LesionLossError
from lesionloss.core.process_identity import process_started
from lesionloss.core.randomness import numpy_generator
from lesionloss.core.user_files import load_user_file
from lesionloss.training.loop import Step
from lesionloss.training.trial import Trial

ENGINES: dict[str, TrialEngine] = {"in_process": InProcessEngine(), "local": LocalEngine(jobs=2)}
ALONE: dict[str, TrialEngine] = {"in_process": InProcessEngine(together=1), "local": LocalEngine(jobs=2)}


def forked(work: Callable[[], None]) -> int:
    """Do something in a child; gives its process number."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return child


def ended(child: int) -> int:
    """Exit status of a child, negative for the signal that killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


class StepsToFile(SilentWatcher):
    """Writes every step to a file, and pauses before each."""

    def __init__(self, path: Path, pause: float = 0.0) -> None:
        self.path = path
        self.pause = pause

    def step(self, trial: Trial, step: Step) -> None:
        time.sleep(self.pause)
        with self.path.open("a") as handle:
            handle.write(f"{trial.key} {step.step}\n")


def kill_runs(plan: Plan, out: Path, engine: str, count: int, seconds: float) -> None:
    """Run `count` times with a SIGKILL at a random moment, and then to the end."""
    for number in range(count):
        folder = out / f"{engine}-{number}"
        delay = float(numpy_generator("moments", engine, number).uniform(0.02, 1)) * seconds
        work = partial(_run, plan, folder, ENGINES[engine])
        child = forked(work)
        timer = threading.Event()
        timer.wait(delay)
        os.kill(child, signal.SIGKILL)
        first = ended(child)
        left = sorted(path.name for path in (folder / "trials").glob("*"))
        found = len(list(folder.glob("checkpoints/*/step-*")))
        second = ended(forked(work))
        record = {"first": first, "second": second, "delay": delay, "left": left, "checkpoints": found}
        (out / f"{engine}-{number}.json").write_text(json.dumps(record))


def _run(plan: Plan, folder: Path, engine: TrialEngine) -> None:
    run(plan, folder, engine=engine, threads=1, checkpoint_seconds=0)


def together(plan: Plan, out: Path) -> None:
    """Two processes begin one run at once."""

    def work(name: str) -> None:
        run(
            plan,
            out / "together",
            watcher=StepsToFile(out / f"{name}.txt", pause=0.02),
            threads=1,
            checkpoint_seconds=0,
        )

    first, second = forked(lambda: work("first")), forked(lambda: work("second"))
    (out / "together.json").write_text(json.dumps([ended(first), ended(second)]))


def interrupt(plan: Plan, out: Path) -> None:
    """Ctrl-C in the middle of `lesionloss bench`, then the same command again."""
    path, folder = out / "plan.toml", out / "interrupted"
    path.write_text(plan.to_toml())
    words = ["lesionloss", "--with", str(Path(__file__).with_name("faulty_losses.py"))]
    words += ["bench", str(path), "--out", str(folder), "--jobs", "2", "--threads", "1", "--device", "cpu"]

    def command() -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it from the start
        sys.argv = [*words, "--checkpoint-seconds", "0"]
        sys.stderr = (out / "said.txt").open("a")
        try:
            main_of_lesionloss()
        except SystemExit as stopped:
            sys.stderr.flush()
            os._exit(int(stopped.code or 0))

    child = forked(command)
    running: tuple[TrialStatus, ...] = ()
    while not any(trial.step >= 2 for trial in running):
        time.sleep(0.01)
        if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            raise SystemExit("the run ended before it could be interrupted")
        with contextlib.suppress(LesionLossError):
            running = read_status(folder).of("running")
    os.kill(child, signal.SIGINT)
    first = ended(child)
    left = {"locks": len(list((folder / "locks").iterdir()))}
    left["processes"] = sum(process_started(trial.pid) is not None for trial in running)
    (out / "interrupt.json").write_text(json.dumps({"first": first, "left": left, "second": ended(forked(command))}))


def with_faults(plan: Plan, out: Path, task: str, engine: TrialEngine) -> None:
    """A plan whose losses bring down their processes, run twice by the local engine."""
    os.environ["FAULTS"] = str(out / f"{task}-markers")
    (out / f"{task}-markers").mkdir()
    for name in ("once", "again"):
        started = forked(lambda: _run(plan, out / task, engine))
        code = ended(started)
        kept = {path.name: (path / "failed.json").read_text() for path in (out / task / "trials").glob("*.failed")}
        done = [path.name for path in (out / task / "trials").iterdir() if path.suffix == ""]
        (out / f"{task}-{name}.json").write_text(json.dumps({"code": code, "failed": kept, "done": done}))


def main(data: Path, out: Path, tasks: list[str]) -> None:
    from engine_runs import fault_beside_others, faulty_plan, plan_of, slow_plan

    local._context = lambda: multiprocessing.get_context("fork")  # type: ignore[assignment,return-value]
    torch.set_num_threads(1)
    plan = plan_of(data)
    _run(plan, out / "warm", InProcessEngine())
    for engine in ("in_process", "local"):
        start_time = time.perf_counter()
        if ended(forked(partial(_run, plan, out / f"whole-{engine}", ALONE[engine]))):
            raise SystemExit(f"the run of {engine} failed")
        seconds = time.perf_counter() - start_time
        for task in tasks:
            name, _, count = task.partition("=")
            if name == engine:
                kill_runs(plan, out, engine, int(count), seconds)
    if "together" in tasks:
        together(plan, out)
    load_user_file(Path(__file__).with_name("faulty_losses.py"))
    if "interrupt" in tasks:
        interrupt(slow_plan(data), out)
    if "faults" in tasks:
        with_faults(faulty_plan(data), out, "faults", LocalEngine(jobs=2, together=1))
    if "beside" in tasks:
        with_faults(fault_beside_others(data), out, "beside", LocalEngine(jobs=2))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])

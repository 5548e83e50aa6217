"""Training runs in processes of their own, so that they can be killed; the tests read what this script writes.

It imports and compiles what a training run needs once, by training to the end, and then forks. It has one thread only.
"""

import json
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import torch

from example_trials import RECIPE, TRIAL
from lesionloss.core.randomness import numpy_generator, torch_generator
from lesionloss.data.prepared import load_prepared
from lesionloss.networks import build_network, channels_last
from lesionloss.training.checkpoint import CheckpointError, Checkpoints, save
from lesionloss.training.loop import train, weights_hash
from lesionloss.training.state import State, Step

STEPS = 12
# Everything that has a state: moments, weight decay, drops of the rate, best weights, dropout, batch norm.
RICH = replace(
    TRIAL,
    train=("001", "002", "003"),
    test=("004",),
    recipe=replace(
        RECIPE,
        steps=STEPS,
        optimiser="adamw(weight_decay=0.1)",
        schedule="plateau(factor_each=0.5, patience=1)",
        clip_norm=1.0,
        accumulate=2,
        validation_share=0.4,
        check_every=3,
    ),
)


def forked(work: Callable[[], None]) -> int:
    """Do something in a child; gives its exit status, negative for the signal that killed it."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            torch.set_num_threads(1)
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def train_once(cohort: Path, folder: Path, workers: int, every: int, kill_at: int = 0, delay_ms: float = 0.0) -> None:
    """Train RICH with a checkpoint after every `every` steps; SIGKILL some time after step `kill_at` was taken."""
    cases = [load_prepared(cohort / f"{name}.npz") for name in RICH.train]
    rows: list[Step] = []

    def after_step(step: Step) -> None:
        rows.append(step)
        if step.step == kill_at:
            threading.Timer(delay_ms / 1000, os.kill, (os.getpid(), signal.SIGKILL)).start()

    checkpoints = Checkpoints(folder, every_steps=every, every_seconds=1e9)
    result = train(RICH, cases, workers=workers, checkpoints=checkpoints, after_step=after_step)
    record = {
        "weights": weights_hash(result.network),
        "batches": result.batches_hash,
        "best": [result.best_step, repr(result.best_score)],
        "history": [repr(asdict(replace(step, seconds=0.0))) for step in rows],
    }
    (folder / "result.json").write_text(json.dumps(record))


def kill_training_runs(cohort: Path, out: Path, workers: int, count: int) -> None:
    """Train `count` times with a SIGKILL at a random step and a second start."""
    for number in range(count):
        rng = numpy_generator("kills", workers, number)
        kill_at, every = int(rng.integers(1, STEPS)), int(rng.integers(1, 4))
        delay_ms = float(rng.uniform(0, 60))
        folder = out / f"{workers}-{number}"
        first = forked(lambda: train_once(cohort, folder, workers, every, kill_at, delay_ms))  # noqa: B023
        left = sorted(path.name for path in folder.glob("*"))
        (out / f"{workers}-{number}.json").write_text(json.dumps({"first": first, "step": kill_at, "left": left}))
        if first:
            forked(lambda: train_once(cohort, folder, workers, every))  # noqa: B023


def some_state() -> State:
    """A state of about a megabyte."""
    network = channels_last(build_network("unet3d(filters=8)", torch_generator("checkpoint")))
    optimiser = torch.optim.Adam(network.parameters())
    return State(network, optimiser, torch.amp.GradScaler("cpu", enabled=False))


def bring(state: State, step: int) -> State:
    """The state after a step: all weights are its number."""
    with torch.no_grad():
        for parameter in state.network.parameters():
            parameter.fill_(step)
    state.history.append(Step(step, 1.0 / step, 1e-3, 0.1 * step, 0.0, float("nan")))
    return state


def save_for_ever(state: State, folder: Path) -> None:
    """Checkpoints of step 1, 2, ...; the number of the last that is whole stands in a file."""
    for step in range(1, 100_000):
        save(folder, bring(state, step), "key")
        (folder / "done.new").write_text(str(step))
        os.replace(folder / "done.new", folder / "done")


def kill_checkpoints(out: Path, count: int) -> None:
    """Kill a process that does nothing but write checkpoints, at a random moment after its first."""
    state = some_state()
    for number in range(count):
        folder = out / str(number)
        folder.mkdir(parents=True)
        child = os.fork()
        if child == 0:
            torch.set_num_threads(1)
            save_for_ever(state, folder)
            os._exit(1)
        while not (folder / "done").exists():
            threading.Event().wait(0.001)
        threading.Event().wait(float(numpy_generator("moments", number).uniform(0, 0.1)))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def fill_disks(out: Path, count: int) -> None:
    """Write a checkpoint, then a second one that the kernel cuts off after a random number of bytes."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    for number in range(count):
        folder = out / str(number)
        state = bring(some_state(), 1)
        size = save(folder, state, "key").stat().st_size

        def limited() -> None:
            limit = int(numpy_generator("bytes", number).integers(0, size))  # noqa: B023
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            try:
                save(folder, bring(state, 2), "key")  # noqa: B023
            except CheckpointError as error:
                os.write(written, str(error).encode())  # noqa: B023

        reading, written = os.pipe()
        forked(limited)
        os.close(written)
        message = os.read(reading, 10_000).decode()
        os.close(reading)
        (out / f"{number}.txt").write_text(message)


if __name__ == "__main__":
    task, *words = sys.argv[1:]
    if task == "training_runs":
        prepared, place = Path(words[0]), Path(words[1])
        torch.set_num_threads(1)
        train_once(prepared, place / "whole", workers=0, every=0)
        for number_of_workers in words[3:]:
            kill_training_runs(prepared, place, int(number_of_workers), int(words[2]))
    elif task == "checkpoints":
        kill_checkpoints(Path(words[0]), int(words[1]))
    elif task == "disks":
        fill_disks(Path(words[0]), int(words[1]))

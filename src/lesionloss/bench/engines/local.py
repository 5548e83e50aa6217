"""The engine of one machine: several trials side by side, each in a process of its own.

A trial that is killed or crashes ends alone, and its memory goes back to the system. Processes are forked from one that
has everything imported, so that a trial begins at once.
"""

import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import threading
from collections import deque
from dataclasses import dataclass, replace
from multiprocessing.context import ForkServerProcess, SpawnProcess
from types import FrameType

import torch

from lesionloss.bench.engines.following import LOOK_SECONDS, Follower
from lesionloss.bench.execute import Order, Outcome, computing_with, execute_in_turn, keep
from lesionloss.bench.failures import ended_by
from lesionloss.bench.locks import clock_of, held, take
from lesionloss.bench.run_cohort import ListedCohort
from lesionloss.bench.side_by_side import Need, need_of, side_by_side, threads_of_each
from lesionloss.bench.trial_list import Agenda
from lesionloss.bench.watcher import Watcher

Process = ForkServerProcess | SpawnProcess

# What a trial needs sooner or later; importing it anew would cost each trial some ten seconds of a core.
PRELOAD = [
    *("lesionloss.bench.execute", "lesionloss.bench.plan", "lesionloss.networks", "lesionloss.losses.families"),
    *("lesionloss.statistics", "torch._dynamo", "monai.inferers", "monai.transforms"),
]
LOST = 255  # what multiprocessing says of a process whose end it could not see
STOPPED = (-signal.SIGTERM, 128 + signal.SIGTERM)  # asked to end from outside: the trial has not failed and stays open
PATIENCE_SECONDS = 10.0  # for a process that was asked to end


@dataclass(frozen=True)
class Local:
    """`jobs`: trials at a time; None: as many as cores and memory allow. `devices`: handed out in turn."""

    jobs: int | None = None
    devices: tuple[str, ...] = ()

    def threads(self, need: Need, trials: int) -> int:
        """All cores divided among the trials that run side by side."""
        return threads_of_each(need, trials)

    def work(self, order: Order, agenda: Agenda, cohort: ListedCohort, watcher: Watcher) -> None:
        devices = self.devices or (order.device,)
        jobs = self.jobs or jobs_for(order, agenda, cohort, len(devices))
        waiting = deque(_in_turn(order, agenda))
        crew = Crew(order, agenda)
        follower = Follower(order, agenda, watcher)
        try:
            while waiting or crew.processes:
                while waiting and len(crew.processes) < jobs:
                    crew.start(waiting.popleft(), devices[crew.free_place() % len(devices)])
                waiting.extend(crew.wait(LOOK_SECONDS))
                follower.look()
        finally:
            crew.stop()
            follower.look(now=True)


def jobs_for(order: Order, agenda: Agenda, cohort: ListedCohort, devices: int) -> int:
    """Trials at a time on this machine: one for each GPU, or what cores and memory allow."""
    if order.device != "cpu":
        return devices
    return side_by_side(need_of(cohort, agenda), len(agenda.trials), agenda.threads)


def all_devices() -> tuple[str, ...]:
    """Every GPU of this machine, or its processor."""
    count = torch.cuda.device_count()
    return tuple(f"cuda:{number}" for number in range(count)) or ("cpu",)


def _in_turn(order: Order, agenda: Agenda) -> list[str]:
    """Keys of the trials that aren't done, those that somebody else is at last."""
    (order.folder / "claims").mkdir(parents=True, exist_ok=True)
    now = clock_of(order.folder / "claims")
    left = [trial.key for trial in agenda.trials if not order.done(trial.key)]
    taken = {key for key in left if (found := held(order.claim_of(key))) is not None and found.alive(now)}
    return sorted(left, key=lambda key: key in taken)


@dataclass
class Member:
    """A process and the place (0, 1, ...) it works at."""

    process: Process
    place: int


class Crew:
    """Processes at work, each on one trial."""

    def __init__(self, order: Order, agenda: Agenda) -> None:
        self.order = order
        self.agenda = agenda
        self.processes: dict[str, Member] = {}
        self._context = _context()

    def free_place(self) -> int:
        taken = {member.place for member in self.processes.values()}
        return next(place for place in range(len(taken) + 1) if place not in taken)

    def start(self, key: str, device: str) -> None:
        """Begin a trial."""
        order, place = replace(self.order, device=device), self.free_place()
        process = self._context.Process(target=work_on, args=(order, key, self.agenda.threads), name=f"trial {key}")
        process.start()
        self.processes[key] = Member(process, place)

    def wait(self, seconds: float) -> list[str]:
        """Until one ends, or for a while; write down the failure of one that couldn't. Gives the keys of those that
        must be started again: the process that forks them is gone, and nobody knows what became of them."""
        multiprocessing.connection.wait([member.process.sentinel for member in self.processes.values()], seconds)
        codes = {key: member.process.exitcode for key, member in self.processes.items()}
        unknown = []
        for key, code in codes.items():
            if code is not None:
                self.processes.pop(key).process.join()
                if code == LOST:
                    unknown.append(key)
                else:
                    self._ended(key, code)
        return unknown

    def _ended(self, key: str, code: int) -> None:
        if code in (Outcome.DONE.value, Outcome.BUSY.value, *STOPPED) or self.order.failed(key):
            return
        claim = take(self.order.claim_of(key))
        if claim is None:  # somebody else has taken the trial over already
            return
        with claim:
            keep(self.order, self.agenda.trial(key), ended_by(code, self.order.call))

    def stop(self) -> None:
        """End all: asked to, they release their trials; those that don't are killed and released from here."""
        for member in self.processes.values():
            member.process.terminate()
        for key, member in self.processes.items():
            member.process.join(PATIENCE_SECONDS)
            if member.process.is_alive():
                member.process.kill()
                member.process.join()
            claim = take(self.order.claim_of(key))
            if claim is not None:
                with claim:
                    pass
        self.processes.clear()


def _context() -> multiprocessing.context.ForkServerContext | multiprocessing.context.SpawnContext:
    """Fork from a process that has all imported, where forking is safe."""
    if not sys.platform.startswith("linux"):
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    return context


def work_on(order: Order, key: str, threads: int) -> None:
    """What a process does: one trial, then it ends with the outcome as its exit code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to every process of a terminal; the first one decides
    signal.signal(signal.SIGTERM, _leave)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with computing_with(threads):
        sys.exit(execute_in_turn(order, key).value)


def _leave(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _end_with_parent() -> None:
    """Nobody would record what becomes of a trial whose parent was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)

"""Pools of processes whose workers end with their parent and remove what they have not finished."""

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from types import FrameType
from typing import Any

TERMINATE_SECONDS = 10.0  # for a process to clean up after SIGTERM, before it is killed
ENDING = {signal.SIGINT, signal.SIGTERM}
TERMINATED = 128 + signal.SIGTERM  # exit code


class _Pool(ProcessPoolExecutor):
    """Its tasks end their process on SIGTERM; the executor of Python would take the next task."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        # New processes inherit the mask: Python prints a traceback where a signal comes before `follow_parent`, or
        # where this process is interrupted before it has written what a new one reads.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
        try:
            return super().submit(_run, fn, *args, **kwargs)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _run(work: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    try:
        return work(*args, **kwargs)
    except SystemExit:
        os._exit(TERMINATED)


@contextlib.contextmanager
def process_pool(workers: int, preload: Sequence[str] = ()) -> Iterator[ProcessPoolExecutor]:
    """Processes that start Python anew; on an error in the block, tasks that wait are dropped and workers are ended.

    Args:
        workers: How many processes.
        preload: Slow modules that are imported once for all processes, where the system can do that.
    """
    method = "forkserver" if preload and "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(method)
    if method == "forkserver":
        context.set_forkserver_preload(list(preload))
    pool = _Pool(workers, mp_context=context, initializer=follow_parent)
    try:
        yield pool
    except BaseException:
        _end(list((pool._processes or {}).values()))
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _end(workers: "Sequence[multiprocessing.process.BaseProcess]") -> None:
    """Let workers clean up; kill those that do not end."""
    for worker in workers:
        worker.terminate()
    end = time.monotonic() + TERMINATE_SECONDS
    for worker in workers:
        multiprocessing.connection.wait([worker.sentinel], max(0.0, end - time.monotonic()))
        if worker.is_alive():
            worker.kill()


def follow_parent() -> None:
    """Let this process ignore Ctrl-C, which its parent decides on, and end on SIGTERM and when its parent has ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _exit)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _exit(number: int, frame: FrameType | None) -> None:
    """End in silence: code that is interrupted, such as an import of NumPy, prints errors of its own."""
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    sys.exit(TERMINATED)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(TERMINATE_SECONDS)
        os._exit(1)

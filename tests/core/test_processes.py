"""Workers end with their parent, however it ends, and remove what they have not finished."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lesionloss.core.process_identity import process_started

SCRIPT = Path(__file__).parent.parent / "support" / "interrupted_pool.py"


def children_of(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in listed] + [other for child in listed for other in children_of(int(child))]


def wait_until(condition, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="reads the processes of Linux")
@pytest.mark.parametrize("preload", [(), ("json",)], ids=["spawn", "forkserver"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["interrupted", "killed"])
def test_no_process_and_no_unfinished_file_is_left(tmp_path: Path, number: int, preload: tuple[str, ...]) -> None:
    command = [sys.executable, str(SCRIPT), str(tmp_path), *preload]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        wait_until(lambda: len(list(tmp_path.iterdir())) == 2)
        workers = children_of(process.pid)
        assert len(workers) >= 2
        process.send_signal(number)
        assert process.wait() != 0
    wait_until(lambda: not any(process_started(worker) for worker in workers))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="reads the processes of Linux")
def test_workers_that_start_ignore_ctrl_c(tmp_path: Path) -> None:
    """A terminal sends it to all processes of a command; Python would print a traceback for each."""
    command = [sys.executable, str(SCRIPT), str(tmp_path)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        wait_until(lambda: len(children_of(process.pid)) >= 2)
        os.killpg(process.pid, signal.SIGINT)
        said = process.communicate()[1]
    assert "KeyboardInterrupt" in said
    assert 'File "<string>"' not in said

"""A training ends with the process that started it, and takes its own workers with it."""

import os
import signal
import subprocess
import sys

SCRIPT = """
import os, time
from lesionloss.integrations.nnunet import one_training

def stand_in(command, words):
    worker = os.fork()
    print(command, *words, worker or "worker", flush=True)
    time.sleep(60)

one_training.call = stand_in
one_training.main()
"""


def test_it_ends_with_its_input_and_so_do_its_workers() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, "501", "3d_fullres"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    first = {process.stdout.readline().split()[-1], process.stdout.readline().split()[-1]}
    (worker,) = first - {"worker"}
    assert process.poll() is None
    process.stdin.close()
    assert process.wait(timeout=30) == -signal.SIGKILL
    assert process.stdout.read() == ""  # so nobody holds it any more
    assert not os.path.exists(f"/proc/{worker}/fd/0")

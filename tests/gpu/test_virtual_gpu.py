"""The tests of `on_device` on two virtual GPUs, in a process of their own, because torch looks for devices once."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from virtual_devices import Unavailable, compile_devices

TESTS = Path(__file__).with_name("on_device")
ROOT = TESTS.parents[2]


def run_on_virtual_gpus(marker: str) -> None:
    try:
        compile_devices()
    except Unavailable as error:
        pytest.skip(str(error))
    paths = os.pathsep.join([str(ROOT / "tests" / "support"), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-m", "pytest", "-p", "virtual_devices", "-p", "no:cacheprovider", "-m", marker]
    done = subprocess.run(
        [*command, "--tb=short", str(TESTS)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": paths, "LESIONLOSS_TEST_GPU": "virtual"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2_000:]


def test_a_part_of_everything_on_a_virtual_gpu() -> None:
    run_on_virtual_gpus("not slow")


@pytest.mark.slow
def test_everything_on_a_virtual_gpu() -> None:
    run_on_virtual_gpus("slow")

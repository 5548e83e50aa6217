"""The device of these tests: one of two virtual GPUs, or a real one; they are collected only where there is one.

`cuda:1` is tested while `cuda:0` is current, where there are two.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from device_log import DeviceLog, device_log

KIND = os.environ.get("LESIONLOSS_TEST_GPU", "")
collect_ignore_glob = [] if KIND else ["test_*.py"]


@dataclass(frozen=True)
class TestDevice:
    """A GPU and how tests look at it."""

    name: str
    values: Callable[[Tensor], Tensor]  # in main memory, without a note
    log: Callable[[], AbstractContextManager[DeviceLog]]


@pytest.fixture
def gpu() -> Iterator[TestDevice]:
    if KIND == "virtual":
        import virtual_gpu

        with virtual_gpu.use_virtual_gpus():
            yield TestDevice("cuda:1", virtual_gpu.values_of, device_log)
            assert torch.cuda.current_device() == 0
    else:
        from real_gpu import real_device_log

        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        yield TestDevice(f"cuda:{torch.cuda.device_count() - 1}", Tensor.cpu, real_device_log)
        assert torch.cuda.current_device() == 0

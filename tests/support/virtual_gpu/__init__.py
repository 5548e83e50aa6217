"""A GPU without a GPU: two devices by name, for a build of torch for the CPU. `virtual_devices` is
imported first.

Inside `use_virtual_gpus()` tensors on `cuda:0` and `cuda:1` hold their values in main memory; `device_log()` notes
operations and waits of the host.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from virtual_devices import LIBRARY
from virtual_gpu import tensors
from virtual_gpu.tensors import DeviceMode, values_of
from virtual_gpu.torch_calls import torch_with_gpus

if LIBRARY is None:
    raise ImportError("the virtual GPU is loaded before torch, with LESIONLOSS_TEST_GPU=virtual and -p virtual_devices")
tensors.current_device = LIBRARY.current_device


@contextmanager
def use_virtual_gpus() -> Iterator[None]:
    """Make tensors on `cuda:0` and `cuda:1` possible inside the block."""
    with torch_with_gpus(), DeviceMode():
        yield


__all__ = ["use_virtual_gpus", "values_of"]

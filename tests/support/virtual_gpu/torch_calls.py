"""What torch says of a machine with the virtual devices, while a test runs."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.optim.optimizer import _foreach_supported_types

from device_log import note_wait
from virtual_gpu import tensors

DEVICES = 2
NAME = "Virtual GPU"
FREE, TOTAL = 20 * 2**30, 24 * 2**30


class NoGradInsteadOfInference(torch.no_grad):
    """Inference mode hides operations from dispatch; without gradients the same ones are seen."""

    def __init__(self, mode: bool = True) -> None:
        super().__init__()


class Properties:
    """Of an Ampere card."""

    name, total_memory, major, minor, multi_processor_count = NAME, TOTAL, 8, 6, 84


@contextmanager
def torch_with_gpus() -> Iterator[None]:
    """Let torch find the virtual devices inside the block."""
    generators = tuple(torch.Generator().manual_seed(number) for number in range(DEVICES))
    answers: dict[str, Any] = {
        "is_available": lambda: True,
        "is_initialized": lambda: True,
        "device_count": lambda: DEVICES,
        "current_device": lambda: tensors.current_device(),
        "get_device_name": lambda device=None: NAME,
        "get_device_properties": lambda device=None: Properties,
        "get_device_capability": lambda device=None: (Properties.major, Properties.minor),
        "is_bf16_supported": lambda including_emulation=True: True,
        "max_memory_reserved": lambda device=None: TOTAL - FREE,
        "mem_get_info": lambda device=None: (FREE, TOTAL),
        "synchronize": lambda device=None: note_wait("synchronize"),
        "get_rng_state": lambda device="cuda": generators[_number(device)].get_state(),
        "set_rng_state": lambda state, device="cuda": generators[_number(device)].set_state(state),
        "default_generators": generators,
        "_lazy_init": lambda: None,
        "_is_in_bad_fork": lambda: False,
    }
    swapped = torch.__future__.get_swap_module_params_on_conversion()
    with _replaced(answers):
        torch.__future__.set_swap_module_params_on_conversion(True)
        _foreach_supported_types.append(tensors.OnDevice)
        try:
            yield
        finally:
            _foreach_supported_types.remove(tensors.OnDevice)
            torch.__future__.set_swap_module_params_on_conversion(swapped)
            tensors.forget_pinned()


@contextmanager
def _replaced(answers: dict[str, Any]) -> Iterator[None]:
    """Put these answers in place of torch.cuda's functions, and what a virtual tensor needs beside them."""
    with (
        mock.patch.multiple(torch.cuda, **answers),
        mock.patch.object(torch, "inference_mode", NoGradInsteadOfInference),
        mock.patch.object(Tensor, "pin_memory", lambda self, device=None: tensors.pin(self)),
        mock.patch.object(Tensor, "is_pinned", lambda self, device=None: tensors.is_pinned(self)),
    ):
        yield


def _number(device: Any) -> int:
    found = torch.device(device) if not isinstance(device, int) else torch.device("cuda", device)
    return found.index or 0

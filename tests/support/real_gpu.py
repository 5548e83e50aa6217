"""Operations and waits on a real GPU, as `device_log` notes them on a virtual one."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from device_log import DeviceLog, device_log, note_operation, note_wait

WARNING = "called a synchronizing"


class _Counting(TorchDispatchMode):
    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if not func.is_view:
            note_operation(str(func))
        return func(*args, **(kwargs or {}))


@contextmanager
def real_device_log() -> Iterator[DeviceLog]:
    """Note operations, and the waits that torch warns of, inside the block."""

    def show(message: Warning | str, *of: Any) -> None:
        if WARNING in str(message):
            note_wait(str(message))

    with device_log() as log, _Counting(), warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = show  # type: ignore[assignment]
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield log
        finally:
            torch.cuda.set_sync_debug_mode("default")

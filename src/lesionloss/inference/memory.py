"""The memory that a forward pass needs, counted without computing anything, and the memory that is free."""

import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lesionloss.networks.network_output import logits_of

CONTROL_GROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


class _StorageCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the bytes of the storages alive between operations; `peak` is their maximum."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.alive: dict[int, int] = {}
        self.now = self.peak = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                self._add(tensor.untyped_storage())
        return result

    def _add(self, storage: torch.UntypedStorage) -> None:
        key = int(storage._cdata)
        if key in self.alive:
            return
        self.alive[key] = storage.nbytes()
        self.now += storage.nbytes()
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._drop, key)

    def _drop(self, key: int) -> None:
        self.now -= self.alive.pop(key, 0)


def bytes_of_pass(network: nn.Module, shape: Sequence[int], precision: str) -> int:
    """The peak memory of the tensors of one forward pass: input, features and output, without the weights.

    What libraries need for their own work comes on top.

    Args:
        network: On any device; nothing is computed.
        shape: Of the input, (B, C, *space).
        precision: `float32`, `bf16` or, on a GPU, `fp16` inside the network.

    Returns:
        Bytes.
    """
    device = next((tensor.device for tensor in network.parameters()), torch.device("cpu"))
    counter = _StorageCounter()
    half = torch.autocast(device.type, torch.bfloat16, enabled=precision != "float32")  # fp16 is as large
    with FakeTensorMode(allow_non_fake_inputs=True), torch.inference_mode(), counter, half:
        logits_of(network.eval()(torch.empty(tuple(shape), device=device)))
    return counter.peak


def free_bytes(device: str) -> int | None:
    """Bytes that are still free on a device; None where the system doesn't say."""
    if device.startswith("cuda"):
        return int(torch.cuda.mem_get_info(torch.device(device))[0])
    found = [_available(), *(_left_in_group(Path(most), Path(used)) for most, used in CONTROL_GROUPS)]
    return min((value for value in found if value is not None), default=None)


def _available() -> int | None:
    path = Path("/proc/meminfo")
    if not path.exists():
        return None
    for line in path.read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def _left_in_group(most: Path, used: Path) -> int | None:
    try:
        limit = most.read_text().strip()
        return int(limit) - int(used.read_text()) if limit.isdigit() else None
    except OSError:
        return None

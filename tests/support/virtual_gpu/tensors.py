"""Tensors that say `cuda:N` and hold their values in main memory, and the rules of a GPU for what is done with them.

Every operation is computed by the CPU. What a GPU refuses is refused: tensors of two devices in one operation, NumPy
of a tensor on a device. What makes the host wait is noted: reading a value, a result whose shape depends on values, a
copy that blocks. Not seen are races between streams, cuDNN, real memory, and speed.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map

from device_log import note_operation, note_wait

aten = torch.ops.aten
CPU = torch.device("cpu")
CUDA = "cuda"

# Operations whose result has a shape, or a Python value, that the host must learn first.
READING = {
    *(aten._local_scalar_dense.default, aten.equal.default, aten.is_nonzero.default, aten.nonzero.default),
    *(aten.masked_select.default, aten._unique2.default, aten.unique_dim.default, aten.unique_consecutive.default),
    *(aten.bincount.default, aten.histc.default, aten.linalg_eigh.default),
}
INDEXING = {
    *(aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._index_put_impl_.default),
    aten._unsafe_index.Tensor,
}
COPYING = {aten._to_copy.default, aten.copy_.default, aten._copy_from.default}
current_device: Callable[[], int] = lambda: 0  # noqa: E731  replaced by that of the devices


class OnDevice(Tensor):
    """A tensor of a virtual GPU."""

    held: Tensor  # the values, in main memory
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @staticmethod
    def __new__(cls: type["OnDevice"], values: Tensor, device: torch.device) -> "OnDevice":
        made: OnDevice = Tensor._make_wrapper_subclass(
            cls,
            values.size(),
            strides=values.stride(),
            storage_offset=values.storage_offset(),
            dtype=values.dtype,
            layout=values.layout,
            device=device,
        )
        made.held = values
        return made

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        return compute(func, tuple(args), dict(kwargs or {}))

    def tolist(self) -> Any:
        note_wait("tolist")
        return self.held.tolist()

    def numpy(self, *, force: bool = False) -> Any:
        raise TypeError(f"can't convert {self.device} device type tensor to numpy. Use Tensor.cpu() first.")

    def __array__(self, *of: Any) -> Any:
        return self.numpy()

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        return f"{self.held!r} on {self.device}"


class DeviceMode(TorchDispatchMode):
    """Sends every operation through `compute`, so that tensors can be made on the devices."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        return compute(func, tuple(args), dict(kwargs or {}))


def values_of(x: Any) -> Any:
    """The values of a tensor of any device in main memory; anything else as it is."""
    return x.held if isinstance(x, OnDevice) else x


def compute(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Carry one operation out as a GPU would."""
    given = tree_leaves((args, kwargs))
    there = [x for x in given if isinstance(x, OnDevice)]
    named = _device(kwargs.get("device"))
    if not there and (named is None or named.type != CUDA):
        return func(*args, **kwargs)
    if func not in COPYING:
        _refuse_mixture(func, given, there)
    _note_waits(func, args, kwargs, there)
    if not func.is_view:
        note_operation(str(func))
    target = _target(func, args, named, there)
    plain_args, plain = tree_map(values_of, args), tree_map(values_of, kwargs)
    if plain.get("device") is not None:
        plain["device"] = CPU
    plain.pop("pin_memory", None)
    if func is aten._to_copy.default:
        plain.pop("non_blocking", None)
    if target.type != CUDA:
        return func(*plain_args, **plain)
    found = func(*plain_args, **plain)
    if func is aten._to_copy.default and found is plain_args[0]:
        found = found.clone()
    wrapped = tree_map(lambda x: OnDevice(x, target) if isinstance(x, Tensor) else x, found)
    if any(argument.alias_info is not None and argument.alias_info.is_write for argument in func._schema.arguments):
        return tree_map(lambda x: _given_back(x, there), wrapped)
    return return_and_correct_aliasing(func, args, kwargs, wrapped)


def _device(given: Any) -> torch.device | None:
    """A device with its number: that of the current one where none is given."""
    device = None if given is None else torch.device(given)
    if device is not None and device.type == CUDA and device.index is None:
        return torch.device(CUDA, current_device())
    return device


def _target(func: Any, args: tuple[Any, ...], named: torch.device | None, there: list[OnDevice]) -> torch.device:
    """Where the result lies."""
    if func is aten.copy_.default:
        return torch.device(args[0].device)
    return named if named is not None else there[0].device


def _refuse_mixture(func: Any, given: list[Any], there: list[OnDevice]) -> None:
    """Raise RuntimeError for tensors of several devices; numbers and indices may lie in main memory."""
    devices = {x.device for x in there}
    here = [x for x in given if isinstance(x, Tensor) and not isinstance(x, OnDevice) and x.dim() and x.device == CPU]
    if there and here and func in INDEXING and all(not x.is_floating_point() for x in here):
        note_wait("indices from main memory")
        here = []
    if len(devices) > 1 or (there and here):
        everywhere = sorted({str(x.device) for x in (*there, *here)})
        raise RuntimeError(f"{func}: expected all tensors to be on the same device, but found {everywhere}")


def _note_waits(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], there: list[OnDevice]) -> None:
    if func in COPYING:
        _note_copy(func, args, kwargs)
    elif not there:
        return
    elif func in READING or (func is aten.repeat_interleave.Tensor and kwargs.get("output_size") is None):
        note_wait(str(func))
    elif func in INDEXING and any(isinstance(i, Tensor) and i.dtype in (torch.bool, torch.uint8) for i in args[1]):
        note_wait("indices by a mask")


def _note_copy(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """A copy between main memory and a device blocks unless it is said not to and the memory is pinned."""
    if func is aten._to_copy.default:
        source, onto, blocking = args[0], _device(kwargs.get("device")), not kwargs.get("non_blocking")
    else:
        source, onto = args[1], args[0].device
        blocking = not (args[2] if len(args) > 2 else kwargs.get("non_blocking"))
    if not isinstance(source, Tensor) or onto is None or source.device.type == onto.type:
        return
    if onto.type == CUDA and not blocking and is_pinned(source):
        return
    memory = "" if onto.type != CUDA or is_pinned(source) else " of memory that is not pinned"
    note_wait(f"{'blocking ' if blocking else ''}copy to {onto.type}{memory}")


def is_pinned(x: Tensor) -> bool:
    """Whether `pin` made the memory of this tensor."""
    return x.untyped_storage().data_ptr() in _pinned


_pinned: set[int] = set()


def pin(x: Tensor) -> Tensor:
    """A copy whose memory counts as pinned. It is never freed, so that no other tensor takes its place."""
    copied = x.clone()
    _pinned.add(copied.untyped_storage().data_ptr())
    _kept.append(copied)
    return copied


_kept: list[Tensor] = []


def forget_pinned() -> None:
    """Free all memory that counts as pinned."""
    _pinned.clear()
    _kept.clear()


def _given_back(x: Any, there: list[OnDevice]) -> Any:
    """The argument that an operation in place returns."""
    return next((each for each in there if isinstance(x, OnDevice) and each.held is x.held), x)

"""The weights of a bundle: checked against the network before they are read, and read into it."""

from pathlib import Path

import torch
from torch import nn

from lesionloss.core.errors import DataError
from lesionloss.networks import blank_network
from lesionloss.networks.mean_network import MeanNetwork


def joined(members: list[nn.Module]) -> nn.Module:
    """The network of a bundle: its only member, or the mean of all."""
    return MeanNetwork(members) if len(members) > 1 else members[0]


def check_tensors(path: Path, text: str, members: int) -> None:
    """Check names, shapes and types of the file against those of the network, before either takes memory.

    Args:
        path: The file of weights.
        text: The network.
        members: How many of it the file holds.

    Raises:
        DataError: They do not fit.
    """
    from safetensors import SafetensorError, safe_open

    blank = joined([blank_network(text) for _ in range(members)])
    wanted = {name: (tuple(t.shape), t.dtype) for name, t in blank.state_dict().items()}
    try:
        with safe_open(path, framework="pt") as file:
            names = set(file.keys())
            found = {name: file.get_slice(name) for name in names & set(wanted)}
            shapes = {name: (tuple(part.get_shape()), part.get_dtype()) for name, part in found.items()}
    except (SafetensorError, ValueError, OSError) as error:
        raise DataError(f"{path} is not a readable safetensors file ({error}); fetch the model again") from error
    for does, odd in (("lacks", set(wanted) - names), ("holds unknown", names - set(wanted))):
        if odd:
            raise DataError(f"{path} {does} {', '.join(sorted(odd)[:3])}: not the weights of {text}")
    for name, (shape, dtype) in wanted.items():
        halved = dtype == torch.float32 and shapes[name] == (shape, "F16")
        if shapes[name] != (shape, _DTYPES.get(dtype)) and not halved:
            in_file, needed = (f"{kind} {sides}" for sides, kind in (shapes[name], (shape, _DTYPES.get(dtype))))
            raise DataError(f"{path}: {name} is {in_file}, {text} has {needed}; fetch the model again")


_DTYPES = {
    torch.float32: "F32",
    torch.float64: "F64",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


def fill(network: nn.Module, path: Path) -> None:
    """Give a network the weights of a file.

    Raises:
        DataError: A weight is not finite.
    """
    from safetensors.torch import load_file

    weights = load_file(path, device="cpu")
    for name, tensor in weights.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise DataError(f"{path}: {name} holds NaN or infinite values; take an earlier checkpoint")
    network.load_state_dict(weights)

"""Load weights of other training runs into a network, by name and with a report; freeze parts of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from lesionloss.core.catalogue import nearest
from lesionloss.core.errors import DataError, UsageError
from lesionloss.networks.checkpoint_names import NAME_MAPS, NameMap, same_name
from lesionloss.networks.tensor_files import read_tensors


@dataclass(frozen=True)
class TensorMatch:
    """One tensor: its name in the file, its name in the network, its shape, and a remark."""

    theirs: str
    ours: str
    shape: tuple[int, ...]
    remark: str = ""


@dataclass(frozen=True)
class WeightTransfer:
    """Which tensors were taken from a file, which were left and why, and which of the network have no counterpart."""

    path: str
    taken: tuple[TensorMatch, ...]
    left: tuple[TensorMatch, ...]
    missing: tuple[TensorMatch, ...]

    def summary(self) -> str:
        """Return counts of tensors and of numbers in one line."""
        numbers = sum(torch.Size(row.shape).numel() for row in self.taken)
        return (
            f"{self.path}: {len(self.taken)} tensors taken ({numbers:,} numbers), {len(self.left)} left in the file, "
            f"{len(self.missing)} of the network without a counterpart"
        )

    def table(self) -> list[dict[str, str]]:
        """Return one row per tensor, with columns what, file, network, shape and remark."""
        groups = (("taken", self.taken), ("left", self.left), ("missing", self.missing))
        return [
            {
                "what": what,
                "file": row.theirs,
                "network": row.ours,
                "shape": "×".join(map(str, row.shape)) or "1",
                "remark": row.remark,
            }
            for what, rows in groups
            for row in rows
        ]


def name_map(name: str) -> NameMap:
    """Return the mapping of names for a layout of checkpoints.

    Raises:
        UsageError: An unknown one.
    """
    if name not in NAME_MAPS:
        raise UsageError(f"no layout of weights is named {name!r}; {nearest(name, list(NAME_MAPS))}")
    return NAME_MAPS[name]


def load_weights(network: nn.Module, path: Path, mapping: NameMap = same_name) -> WeightTransfer:
    """Copy the tensors of a file that fit by name and shape into a network.

    A softmax head of two classes fits a head of one channel: lesion minus background gives the same probabilities.

    Args:
        network: Changed in place, and only if everything is in order.
        path: A .safetensors or .pth file.
        mapping: From a name in the file to a name in the network, or None.

    Returns:
        What was taken, left and missing.

    Raises:
        UsageError: As `read_tensors`.
        DataError: As `read_tensors`; nothing fits, two tensors map to one name, or a tensor that fits is not finite.
    """
    state = network.state_dict()
    taken: dict[str, tuple[TensorMatch, Tensor]] = {}
    left: list[TensorMatch] = []
    for theirs, tensor in read_tensors(path).items():
        ours, shape = mapping(theirs) or "", tuple(tensor.shape)
        if ours not in state:
            left.append(TensorMatch(theirs, ours, shape, "no such part in the network" if ours else "no counterpart"))
            continue
        fitted = _fitted(tensor, state[ours])
        if fitted is None:
            wanted = "×".join(map(str, state[ours].shape))
            left.append(TensorMatch(theirs, ours, shape, f"the network has {wanted}"))
        elif ours in taken:
            raise DataError(f"{path}: {theirs!r} and {taken[ours][0].theirs!r} both map to {ours!r}")
        else:
            remark = "" if fitted.shape == tensor.shape else "two classes reduced to one channel"
            taken[ours] = (TensorMatch(theirs, ours, tuple(fitted.shape), remark), fitted)
    _check(path, taken, left)
    with torch.no_grad():
        for ours, (_, tensor) in taken.items():
            state[ours].copy_(tensor)
    missing = tuple(TensorMatch("", name, tuple(own.shape)) for name, own in state.items() if name not in taken)
    return WeightTransfer(str(path), tuple(row for row, _ in taken.values()), tuple(left), missing)


def _fitted(tensor: Tensor, own: Tensor) -> Tensor | None:
    """The tensor in the form of ours, or None; a two-class head becomes that of one channel."""
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_complex():
        return None
    if tensor.shape == own.shape:
        return tensor
    if own.shape[:1] == (1,) and tensor.shape == (2, *own.shape[1:]) and all(side == 1 for side in own.shape[2:]):
        return tensor[1:].float() - tensor[:1].float()
    return None


def _check(path: Path, taken: dict[str, tuple[TensorMatch, Tensor]], left: list[TensorMatch]) -> None:
    parts = [row for row, _ in taken.values() if not row.ours.endswith("num_batches_tracked")]
    if not parts:
        example = f"; {left[0].theirs!r}: {left[0].remark}" if left else ""
        raise DataError(f"{path}: none of its {len(taken) + len(left)} tensors fits the network{example}")
    for row, tensor in taken.values():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise DataError(f"{path}: {row.theirs!r} holds NaN or infinite values; take an earlier checkpoint")


def freeze(network: nn.Module, patterns: Sequence[str]) -> tuple[str, ...]:
    """Freeze the parameters that match a glob pattern, such as `encoder.*`.

    They take no gradient. Norms of which every parameter is frozen use their stored statistics, in training too.

    Args:
        network: Changed in place.
        patterns: Glob patterns of names of parameters.

    Returns:
        The names of the frozen parameters.

    Raises:
        UsageError: A pattern matches nothing.
    """
    names = [name for name, _ in network.named_parameters()]
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            parts = sorted({name.split(".")[0] for name in names})
            raise UsageError(f"freeze: {pattern!r} matches no parameter; the network's parts: {', '.join(parts)}")
    frozen = {name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns)}
    for name, parameter in network.named_parameters():
        if name in frozen:
            parameter.requires_grad_(False)
    for name, module in network.named_modules():
        if isinstance(module, _NormBase) and _all_frozen(name, module, frozen, patterns):
            module.eval()
            module.register_forward_pre_hook(_stay_in_evaluation)
    return tuple(name for name in names if name in frozen)


def _all_frozen(name: str, module: nn.Module, frozen: set[str], patterns: Sequence[str]) -> bool:
    own = [key for key, _ in module.named_parameters(name, recurse=False)]
    if own:
        return frozen.issuperset(own)
    return any(fnmatchcase(f"{name}.running_mean", pattern) for pattern in patterns)


def _stay_in_evaluation(module: nn.Module, _: object) -> None:
    module.eval()  # network.train() switches every norm on again

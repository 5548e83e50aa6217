"""Weights of other trainings in a network of ours: by name, with a report; and parts that must not move."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from lesionloss.core.catalogue import nearest
from lesionloss.core.errors import DataError, UsageError
from lesionloss.networks.foreign_names import NAME_MAPS, NameMap, same_name
from lesionloss.networks.tensor_files import read_tensors


@dataclass(frozen=True)
class Row:
    """One tensor of a transfer: its name in the file, its name in the network, its shape, and a remark."""

    theirs: str
    ours: str
    shape: tuple[int, ...]
    remark: str = ""


@dataclass(frozen=True)
class Transfer:
    """What was taken from a file, what was left in it and why, and what of the network kept its own weights."""

    path: str
    taken: tuple[Row, ...]
    left: tuple[Row, ...]
    missing: tuple[Row, ...]

    def summary(self) -> str:
        """One line: counts of tensors and of numbers."""
        numbers = sum(torch.Size(row.shape).numel() for row in self.taken)
        return (
            f"{self.path}: {len(self.taken)} tensors taken ({numbers:,} numbers), {len(self.left)} left in the file, "
            f"{len(self.missing)} of the network without a counterpart"
        )

    def table(self) -> list[dict[str, str]]:
        """One row per tensor, with columns what, file, network, shape and remark."""
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
    """The mapping of names for a layout of checkpoints. Raises UsageError for an unknown one."""
    if name not in NAME_MAPS:
        raise UsageError(f"no layout of weights is named {name!r}; {nearest(name, list(NAME_MAPS))}")
    return NAME_MAPS[name]


def load_weights(network: nn.Module, path: Path, mapping: NameMap = same_name) -> Transfer:
    """Copy the tensors of a .safetensors or .pth file that fit by name and shape into `network`; in place.

    A softmax head of two classes fits a head of one channel: the differences lesion minus background are the same
    probabilities. Raises as `read_tensors` does; DataError if nothing fits, two tensors claim one place, or a tensor
    that fits holds NaN or infinite values. The network is only changed if everything is in order.
    """
    state = network.state_dict()
    taken: dict[str, tuple[Row, Tensor]] = {}
    left: list[Row] = []
    for theirs, tensor in read_tensors(path).items():
        ours, shape = mapping(theirs) or "", tuple(tensor.shape)
        if ours not in state:
            left.append(Row(theirs, ours, shape, "no such part in the network" if ours else "no counterpart"))
            continue
        fitted = _fitted(tensor, state[ours])
        if fitted is None:
            wanted = "×".join(map(str, state[ours].shape))
            left.append(Row(theirs, ours, shape, f"the network has {wanted}"))
        elif ours in taken:
            raise DataError(f"{path}: {theirs!r} and {taken[ours][0].theirs!r} both claim {ours!r}")
        else:
            remark = "" if fitted.shape == tensor.shape else "two classes made one channel"
            taken[ours] = (Row(theirs, ours, tuple(fitted.shape), remark), fitted)
    _check(path, taken, left)
    with torch.no_grad():
        for ours, (_, tensor) in taken.items():
            state[ours].copy_(tensor)
    missing = tuple(Row("", name, tuple(own.shape)) for name, own in state.items() if name not in taken)
    return Transfer(str(path), tuple(row for row, _ in taken.values()), tuple(left), missing)


def _fitted(tensor: Tensor, own: Tensor) -> Tensor | None:
    """The tensor in the form of ours, or None; a two-class head becomes that of one channel."""
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_complex():
        return None
    if tensor.shape == own.shape:
        return tensor
    if own.shape[:1] == (1,) and tensor.shape == (2, *own.shape[1:]) and all(side == 1 for side in own.shape[2:]):
        return tensor[1:].float() - tensor[:1].float()
    return None


def _check(path: Path, taken: dict[str, tuple[Row, Tensor]], left: list[Row]) -> None:
    parts = [row for row, _ in taken.values() if not row.ours.endswith("num_batches_tracked")]
    if not parts:
        example = f"; {left[0].theirs!r}: {left[0].remark}" if left else ""
        raise DataError(f"{path}: none of its {len(taken) + len(left)} tensors fits the network{example}")
    for row, tensor in taken.values():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise DataError(f"{path}: {row.theirs!r} holds NaN or infinite values; take an earlier checkpoint")


def freeze(network: nn.Module, patterns: Sequence[str]) -> tuple[str, ...]:
    """Stop the parts that match a glob pattern, such as `encoder.*`, from moving; gives the names of the parameters.

    Their parameters take no gradient; norms of which every parameter is frozen use their stored statistics and leave
    them as they are, in training too. Raises UsageError for a pattern that matches nothing.
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

"""Losses of other libraries: any `nn.Module` or function of logits and a target, registered as a loss."""

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

import torch
from torch import Tensor, nn

from lesionloss.core.errors import UsageError, expect_type
from lesionloss.core.user_files import PREFIX
from lesionloss.losses.criterion import Loss, build
from lesionloss.losses.registry import register
from lesionloss.losses.voxels import Voxels

Module = Callable[[Tensor, Tensor], Tensor]

CERTAIN = 30.0  # logit of a masked voxel that counts as certain background: p is 1e-13
UNASKED = {
    "weights": "it takes no weights of voxels",
    "class_weights": "it takes no weights of classes but its own",
    "compiled": "whether torch can compile and export it depends on code that is not ours; some of MONAI it can't",
}
UNASKED_OF_GEOMETRY = {**UNASKED, "spatial_shape": "it looks at neighbours (geometry=True), perhaps not in slices"}


class TargetForm(Enum):
    """The logits and the target that a module takes, for K classes with the background first.

    One lesion class is two classes to all but `LESION_MAP`: a network with one logit z then stands for (0, z).

    Attributes:
        LESION_MAP: logits (1, 1, *space) of a sigmoid, target (1, 1, *space), 0 and 1 in the type of the logits.
        CLASS_NUMBERS: logits (1, K, *space), target (1, *space) of whole numbers, as torch's cross-entropy.
        CLASS_CHANNEL: logits (1, K, *space), target (1, 1, *space) of whole numbers, as MONAI with `to_onehot_y=True`.
        ONE_HOT: logits (1, K, *space), target (1, K, *space), 0 and 1 in the type of the logits.
    """

    LESION_MAP = auto()
    CLASS_NUMBERS = auto()
    CLASS_CHANNEL = auto()
    ONE_HOT = auto()


def from_module(
    module: Module,
    target: TargetForm,
    *,
    name: str = "",
    title: str = "",
    source: str = "",
    geometry: bool = False,
) -> Loss:
    """Register a module or function as a loss, so that `build`, plans and `lesionloss check` know it by its name.

    It is called on one image at a time, which gives the value of each image; with `pooled=True`, on all images of the
    batch side by side as one. Masked voxels are taken out before: the module gets the others as a list, (1, C, n, 1).
    Two channels (a, b) come as (0, b - a), which have the same softmax.

    Args:
        module: takes logits and target, gives one number. Its buffers follow the logits' type and device.
        target: what it takes.
        name: how it is written in texts; empty: from that of the module and its library, such as `monai_dice_ce`.
        title: "Name: what it does."; empty: the name and the library of the module.
        source: the paper; empty: where the module is defined.
        geometry: it looks at neighbouring voxels, so no list of voxels is made: masked ones count as certain
            background, and with `pooled=True` it gets the whole batch, (B, C, *space).

    Returns:
        The loss, as `build(name)` gives it.

    Raises:
        UsageError: an argument is wrong, the name is taken, or the module has parameters, which would not be trained.
    """
    expect_type(target, TargetForm, "target", "write TargetForm.CLASS_NUMBERS, LESION_MAP, CLASS_CHANNEL or ONE_HOT")
    if not callable(module):
        raise UsageError(f"module must be an nn.Module or a function of logits and target, got {module!r}")
    if isinstance(module, nn.Module) and next(module.parameters(), None) is not None:
        raise UsageError(f"{type(module).__name__} has parameters, which would not be trained; make them buffers")
    caller = str(sys._getframe(1).f_globals.get("__name__", "__main__"))
    kind = module if hasattr(module, "__name__") else type(module)
    name = name or _name_of(kind, caller)
    library = kind.__module__.partition(".")[0]

    adapter = ModuleAdapter(name, module, target, geometry)

    def values(v: Voxels) -> Tensor:
        return adapter.values(v)

    values.__module__, values.__name__, values.__qualname__ = caller, name, name
    values.__doc__ = title or f"{kind.__name__}: {_words_of(library)}, called on each image."
    unasked = UNASKED_OF_GEOMETRY if geometry else UNASKED
    register(name, source or f"{kind.__module__}.{kind.__qualname__}", values, geometric=geometry, unasked=unasked)
    return build(name)


def _words_of(library: str) -> str:
    own = library == "__main__" or library.startswith(PREFIX)
    return "a loss of your own" if own else f"a loss of {library}"


def _name_of(kind: Callable[..., object], caller: str) -> str:
    """`DiceCELoss` of MONAI as `monai_dice_ce`; what the caller's own module defines has no prefix."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", kind.__name__).lower()
    library = kind.__module__.partition(".")[0]
    short = words.removesuffix("_loss")
    return short if library == caller.partition(".")[0] else f"{library}_{short}"


@dataclass(frozen=True)
class ModuleAdapter:
    """A module and how it is called; see `from_module`."""

    name: str
    module: Module
    form: TargetForm
    geometry: bool

    def values(self, v: Voxels) -> Tensor:
        """The value of each image, (I,).

        Raises:
            UsageError: labels do not fit the form of the target, voxels have weights, or the module gives no number.
        """
        if v.weight is not None or v.options.class_weights is not None:
            raise UsageError(
                f"loss {self.name!r} calls a module, which takes no weights of voxels and of classes from outside; "
                "give valid= for a mask, and weights of classes to the module"
            )
        logits, target, poison = self._logits(v), *self._target(v)
        if v.valid is not None and self.geometry:
            sure, background = torch.zeros_like(logits[:1, :, :1]), torch.zeros_like(target[:1, :, :1])
            sure[:, 0] = -CERTAIN if logits.shape[1] == 1 else CERTAIN
            background[:, 0] = 1 if self.form is TargetForm.ONE_HOT else 0
            logits, target = (torch.where(v.valid[:, None], *pair) for pair in ((logits, sure), (target, background)))
        rows = [slice(row, row + 1) for row in range(logits.shape[0])]
        if v.options.pooled:
            rows = [slice(group, None, v.groups) for group in range(v.groups)]
        valid = None if self.geometry else v.valid
        images = [self._value(v, logits[i], target[i], None if valid is None else valid[i]) for i in rows]
        return torch.stack(images) + poison

    def _logits(self, v: Voxels) -> Tensor:
        """(R, C, V)."""
        if self.form is TargetForm.LESION_MAP or v.logits.shape[1] > 1:
            return v.logits
        return torch.cat([torch.zeros_like(v.logits), v.logits], dim=1)

    def _target(self, v: Voxels) -> tuple[Tensor, Tensor | float]:
        """The target, (R, 1 or K, V), and what is added to the loss: NaN on a GPU for labels that can't be used."""
        if self.form is TargetForm.LESION_MAP and v.classes > 2:
            raise UsageError(
                f"loss {self.name!r} takes a map of one lesion class, the logits have {v.classes} classes; "
                "register it with another TargetForm"
            )
        if self.form in (TargetForm.CLASS_NUMBERS, TargetForm.CLASS_CHANNEL):
            poison = v.refuse_parts(f"loss {self.name!r} takes class numbers")
            numbers = v.labels.argmax(1) if v.soft else v.labels
            return numbers[:, None].long().clamp(0, v.classes - 1), poison
        classes = torch.arange(v.classes, device=v.labels.device)[:, None]
        shares = v.labels if v.soft else (v.labels[:, None] == classes).to(v.logits.dtype)
        return shares[:, 1:] if self.form is TargetForm.LESION_MAP else shares, 0.0

    def _value(self, v: Voxels, logits: Tensor, target: Tensor, valid: Tensor | None) -> Tensor:
        """The value of images (r, C, V) together, or of their valid voxels (r, V) as a list."""
        if valid is None:
            given = [x.reshape(*x.shape[:-1], *v.space) for x in (logits, target)]
            if not self.geometry:  # which would see lesions of two images touch
                given = [torch.cat(list(x), dim=-1)[None] for x in given]
        else:
            flat = [x.transpose(0, 1).flatten(1)[:, valid.flatten()] for x in (logits, target)]
            if flat[0].shape[1] == 0:
                return logits.sum() * 0.0
            given = [x.reshape(1, x.shape[0], -1, *(1,) * (len(v.space) - 1)) for x in flat]
        value = self._called(given[0], given[1][:, 0] if self.form is TargetForm.CLASS_NUMBERS else given[1])
        if not isinstance(value, Tensor) or value.numel() != 1:
            got = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise UsageError(
                f'loss {self.name!r}: its module must give one number, as with reduction="mean"; got {got}'
            )
        return value.reshape(()).to(logits.dtype)

    def _called(self, logits: Tensor, target: Tensor) -> Tensor:
        """Call the module, with its buffers in the type and on the device of the logits."""
        buffers = dict(self.module.named_buffers()) if isinstance(self.module, nn.Module) else {}
        if not isinstance(self.module, nn.Module) or not buffers:
            return self.module(logits, target)
        fitting = {
            key: buffer.to(logits.device, logits.dtype if buffer.is_floating_point() else None)
            for key, buffer in buffers.items()
        }
        value: Tensor = torch.func.functional_call(self.module, fitting, (logits, target))
        return value

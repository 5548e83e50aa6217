"""The one `nn.Module`: a weighted sum of registered losses, built from text."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lesionloss.core.errors import UsageError, expect_type
from lesionloss.losses import reference_maps, registry
from lesionloss.losses.alignment import Extras, align
from lesionloss.losses.input_checks import (
    Spacing,
    look,
    plain_labels,
    plain_tensor,
    poison_of_mask,
    read_spacing,
    refuse_weight,
    traced,
    weighted_mean,
)
from lesionloss.losses.kernels import FAST, READABLE, Kernel
from lesionloss.losses.kernels.fast import uncompiled
from lesionloss.losses.loss_options import Empty, LossOptions, differences, read_options
from lesionloss.losses.maps_of_batch import maps_of_batch
from lesionloss.losses.spec import Spec, SpecTerm, TermWeight, parse, weight_at
from lesionloss.losses.voxels import Voxels, column_mean


@dataclass(frozen=True)
class BoundTerm:
    """A summand, ready to be called on voxels."""

    weight: TermWeight
    name: str
    call: Callable[[Voxels], Tensor]


def _bind(term: SpecTerm) -> BoundTerm:
    function, given = registry.get(term.name).function, dict(term.given)
    return BoundTerm(term.weight, term.name, lambda v: function(v, **given))


class Loss(nn.Module):
    """A weighted sum of losses: `value = criterion(logits, labels)`; print it to get its text back.

    Without parameters and state. Make it with `build`, or use a named class such as `DiceLoss`.
    """

    def __init__(self, spec: Spec, options: LossOptions | None = None, kernel: Kernel | None = None) -> None:
        """Make a loss from what `build` reads; `kernel=None`: as for `build`.

        Raises:
            UsageError: spec or kernel is something else.
        """
        super().__init__()
        expect_type(spec, Spec, "loss", "use build(text)")
        if kernel is not None and not hasattr(kernel, "term_sums"):
            raise UsageError(f"kernel must be FAST or READABLE of lesionloss.losses.kernels, got {kernel!r}")
        self.spec = spec
        self.options = options or LossOptions()
        self.kernel = kernel
        self._terms = tuple(_bind(term) for term in spec.terms)
        # torch.compile compiles a code object eight times at most, and all losses have this one: so each gets a copy.
        if type(self).forward is Loss.forward:
            own = FunctionType(Loss.forward.__code__.replace(), globals(), "forward", Loss.forward.__defaults__)
            vars(self)["forward"] = MethodType(own, self)
        self._images = uncompiled(self.per_image) if kernel is FAST else self.per_image

    def forward(
        self,
        logits: Tensor,
        labels: Tensor,
        valid: Tensor | None = None,
        reduce: bool = True,
        image_weights: Tensor | None = None,
        weight: Tensor | None = None,
        spacing_mm: Spacing | None = None,
        maps: Mapping[str, Tensor] | None = None,
        progress: float = 1.0,
    ) -> Tensor:
        """The value of the loss.

        Args:
            logits: (B, C, H, W) or (B, C, D, H, W). C = 1 is a sigmoid, more channels a softmax, background first.
            labels: (B, *space) or (B, 1, *space): class numbers (floating point with C <= 2: share of the lesion), or
                (B, C, *space): one-hot or soft.
            valid: shaped like one map of labels; voxels where it is false are ignored.
            reduce: False gives one value for each image.
            image_weights: (B,), the weight of each image in the average; a batch without any costs 0.
            weight: shaped like `valid`, the weight of each voxel, 0 or more: counts become weighted sums, and means are
                divided by the sum of the weights. Losses that rank voxels rank those with a weight above 0. A map of
                zeros and ones is a mask.
            spacing_mm: edge lengths of a voxel, one number for each axis of space, or (B, axes); None: 1 mm.
            maps: what `reference_maps` gave for this batch; a loss computes by itself those that are missing.
            progress: how far training is, from 0 at the first step to 1 at the last, for weights that change between:
                "dice + (0.01, 1)*boundary".

        Returns:
            A scalar; with `reduce=False` (B,), or (1,) if the batch is pooled.

        Raises:
            UsageError: shapes or types do not fit.
            DataError: logits are NaN or infinite, labels out of range, the mask holds more than 0 and 1, or a weight is
                negative or not finite. On a GPU such values make the loss NaN instead, because checking would mean
                waiting.
        """
        if not isinstance(reduce, bool):
            raise UsageError(f"reduce must be True (the mean) or False (one value for each image), got {reduce!r}")
        if not 0 <= progress <= 1:
            raise UsageError(f"progress must be a number from 0 (first step) to 1 (last step), got {progress!r}")
        known = None if valid is None else plain_tensor(valid, "valid")
        of_images = None if image_weights is None else plain_tensor(image_weights, "image_weights")
        extras = Extras(
            None if weight is None else plain_tensor(weight, "weight"),
            read_spacing(spacing_mm),
            {name: plain_tensor(given, f"map {name}") for name, given in (maps or {}).items()},
            progress,
        )
        images = self._images(plain_tensor(logits, "logits"), plain_labels(labels), known, extras)
        return _average(images, of_images, reduce, self.options)

    if TYPE_CHECKING:  # nn.Module leaves the type of a call open
        __call__ = forward

    @property
    def maps(self) -> tuple[str, ...]:
        """The names of the maps of the reference that its terms use."""
        return reference_maps.needed_by(name for term in self.spec.terms for name in registry.get(term.name).maps)

    def reference_maps(
        self, labels: Tensor, valid: Tensor | None = None, spacing_mm: Spacing | None = None, channels: int = 1
    ) -> dict[str, Tensor]:
        """What depends on the reference only, for `maps=` of the call; data workers make it on the CPU.

        Args:
            labels: as in the call. Labels of four axes are 2-D if the second is 1 or `channels`, else 3-D.
            valid: as in the call; of voxels with weights, those above 0.
            spacing_mm: as in the call.
            channels: C of the logits.

        Returns:
            A tensor (B, L, *space) for each name in `maps`, L the number of lesion classes.

        Raises:
            UsageError: shapes or types do not fit.
            DataError: labels are out of range.
        """
        return maps_of_batch(self.maps, self.options, labels, valid, spacing_mm, channels)

    def per_image(self, logits: Tensor, labels: Tensor, valid: Tensor | None, extras: Extras) -> Tensor:
        """The value of each image, (B,), or (1,) if the batch is pooled; see `forward`."""
        if logits.is_meta or not torch.is_autocast_enabled(logits.device.type):  # torch knows no autocast for meta
            return self._per_image(logits, labels, valid, extras)
        with torch.autocast(logits.device.type, enabled=False):
            return self._per_image(logits, labels, valid, extras)

    def _per_image(self, logits: Tensor, labels: Tensor, valid: Tensor | None, extras: Extras) -> Tensor:
        given = [x for x in (logits, labels, valid, extras.weight) if x is not None]
        kernel = READABLE if traced(*given) else self.kernel or FAST
        v = align(logits, labels, valid, self.options, kernel, extras)
        poisons = (look(v.logits, v.labels, v.valid), poison_of_mask(valid), refuse_weight(extras.weight))
        weights = [weight_at(extras.progress, term.weight) for term in self._terms]
        values = [_times(weight, per_image(term, v)) for weight, term in zip(weights, self._terms, strict=True)]
        rows = reduce(torch.add, values)
        images = rows if v.groups == 1 else column_mean(rows.reshape(-1, v.groups), v.channel_weights)
        return reduce(torch.add, [poison for poison in poisons if poison is not None], images)

    def __str__(self) -> str:
        """The text that `build` reads."""
        return str(self.spec)

    def __repr__(self) -> str:
        """The text, and the options that are not at their defaults."""
        return ", ".join([f"Loss({str(self)!r}", *differences(self.options)]) + ")"

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies and pickles are built again from the text."""
        return _rebuild, (type(self), str(self), self.options, self.kernel)


def _times(weight: float, values: Tensor) -> Tensor:
    return values if weight == 1 else weight * values


def per_image(term: BoundTerm, v: Voxels) -> Tensor:
    """The value of a term for each image, (I,).

    Raises:
        UsageError: the function of the term gives something else.
    """
    value = term.call(v)
    images = v.groups if v.options.pooled else v.logits.shape[0]
    if isinstance(value, Tensor) and value.shape in ((images, v.classes), (images, v.classes - 1)):
        return v.class_mean(value)
    if not isinstance(value, Tensor) or value.shape != (images,):
        got = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise UsageError(
            f"loss {term.name!r} must give one value per image, ({images},), or per image and class, "
            f"({images}, {v.classes - 1}); got {got}"
        )
    return value


def _average(images: Tensor, weights: Tensor | None, reduce: bool, options: LossOptions) -> Tensor:
    if weights is None:
        return images.mean() if reduce else images
    if options.pooled or not reduce:
        raise UsageError(
            "image_weights say how much each image counts in the average; there is none with pooled or reduce=False"
        )
    return weighted_mean(images, weights)


def build(
    text: str,
    pooled: bool = False,
    empty: Empty = "count",
    average_background: bool = False,
    multilabel: bool = False,
    ignore_index: int | None = None,
    class_weights: Sequence[float] | None = None,
    *,
    kernel: Kernel | None = None,
) -> Loss:
    """A loss from text, e.g. `"hytver"` or `"0.5*dice + 0.5*focal(gamma=2)"`.

    Args:
        text: a weighted sum of losses; a weight of two numbers is that of the first and of the last step of training,
            see `progress` of the call.
        pooled: the batch counts as one image. With DistributedDataParallel it is the batch of all processes, except for
            losses that rank voxels (`topk_...`, `lovasz_...`) and `hytver_released`, which take that of each process.
        empty: "count" penalises false positives in images without a lesion; "skip" leaves classes that are absent from
            the reference out of the overlap terms (an image without any lesion then has 0 there).
        average_background: overlap losses average over class 0 too.
        multilabel: each channel is a sigmoid and an independent binary task.
        ignore_index: voxels with this label are ignored.
        class_weights: how often each class counts, background first (two numbers for one channel; with `multilabel` one
            for each channel). Losses of overlap take the mean over classes, all others the mean over voxels, with
            these weights; only their ratios matter.
        kernel: the implementation of the sums (see `lesionloss.losses.kernels`); None takes the fast one. Inside
            `torch.compile` and `torch.func` it is the readable one.

    Returns:
        An `nn.Module` without parameters.

    Raises:
        UsageError: the text is no sum of known losses, or an option has no such value.
    """
    options = read_options(pooled, empty, average_background, multilabel, ignore_index, class_weights)
    return Loss(parse(text), options, kernel)


def _rebuild(made_by: type[Loss], text: str, options: LossOptions, kernel: Kernel | None) -> Loss:
    made = made_by.__new__(made_by)
    Loss.__init__(made, parse(text), options, kernel)
    return made

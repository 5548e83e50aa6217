"""Prediction and reference side by side: everything a loss may ask about the voxels of a batch.

Shapes: B images, C channels, *space as they come; inside, R rows (B, or B·C where each channel is an independent binary
task), K classes (background first), V voxels, I rows of a result (R, or fewer where the batch is pooled).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from lesionloss.core.errors import UsageError
from lesionloss.losses import reference_maps
from lesionloss.losses.across_ranks import in_several_processes, sum_over_ranks
from lesionloss.losses.batch import Batch, kept
from lesionloss.losses.input_checks import may_look, traced
from lesionloss.losses.kernels.selection import Listed, positions
from lesionloss.losses.kernels.terms import CrossEntropy, Term
from lesionloss.losses.kernels.types import Kernel
from lesionloss.losses.loss_options import LossOptions


class Counts(NamedTuple):
    """True and false, positive and negative: soft sums (I, K) for losses, whole numbers for metrics. Counts add."""

    tp: Tensor
    fp: Tensor
    fn: Tensor
    tn: Tensor

    def __add__(self, other: object) -> "Counts":
        """The sum of the counts, not a longer tuple."""
        if not isinstance(other, Counts):
            return NotImplemented
        return Counts(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn, self.tn + other.tn)


@dataclass(frozen=True, eq=False)
class Voxels(Batch):
    """What a loss function gets: one batch, made by `lesionloss.losses.alignment.align`.

    Attributes:
        logits: (R, C, V) in float32 or float64, C = 1 or C = K > 2. A single logit z stands for the classes (0, z).
        labels: (R, V) class numbers; if the labels are soft, (R, K, V) shares of the classes.
        valid: (R, V) bool, or None if all voxels are valid. Masked voxels hold harmless values and are in no sum.
        weight: (R, V), the weight of each voxel, 0 in masked ones; None if all have the same. `total`, `mean` and
            `counts` use it; a loss that adds voxels up by itself multiplies by it.
        kernel: the implementation of the sums.
        options: the options of the loss.
        groups: number of rows that belong to one image.
        space: the shape of an image, so that x (R, ..., V) is `x.reshape(*x.shape[:-1], *v.space)`.
        given_spacing_mm: as `spacing_mm`, or None if the call does not say.
        maps: the maps of the reference that came with the call, (R, K-1, V) each; see `reference_map`.
    """

    eps: ClassVar[float] = 1e-5  # smoothing of ratios, in numerator and denominator

    # No defaults: torch.compile of torch 2.7 fails on them.
    kernel: Kernel = field(repr=False)
    options: LossOptions
    groups: int
    space: tuple[int, ...]
    given_spacing_mm: Tensor | None = field(repr=False)
    maps: Mapping[str, Tensor] = field(repr=False)

    def refuse_parts(self, why: str) -> Tensor | float:
        """Refuse voxels that belong to several classes in parts, for losses where that makes no sense.

        Returns:
            To be added to the loss: 0; on a GPU, which is not waited for, NaN where there is such a voxel.

        Raises:
            UsageError: there is such a voxel, on a CPU; the message begins with `why`.
        """
        if not self.soft or traced(self.labels):
            return 0.0
        parts = ((self.labels > 0) & (self.labels < 1)).any()
        if not may_look(self.labels):
            return torch.where(parts, torch.nan, 0.0)
        if bool(parts):
            raise UsageError(f"{why}, so labels must be class numbers or one-hot; got shares such as 0.5")
        return 0.0

    @kept
    def class_voxels(self) -> Tensor:
        """N_c, (I, K): voxels of each class in the reference, or the sums of their weights."""
        return self.pool(self.kernel.class_voxels(self))

    @property
    def class_weights(self) -> tuple[float, ...] | None:
        """How often each of the K classes counts, or None. With `multilabel` it is channels that have weights."""
        return None if self.options.multilabel else self.options.class_weights

    @property
    def channel_weights(self) -> tuple[float, ...] | None:
        """How often each channel counts with `multilabel`, or None."""
        return self.options.class_weights if self.options.multilabel else None

    @kept
    def voxel_weights(self) -> Tensor:
        """(R, V): the weight of each voxel's class; for soft labels, of its classes by their shares."""
        weights = self.class_weights or (1.0,) * self.classes
        if self.soft:
            return times_columns(self.onehot.transpose(1, 2), weights).sum(-1)
        first = torch.full_like(self.logits[:, 0], weights[0])
        return reduce(lambda x, c: torch.where(self.labels == c, weights[c], x), range(1, self.classes), first)

    @kept
    def weighted_class_voxels(self) -> Tensor:
        """(I, K): voxels of each class times its weight, scaled so that their sum stays that of `class_voxels`."""
        if self.class_weights is None:
            return self.class_voxels
        return times_columns(self.class_voxels, self.class_weights) * self._scale[:, None]

    @kept
    def _scale(self) -> Tensor:
        """(I,): what makes 1 of the mean weight of an image's voxels."""
        total = times_columns(self.class_voxels, self.class_weights or (1.0,) * self.classes).sum(1)
        return self.class_voxels.sum(1) / torch.where(total > 0, total, 1.0)

    @property
    def lesions(self) -> tuple[Tensor, Tensor]:
        """Sorted positions (n,) of lesion voxels in the flat labels, and their logits, (n, C). A GPU is waited for.

        Raises:
            UsageError: a voxel is a lesion in part, or the labels are soft on a CPU.
        """
        numbers = self.labels
        if self.soft:  # a GPU gets zeros and ones in floating point as shares, a CPU as class numbers
            if numbers.device.type == "cpu" or bool(((numbers > 0) & (numbers < 1)).any()):
                raise UsageError("lesion voxels are listed for class numbers or one-hot labels; got shares of classes")
            numbers = numbers.argmax(1)
        where = positions(numbers)
        return where, self.logits_at(where)

    def logits_at(self, where: Tensor) -> Tensor:
        """The logits, (n, C), of the voxels at positions (n,) in the flat labels."""
        return Listed(where, *self.logits[:, 0].shape).take(self.logits).T

    @property
    def spacing_mm(self) -> Tensor:
        """Edge lengths of a voxel, (R, axes) or (1, axes), on the CPU; 1 mm unless the call says otherwise."""
        if self.given_spacing_mm is not None:
            return self.given_spacing_mm
        return torch.ones((1, len(self.space)), dtype=torch.float32, device="cpu")

    def reference_map(self, name: str) -> Tensor:
        """A map of the reference for each lesion class, (R, K-1, V); computed if it did not come with the call.

        Raises:
            UsageError: no map has that name.
        """
        if name in self.maps:
            return self.maps[name]
        return self.once(("map", name), lambda: self._computed_map(name))

    def _computed_map(self, name: str) -> Tensor:
        of_lesions = self.lesion_classes
        return reference_maps.compute(
            name, of_lesions.reshape(*of_lesions.shape[:2], *self.space), self.spacing_mm
        ).flatten(2)

    @kept
    def lesion_classes(self) -> Tensor:
        """(R, K-1, V) bool: the voxels of each lesion class, those with a share above one half if labels are soft."""
        if self.soft:
            return self.onehot[:, 1:] > 0.5
        labels = self.labels[:, None]
        found = (
            labels > 0 if self.classes == 2 else labels == torch.arange(1, self.classes, device=labels.device)[:, None]
        )
        return found if self.valid is None else found & self.valid[:, None]

    @kept
    def n(self) -> Tensor:
        """(I,): valid voxels, or the sum of their weights; at least 1 without weights, so that no loss is NaN."""
        if self.weight is None:
            return self.valid_voxels
        total = self.pool(self.weight.sum(-1))
        return torch.where(total > 0, total, 1.0)

    @kept
    def valid_voxels(self) -> Tensor:
        """(I,): the number of valid voxels, whatever their weights; at least 1."""
        if self.valid is None:
            rows = self.groups if self.options.pooled else self.logits.shape[0]
            each = self.logits.shape[-1] * (self.logits.shape[0] // rows)
            return self._over_ranks(self.logits.new_full((rows,), float(each)))
        return self.pool(self.valid.to(self.logits.dtype).sum(-1)).clamp_min(1.0)

    def reweighted(self, weight: Tensor) -> "Voxels":
        """The same voxels with these weights (R, V) times those that they have."""
        inside = 1.0 if self.valid is None else self.valid
        whole = weight * (inside if self.weight is None else self.weight)
        given = (self.kernel, self.options, self.groups, self.space, self.given_spacing_mm, self.maps)
        return Voxels(self.logits, self.labels, self.valid, whole, *given)

    # --- sums ------------------------------------------------------------------------------------------------------

    def total(self, x: Tensor) -> Tensor:
        """Weighted sum (R, ..., V) over voxels, and over images if the batch is pooled: (I, ...)."""
        return self.pool(self.voxel_sum(x))

    def pool(self, x: Tensor) -> Tensor:
        """Add the rows (R, ...) of a pooled batch: (I, ...)."""
        if not self.options.pooled:
            return x
        return self._over_ranks(x.reshape(-1, self.groups, *x.shape[1:]).sum(0))

    @property
    def _gathers(self) -> bool:
        # Without gradients, as when one process alone validates, nothing waits for the others.
        return self.options.pooled and self.options.over_ranks and self.logits.requires_grad and in_several_processes()

    def _over_ranks(self, x: Tensor) -> Tensor:
        return sum_over_ranks(x) if self._gathers else x

    def of_this_process(self) -> "Voxels":
        """The same voxels, pooled without those of other processes; for losses that rank voxels."""
        return replace(self, options=replace(self.options, over_ranks=False), _kept={}) if self._gathers else self

    def image_rows(self, x: Tensor) -> Tensor:
        """(R, V) as one row of voxels per image, (I, V·R/I); for losses that rank voxels."""
        if not self.options.pooled:
            return x
        return x.reshape(-1, self.groups, x.shape[-1]).transpose(0, 1).reshape(self.groups, -1)

    def per_voxel(self, x: Tensor) -> Tensor:
        """Something shaped like `cross_entropy`, summed over the classes a voxel has a share of; masked 0: (R, V)."""
        if self.soft:
            return (x * self.onehot).sum(1)
        return x[:, 0] if self.valid is None else torch.where(self.valid, x[:, 0], 0.0)

    def mean(self, x: Tensor) -> Tensor:
        """Weighted mean over the valid voxels of each image of something shaped like `cross_entropy`: (I,)."""
        if self.class_weights is None:
            return self.total(self.per_voxel(x)) / self.n
        return self.total(self.per_voxel(self.weigh(x))) * self._scale / self.n

    def weigh(self, x: Tensor) -> Tensor:
        """Something shaped like `cross_entropy`, times the weights of the classes."""
        if self.class_weights is None:
            return x
        if x.shape[1] > 1:
            return times_columns(x.transpose(1, 2), self.class_weights).transpose(1, 2)
        return x * self.voxel_weights[:, None]

    def term_sums(self, lesion: Term | None = None, background: Term | None = None) -> tuple[Tensor, Tensor]:
        """Sums of a term (None: ce) over lesion voxels and over background voxels: (I,), (I,).

        With class weights each voxel counts as often as its class; all are scaled so that they count once on average.
        """
        lesion = lesion or CrossEntropy()
        on_lesion, on_background = self.kernel.term_sums(self, lesion, background or CrossEntropy())
        if self.class_weights is None:
            return self.pool(on_lesion), self.pool(on_background)
        first, *others = self.class_weights
        if self.classes == 2:
            on_lesion = others[0] * on_lesion
        else:
            values = self.weigh(lesion.value(self.cross_entropy, self.wrong))
            shares = self.onehot if self.soft else self.labels[:, None] > 0
            on_lesion = self.voxel_sum((values * shares)[:, self.soft :]).sum(1)
        return self.pool(on_lesion) * self._scale, self.pool(first * on_background) * self._scale

    @kept
    def background_cross_entropy(self) -> Tensor:
        """Σ ce over background voxels, (I,), whatever the weights of classes."""
        return self.pool(self.kernel.term_sums(self, CrossEntropy(), CrossEntropy())[1])

    def counts(self, *, average_background: bool | None = None, sharpen: float = 1.0) -> Counts:
        """Soft counts per image and lesion class, (I, K-1), or of all classes, (I, K).

        Args:
            average_background: whether to count class 0 too; None: as the loss was built.
            sharpen: power of each voxel's share of false positives and false negatives (TP and TN stay): the DSC++
                family.
        """
        every = self.options.average_background if average_background is None else average_background
        return self.once((every, sharpen), lambda: Counts(*map(self.pool, self.kernel.counts(self, sharpen, every))))

    def squared_errors(self, *, average_background: bool | None = None) -> Tensor:
        """Σ (p - t)², shaped like a count. For hard labels: FP + FN, sharpened by 2."""
        if not self.soft:
            c = self.counts(average_background=average_background, sharpen=2.0)
            return c.fp + c.fn
        every = self.options.average_background if average_background is None else average_background
        squares = (self.p - self.onehot).square()
        if self.valid is not None:
            squares = squares * self.valid[:, None]
        return self.total(squares if every else squares[:, 1:])

    # --- averages --------------------------------------------------------------------------------------------------

    def class_mean(self, x: Tensor) -> Tensor:
        """Average (I, classes) over classes, by their weights: (I,). With empty="skip", over those in the reference."""
        weights = None if self.class_weights is None else self.class_weights[self.classes - x.shape[1] :]
        if not self.options.skip_empty:
            return column_mean(x, weights)
        counted = times_columns(self.present(x.shape[1]).to(x.dtype), weights or (1.0,) * x.shape[1])
        of_image = column_mean(counted.sum(1).reshape(-1, self.groups), self.channel_weights)
        shares = of_image[:, None].expand(-1, self.groups).reshape(-1)
        return (torch.where(counted > 0, x, 0.0) * counted).sum(1) / torch.where(shares > 0, shares, 1.0)

    def present(self, columns: int) -> Tensor:
        """(I, columns) bool: classes that the reference holds; the background always counts as held."""
        held = self.class_voxels > 0
        held[:, 0] = True
        return held[:, self.classes - columns :]


def times_columns(x: Tensor, weights: Sequence[float]) -> Tensor:
    """X (..., k) with one weight for each of the last axis; without a copy of the weights that a GPU would wait for."""
    return torch.stack([w * column for w, column in zip(weights, x.unbind(-1), strict=True)], dim=-1)


def column_mean(x: Tensor, weights: Sequence[float] | None) -> Tensor:
    """The mean over the last axis of x (..., k), with weights or, for None, without."""
    return x.mean(-1) if weights is None else times_columns(x, weights).sum(-1) / sum(weights)

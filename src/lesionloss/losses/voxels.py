"""Prediction and reference side by side: everything a loss may ask about the voxels of a batch.

Shapes, in one alphabet: B images, C channels, *space as they come; inside, R rows (B, or B·C when each channel is a
question of its own), K classes (background first), V voxels, I rows of a result (R, or fewer when the batch is pooled).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from lesionloss.core.errors import UsageError
from lesionloss.losses.kernels.plan import Plan, Results
from lesionloss.losses.kernels.terms import CrossEntropy, Term
from lesionloss.losses.kernels.types import Kernel


class Counts(NamedTuple):
    """True and false, positive and negative: soft sums (I, K) for losses, whole numbers for metrics. Counts add."""

    tp: Tensor
    fp: Tensor
    fn: Tensor
    tn: Tensor

    def __add__(self, other: object) -> "Counts":  # a sum of counts, not a longer tuple
        if not isinstance(other, Counts):
            return NotImplemented
        return Counts(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn, self.tn + other.tn)


@dataclass(frozen=True)
class LossOptions:
    """How a batch is read. Decided when a loss is built, the same for each of its terms."""

    pooled: bool = False  # the batch counts as one image
    average_background: bool = False  # overlap losses average over class 0 too
    skip_empty: bool = False  # a class that is absent from the reference leaves the overlap terms
    multilabel: bool = False  # each channel is a question of its own
    ignore_index: int | None = None  # voxels with this label count for nothing


if TYPE_CHECKING:
    kept = property
else:

    def kept(compute: Callable[["Voxels"], Tensor]) -> property:
        """A property that is computed once. functools.cached_property takes a lock; torch.compile can't follow it."""
        name = compute.__name__

        def read(self: "Voxels") -> Tensor:
            if name not in self._kept:
                self._kept[name] = compute(self)
            return self._kept[name]

        return property(read, doc=compute.__doc__)


@dataclass(frozen=True, eq=False)
class Voxels:
    """One batch, aligned, checked and in float32 or better; made by `lesionloss.losses.alignment.align`.

    A single logit z stands for the two classes (0, z). Masked voxels hold harmless values and are in no sum.
    """

    eps: ClassVar[float] = 1e-5  # smoothing of ratios, in numerator and denominator

    logits: Tensor  # (R, C, V), C = 1 or C = K > 2
    labels: Tensor  # (R, V) class numbers; (R, K, V) shares of the classes if the labels are soft
    valid: Tensor | None  # (R, V) bool; None: all
    kernel: Kernel = field(repr=False)
    options: LossOptions = LossOptions()
    groups: int = 1  # rows that belong to one image
    plan: Plan | None = None  # what the loss is going to ask the kernel for, if that is known
    _kept: dict[object, Any] = field(default_factory=dict, repr=False)

    # --- what is there -------------------------------------------------------------------------------------------

    @property
    def classes(self) -> int:
        """K, the background included."""
        return max(2, self.logits.shape[1])

    @property
    def soft(self) -> bool:
        return self.labels.dim() == 3

    def refuse_parts(self, why: str) -> None:
        """Raises UsageError if a voxel belongs to several classes in parts, for losses where that makes no sense."""
        if self.soft and not torch.compiler.is_compiling():
            parts = (self.labels > 0) & (self.labels < 1)
            if bool(parts.any()):
                raise UsageError(f"{why}, so labels must be class numbers or one-hot; got shares such as 0.5")

    @kept
    def onehot(self) -> Tensor:
        """t, (R, K, V): the share of each class; zero in masked voxels."""
        if self.soft:
            shares = self.labels
        else:
            numbers = torch.arange(self.classes, device=self.labels.device)[:, None]
            shares = (self.labels[:, None] == numbers).to(self.logits.dtype)
        return shares if self.valid is None else shares * self.valid[:, None]

    @property
    def results(self) -> Results:
        """What the kernel has computed; its own notebook."""
        found: Results | None = self._kept.get("results")
        if found is None:
            found = self._kept["results"] = Results()
        return found

    @kept
    def class_voxels(self) -> Tensor:
        """N_c, (I, K): voxels of each class in the reference."""
        return self.kernel.class_voxels(self)

    @property
    def lesions(self) -> tuple[Tensor, Tensor]:
        """Sorted positions (n,) of lesion voxels in the flat labels, and their logits, (n, C).

        Raises UsageError for soft labels, where a voxel may be a lesion in part. On a GPU it waits for the list.
        """
        if self.soft:
            raise UsageError("lesion voxels are listed for class numbers or one-hot labels; got shares of classes")
        return self.kernel.lesions(self)

    @kept
    def n(self) -> Tensor:
        """(I,): valid voxels, at least 1 so that an image without any costs 0 and not NaN."""
        if self.valid is None:
            rows = self.groups if self.options.pooled else self.logits.shape[0]
            each = self.logits.shape[-1] * (self.logits.shape[0] // rows)
            return self.logits.new_full((rows,), float(each))
        return self.total(self.valid.to(self.logits.dtype)).clamp_min(1.0)

    # --- probabilities and cross-entropy ---------------------------------------------------------------------------

    @kept
    def log_p(self) -> Tensor:
        """(R, K, V): log-probabilities, from the logits."""
        if self.logits.shape[1] > 1:
            return torch.log_softmax(self.logits, dim=1)
        return logsigmoid(torch.cat([-self.logits, self.logits], dim=1))

    @kept
    def p(self) -> Tensor:
        """(R, K, V): probabilities. In masked voxels they mean nothing: use `total`, `mean` or `counts`."""
        if self.logits.shape[1] > 1:
            return torch.softmax(self.logits, dim=1)
        return torch.sigmoid(torch.cat([-self.logits, self.logits], dim=1))

    @kept
    def cross_entropy(self) -> Tensor:
        """ce = -log p of the true class, (R, 1, V); for soft labels of each class, (R, K, V). See `mean`."""
        if self.soft:
            return -self.log_p
        if self.logits.shape[1] > 1:
            return -self.log_p.gather(1, self.labels[:, None].long())
        sign = 2.0 * self.labels[:, None].to(self.logits.dtype) - 1.0
        return -logsigmoid(self.logits * sign)

    @kept
    def wrong(self) -> Tensor:
        """q = 1 - p of the true class, shaped like `cross_entropy`; full precision where the prediction is sure."""
        return -torch.expm1(-self.cross_entropy)

    def weights(self, *, lesion: float, background: float) -> Tensor:
        """The weight of each voxel's class, shaped to multiply `cross_entropy`."""
        if self.soft:
            table = self.logits.new_full((self.classes, 1), lesion)
            table[0] = background
            return table
        return torch.where(self.labels > 0, lesion, background)[:, None].to(self.logits.dtype)

    # --- sums ------------------------------------------------------------------------------------------------------

    def total(self, x: Tensor) -> Tensor:
        """Sum (R, ..., V) over voxels, and over images if the batch is pooled: (I, ...)."""
        return self.pool(x.sum(-1))

    def pool(self, x: Tensor) -> Tensor:
        """Add the rows (R, ...) of a pooled batch: (I, ...)."""
        if not self.options.pooled:
            return x
        return x.reshape(-1, self.groups, *x.shape[1:]).sum(0)

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
        """Mean over the valid voxels of each image of something shaped like `cross_entropy`: (I,)."""
        return self.total(self.per_voxel(x)) / self.n

    def term_sums(self, lesion: Term | None = None, background: Term | None = None) -> tuple[Tensor, Tensor]:
        """Sums of a term (None: ce) over lesion voxels and over background voxels: (I,), (I,)."""
        return self.kernel.term_sums(self, lesion or CrossEntropy(), background or CrossEntropy())

    def counts(self, *, average_background: bool | None = None, sharpen: float = 1.0) -> Counts:
        """Soft counts per image and lesion class, (I, K-1), or (I, K) with the background.

        `sharpen` raises each voxel's false alarm and miss to that power (TP and TN stay): the DSC++ family.
        `average_background=None`: as the loss was built.
        """
        with_background = self.options.average_background if average_background is None else average_background
        key = (with_background, sharpen)
        if key not in self._kept:
            self._kept[key] = Counts(*self.kernel.counts(self, sharpen, with_background))
        found: Counts = self._kept[key]
        return found

    def squared_errors(self, *, average_background: bool | None = None) -> Tensor:
        """Σ (p - t)², shaped like a count. For hard labels it is the false alarms and misses, sharpened by 2."""
        if not self.soft:
            c = self.counts(average_background=average_background, sharpen=2.0)
            return c.fp + c.fn
        with_background = self.options.average_background if average_background is None else average_background
        squares = (self.p - self.onehot).square()
        if self.valid is not None:
            squares = squares * self.valid[:, None]
        return self.total(squares if with_background else squares[:, 1:])

    # --- averages --------------------------------------------------------------------------------------------------

    def class_mean(self, x: Tensor) -> Tensor:
        """Average (I, classes) over classes: (I,). With empty="skip", over those that the reference holds."""
        if not self.options.skip_empty:
            return x.mean(1)
        kept = self.present(x.shape[1])
        of_image = kept.reshape(-1, self.groups * x.shape[1]).sum(1, keepdim=True) / self.groups
        shares = of_image.expand(-1, self.groups).reshape(-1)
        return torch.where(kept, x, 0.0).sum(1) / shares.clamp_min(1.0 / self.groups)

    def present(self, columns: int) -> Tensor:
        """(I, columns) bool: classes that the reference holds; the background always counts as held."""
        held = self.class_voxels > 0
        held[:, 0] = True
        return held[:, self.classes - columns :]

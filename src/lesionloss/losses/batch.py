"""One batch as a kernel sees it: logits, labels and mask, and the quantities of single voxels that follow from them.

Shapes, in one alphabet: R rows (images, or channels of images that are independent binary tasks), C channels, K classes
(background first), V voxels.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

T = TypeVar("T")

if TYPE_CHECKING:
    kept = property
else:

    def kept(compute: Callable[["Batch"], Tensor]) -> property:
        """A property that is computed once. torch.compile can't follow functools.cached_property on all versions."""
        name = compute.__name__
        return property(lambda self: self.once(name, lambda: compute(self)), doc=compute.__doc__)


@dataclass(frozen=True, eq=False)
class Batch:
    """One batch, checked, in float32 or float64.

    A single logit z stands for the two classes (0, z). Masked voxels hold harmless values and are in no sum.
    """

    logits: Tensor  # (R, C, V), C = 1 or C = K > 2
    labels: Tensor  # (R, V) class numbers; (R, K, V) shares of the classes if the labels are soft
    valid: Tensor | None  # (R, V) bool; None: all
    weight: Tensor | None  # (R, V) >= 0, the weight of each voxel in sums, 0 in masked ones; None: all alike
    _kept: dict[object, Any] = field(default_factory=dict, repr=False, kw_only=True)

    def once(self, key: object, compute: Callable[[], T]) -> T:
        """The result of `compute`, which is called only at the first request for this key."""
        if key not in self._kept:
            self._kept[key] = compute()
        result: T = self._kept[key]
        return result

    @property
    def classes(self) -> int:
        """K, the background included."""
        return max(2, self.logits.shape[1])

    @property
    def soft(self) -> bool:
        """Whether labels are shares of the classes."""
        return self.labels.dim() == 3

    def voxel_sum(self, x: Tensor) -> Tensor:
        """Weighted sum (R, ..., V) over voxels: (R, ...)."""
        if self.weight is None:
            return x.sum(-1)
        return (x * self.weight.view(self.weight.shape[0], *[1] * (x.dim() - 2), -1)).sum(-1)

    @kept
    def onehot(self) -> Tensor:
        """t, (R, K, V): the share of each class, without weights; zero in masked voxels."""
        if self.soft:
            shares = self.labels
        else:
            numbers = torch.arange(self.classes, device=self.labels.device)[:, None]
            shares = (self.labels[:, None] == numbers).to(self.logits.dtype)
        return shares if self.valid is None else shares * self.valid[:, None]

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
        """-log p of the true class, (R, 1, V); for soft labels of each class, (R, K, V). See `mean`."""
        if self.soft:
            return -self.log_p
        if self.logits.shape[1] > 1:
            numbers = self.labels[:, None].long()
            if numbers.device.type != "cpu":  # a number out of range, which makes the loss NaN, would end the program
                numbers = numbers.clamp(0, self.classes - 1)
            return -self.log_p.gather(1, numbers)
        sign = 2.0 * self.labels[:, None].to(self.logits.dtype) - 1.0
        return -logsigmoid(self.logits * sign)

    @kept
    def wrong(self) -> Tensor:
        """1 - p of the true class, shaped like `cross_entropy`; exact where the prediction is confident."""
        return -torch.expm1(-self.cross_entropy)

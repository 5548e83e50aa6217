"""What a kernel must offer: the few sums that touch every voxel."""

from typing import Protocol

from torch import Tensor

from lesionloss.losses.batch import Batch
from lesionloss.losses.kernels.terms import Term


class Kernel(Protocol):
    """All results have one row per row of the batch. They are differentiable, as often as wanted."""

    @property
    def name(self) -> str:
        """The name by which users choose it."""

    def class_voxels(self, batch: Batch) -> Tensor:
        """Voxels of each class in the reference, (R, K)."""

    def counts(self, batch: Batch, sharpen: float, average_background: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """TP, FP, FN, TN of the lesion classes, (R, K-1), or with `average_background` of all, (R, K).

        The false positive and false negative share of each voxel are raised to the power `sharpen` before they are
        summed.
        """

    def term_sums(self, batch: Batch, lesion: Term, background: Term) -> tuple[Tensor, Tensor]:
        """Σ `lesion` over lesion voxels and Σ `background` over background voxels, each (R,)."""

"""What a kernel must offer: the few sums that touch every voxel."""

from typing import TYPE_CHECKING, Protocol

from torch import Tensor

from lesionloss.losses.kernels.terms import Term

if TYPE_CHECKING:
    from lesionloss.losses.voxels import Voxels


class Kernel(Protocol):
    """All results have one row per image: (I, ...)."""

    @property
    def name(self) -> str: ...

    def looks(self, v: "Voxels") -> bool:
        """Whether it refuses NaN logits and labels out of range itself, while it does what v.plan says."""

    def class_voxels(self, v: "Voxels") -> Tensor:
        """(I, K): voxels of each class in the reference."""

    def counts(self, v: "Voxels", sharpen: float, background: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """TP, FP, FN, TN, each (I, K) or (I, K-1)."""

    def term_sums(self, v: "Voxels", lesion: Term, background: Term) -> tuple[Tensor, Tensor]:
        """Σ term over lesion voxels and Σ term over background voxels, each (I,)."""

    def lesions(self, v: "Voxels") -> tuple[Tensor, Tensor]:
        """Sorted positions (n,) in the flat labels of those that are not 0, and the logits there, (n, C)."""

"""The sums as the equations have them: every class, every voxel, gradients by autograd. `fast` must equal this."""

from dataclasses import dataclass

import torch
from torch import Tensor

from lesionloss.losses.batch import Batch
from lesionloss.losses.kernels.terms import SMALLEST_WRONG, Term


@dataclass(frozen=True)
class Readable:
    """Also what `torch.compile` sees by default: it fuses these lines itself."""

    name: str = "readable"

    def class_voxels(self, batch: Batch) -> Tensor:
        """See `Kernel`."""
        return batch.voxel_sum(batch.onehot)

    def counts(self, batch: Batch, sharpen: float, average_background: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """See `Kernel`."""
        if average_background or batch.soft or batch.classes > 2:
            first = 0 if average_background else 1
            p, t = batch.p[:, first:], batch.onehot[:, first:]
            inside = 1.0 if batch.valid is None else batch.valid[:, None].to(t.dtype)
            others = inside * (1 - t)
        else:  # one logit, one lesion class: half the work
            p, t = torch.sigmoid(batch.logits), (batch.labels > 0)[:, None].to(batch.logits.dtype)
            t = t if batch.valid is None else t * batch.valid[:, None]
            others = 1 - t if batch.valid is None else batch.valid[:, None].to(t.dtype) - t
        fp, fn = p * others, (1 - p) * t
        if sharpen != 1:
            # The power acts on p and on t apart: t is constant, so no 0^x meets a gradient.
            wrong, missed = p, 1 - p
            if sharpen < 1:  # the slope of the power is infinite at 0, where the slope of p by the logit is 0
                wrong, missed = wrong.clamp_min(SMALLEST_WRONG), missed.clamp_min(SMALLEST_WRONG)
            fp, fn = wrong.pow(sharpen) * others.pow(sharpen), missed.pow(sharpen) * t.pow(sharpen)
        tp, fp, fn, tn = map(batch.voxel_sum, (p * t, fp, fn, (1 - p) * others))
        return tp, fp, fn, tn

    def term_sums(self, batch: Batch, lesion: Term, background: Term) -> tuple[Tensor, Tensor]:
        """See `Kernel`."""
        ce, q = batch.cross_entropy, batch.wrong
        if batch.soft:
            on_background = background.value(ce[:, 0], q[:, 0]) * batch.onehot[:, 0]
            on_lesion = (lesion.value(ce[:, 1:], q[:, 1:]) * batch.onehot[:, 1:]).sum(1)
            return batch.voxel_sum(on_lesion), batch.voxel_sum(on_background)
        ce, q, is_lesion = ce[:, 0], q[:, 0], batch.labels > 0
        is_background = ~is_lesion if batch.valid is None else ~is_lesion & batch.valid
        on_lesion = torch.where(is_lesion, lesion.value(ce, q), 0.0)
        on_background = torch.where(is_background, background.value(ce, q), 0.0)
        return batch.voxel_sum(on_lesion), batch.voxel_sum(on_background)


READABLE = Readable()

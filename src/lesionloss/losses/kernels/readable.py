"""The sums as the equations have them: every class, every voxel, gradients by autograd. The others must equal this."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lesionloss.losses.kernels.lesions import find_lesions, places
from lesionloss.losses.kernels.terms import Term

if TYPE_CHECKING:
    from lesionloss.losses.voxels import Voxels


class Readable:
    """Also what `torch.compile` sees: it fuses these lines itself."""

    name = "readable"

    def looks(self, v: "Voxels") -> bool:
        return False

    def class_voxels(self, v: "Voxels") -> Tensor:
        return v.total(v.onehot)

    def counts(self, v: "Voxels", sharpen: float, background: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        if background or v.soft or v.classes > 2:
            first = 0 if background else 1
            p, t = v.p[:, first:], v.onehot[:, first:]
            inside = 1.0 if v.valid is None else v.valid[:, None].to(t.dtype)
            others = inside * (1 - t)
        else:  # one logit, one lesion class: half the work
            p, t = torch.sigmoid(v.logits), (v.labels > 0)[:, None].to(v.logits.dtype)
            t = t if v.valid is None else t * v.valid[:, None]
            others = 1 - t if v.valid is None else v.valid[:, None].to(t.dtype) - t
        false_alarm, miss = p * others, (1 - p) * t
        if sharpen != 1:
            # The power acts on p and on t apart: t is constant, so no 0^x meets a gradient.
            false_alarm, miss = p.pow(sharpen) * others.pow(sharpen), (1 - p).pow(sharpen) * t.pow(sharpen)
        return v.total(p * t), v.total(false_alarm), v.total(miss), v.total((1 - p) * others)

    def term_sums(self, v: "Voxels", lesion: Term, background: Term) -> tuple[Tensor, Tensor]:
        ce, q = v.cross_entropy, v.wrong
        if v.soft:
            on_background = background.value(ce[:, 0], q[:, 0]) * v.onehot[:, 0]
            on_lesion = (lesion.value(ce[:, 1:], q[:, 1:]) * v.onehot[:, 1:]).sum(1)
            return v.total(on_lesion), v.total(on_background)
        ce, q, is_lesion = ce[:, 0], q[:, 0], v.labels > 0
        is_background = ~is_lesion if v.valid is None else ~is_lesion & v.valid
        on_lesion = torch.where(is_lesion, lesion.value(ce, q), 0.0)
        return v.total(on_lesion), v.total(torch.where(is_background, background.value(ce, q), 0.0))

    def lesions(self, v: "Voxels") -> tuple[Tensor, Tensor]:
        on_cpu = v.labels.device.type == "cpu"
        where = find_lesions(v.labels).where if on_cpu else v.labels.reshape(-1).nonzero()[:, 0]
        at = places(where, *v.logits.shape[1:])
        return where, v.logits.reshape(-1).index_select(0, at.view(-1)).view(at.shape).T


READABLE = Readable()

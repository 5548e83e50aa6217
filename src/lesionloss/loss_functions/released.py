"""What released code computes where it differs from its paper, slip for slip, to reproduce published numbers."""

from torch import Tensor

from lesionloss.errors import UsageError
from lesionloss.registry import loss
from lesionloss.voxels import Voxels

CLIP = 1e-3


@loss("hytver_released", source="HyTver 2025, released code as its training script calls it")
def hytver_released(v: Voxels) -> Tensor:
    """HyTver as released: in effect a volume penalty and the Tversky loss with its prices exchanged."""
    if v.classes != 2:
        raise UsageError(f"hytver_released knows one lesion class; got {v.classes - 1}")
    p, t = v.p[:, 1], v.onehot[:, 1]
    clipped, target = p.clamp(CLIP, 1 - CLIP), t.clamp(CLIP, 1 - CLIP)
    term = -0.7 * clipped * target.log() + 0.3 * (1 - clipped) * (1 - target).log()
    inside = t.new_ones(()) if v.valid is None else v.valid
    # The whole batch is one image here, whatever the options say; so every image gets the same value.
    n = inside.sum() if v.valid is not None else float(t.numel())
    tp, fp, fn = (p * t).sum(), (p * (1 - t) * inside).sum(), ((1 - p) * t).sum()
    value = (term * inside).sum() / n / 2 - (tp + 1) / (tp + 0.7 * fp + 0.3 * fn + 1) / 2
    return value.expand(v.n.shape[0])

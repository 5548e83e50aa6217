"""A loss as nnU-Net calls it: labels or regions, an ignore label, the whole batch of all ranks where it is pooled."""

import torch
from torch import Tensor, nn

from lesionloss.losses.criterion import build


class LabelledLoss(nn.Module):
    """`value = loss(logits, target)` for one resolution; nnU-Net's wrapper adds the resolutions up."""

    def __init__(
        self, text: str, *, regions: bool, ignore_label: int | None, batch_dice: bool, rows: int | None = None
    ) -> None:
        """Build the loss.

        Args:
            text: What `lesionloss.build` reads.
            regions: Each channel is an independent binary task.
            ignore_label: The label of voxels that are ignored; with regions, the last channel of the target marks them.
            batch_dice: As in nnU-Net's plans: the batch counts as one image.
            rows: Images of the largest rank, where the batches of several ranks count as one image; else None.
        """
        super().__init__()
        self.regions = regions
        self.ignores = ignore_label is not None
        self.rows = rows if batch_dice else None
        self.loss = build(text, pooled=batch_dice, multilabel=regions, ignore_index=None if regions else ignore_label)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """The value of the loss.

        Args:
            logits: (B, C, *space).
            target: (B, 1, *space) class numbers; with regions (B, C, *space), and a last channel of ignored voxels
                where the data set has an ignore label.
        """
        valid = None
        if self.regions and self.ignores:
            target, valid = target[:, :-1], target[:, -1:] == 0
        if self.rows is not None:
            logits, target, valid = of_all_ranks(logits, target, valid, self.rows)
        return self.loss(logits, target, valid)


def of_all_ranks(logits: Tensor, target: Tensor, valid: Tensor | None, rows: int) -> tuple[Tensor, Tensor, Tensor]:
    """The batch of all ranks on each of them.

    Voxels are gathered, not counts, so that it is exact for losses that rank voxels too. Ranks with fewer images than
    `rows` add ignored ones. The gradient of a rank's logits is the sum over ranks, which DDP divides by their number.
    """
    from nnunetv2.utilities.ddp_allgather import AllGatherGrad

    if valid is None:
        valid = torch.ones_like(target[:, :1], dtype=torch.bool)

    def gathered(part: Tensor) -> Tensor:
        part = torch.cat([part, part.new_zeros((rows - len(part), *part.shape[1:]))]).contiguous()
        found: Tensor = AllGatherGrad.apply(part)
        return found.flatten(0, 1)

    # NCCL can't send the int16 of nnU-Net's labels.
    numbers = target.to(torch.uint8 if target.dtype == torch.bool else torch.int32)
    return gathered(logits), gathered(numbers), gathered(valid.to(torch.uint8)) > 0

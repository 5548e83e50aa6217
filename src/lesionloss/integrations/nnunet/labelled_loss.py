"""A loss as nnU-Net calls it: with labels or regions, an ignore label, and the voxel size of its configuration."""

from collections.abc import Sequence

from torch import Tensor, nn

from lesionloss.losses.criterion import build


class LabelledLoss(nn.Module):
    """`value = loss(logits, target)` for one resolution; nnU-Net's wrapper adds the resolutions up.

    Attributes:
        progress: How far training is, from 0 to 1, for weights that change meanwhile.
    """

    def __init__(
        self,
        text: str,
        *,
        regions: bool,
        ignore_label: int | None,
        batch_dice: bool,
        patch: Sequence[int],
        spacing_mm: Sequence[float],
    ) -> None:
        """Build the loss.

        Args:
            text: What `lesionloss.build` reads.
            regions: Each channel is an independent binary task.
            ignore_label: The label of voxels that are ignored; with regions, the last channel of the target marks them.
            batch_dice: As in nnU-Net's plans: the batch of all ranks counts as one image.
            patch: Voxels of the patch along each axis.
            spacing_mm: Edge lengths of a voxel of the patch; those of coarser outputs are longer.
        """
        super().__init__()
        self.regions = regions
        self.ignores = ignore_label is not None
        self.sides_mm = [voxels * edge for voxels, edge in zip(patch, spacing_mm, strict=True)]
        self.progress = 1.0
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
        edges_mm = [side / voxels for side, voxels in zip(self.sides_mm, logits.shape[2:], strict=True)]
        return self.loss(logits, target, valid, spacing_mm=edges_mm, progress=self.progress)

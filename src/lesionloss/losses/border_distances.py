"""Exact distances to the border of a mask by tensors alone: for a device that should not be waited for."""

import torch
from torch import Tensor

PIECE = 1 << 25  # numbers that are compared at a time


def border_distance(mask: Tensor, spacing_mm: Tensor, dtype: torch.dtype) -> Tensor:
    """Distance of each voxel to the nearest one on the other side of the border.

    Args:
        mask: (R, L, *space) bool.
        spacing_mm: (R, axes) or (1, axes), edge lengths of a voxel, on the CPU.
        dtype: of the result.

    Returns:
        (R, L, *space) in mm; 0 in masks without a border.
    """
    to_inside, to_outside = (_squared(side, spacing_mm, dtype) for side in (mask, ~mask))
    found = torch.where(mask, to_outside, to_inside)
    return torch.where(found.isfinite(), found, 0.0).sqrt()


def _squared(targets: Tensor, spacing_mm: Tensor, dtype: torch.dtype) -> Tensor:
    """Squared distance to the nearest target, one axis after the other (Felzenszwalb & Huttenlocher 2012)."""
    found = torch.where(targets, 0.0, torch.inf).to(dtype)
    for axis in range(spacing_mm.shape[1]):
        along = found.movedim(2 + axis, -1)
        found = _along(along.flatten(1, -2), spacing_mm[:, axis]).view(along.shape).movedim(-1, 2 + axis)
    return found


def _along(rows: Tensor, edges: Tensor) -> Tensor:
    """The least of rows_j + (edge (i - j))² over j for each i; rows (R, M, n), an edge for each image or for all."""
    images, _, length = rows.shape
    place = torch.arange(length, device=rows.device, dtype=rows.dtype)
    apart = place[:, None] - place
    # Numbers on the CPU are handed to a GPU with the operation, which a copy to it would have to wait for.
    cost = torch.stack([(apart * edge).square() for edge in edges.unbind()])
    pieces = torch.split(rows, max(1, PIECE // (images * length**2)), dim=1)
    return torch.cat([(piece[:, :, None] + cost[:, None]).amin(-1) for piece in pieces], dim=1)

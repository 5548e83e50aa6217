"""Slices (2-D) and a U-Net of segmentation_models.pytorch: python examples/smp_slices.py OUT."""

import sys
from pathlib import Path

import numpy as np
import segmentation_models_pytorch as smp
import torch
from torch import Tensor

import lesionloss as ll
from tiny_data import Volumes, collect_and_report, trials, volumes, write_prediction, write_references


def slices(cases: Volumes, names: list[str]) -> tuple[Tensor, Tensor]:
    """All slices of some cases: images (B, 1, H, W), as tall as the network needs, and labels (B, H, W)."""
    images = np.concatenate([np.moveaxis(cases[name][0], -1, 0) for name in names])[:, None]
    return torch.from_numpy(images), torch.from_numpy(
        np.concatenate([np.moveaxis(cases[name][1], -1, 0) for name in names])
    )


def train(loss: str, images: Tensor, labels: Tensor, seed: int) -> torch.nn.Module:
    """Train one network."""
    torch.manual_seed(seed)
    sizes = {"encoder_depth": 3, "decoder_channels": (16, 8, 4), "encoder_weights": None}
    network = smp.Unet("resnet18", in_channels=1, classes=1, **sizes)
    criterion = ll.build(loss)  # logits (B, 1, H, W) and labels (B, H, W)
    optimiser = torch.optim.Adam(network.parameters(), lr=0.01)
    order = torch.Generator().manual_seed(seed)
    for _ in range(30):
        chosen = torch.randperm(len(images), generator=order)[:16]
        optimiser.zero_grad()
        criterion(network(images[chosen]), labels[chosen]).backward()
        optimiser.step()
    return network.eval()


def main(out: Path) -> None:
    """Train with each loss on each fold and seed, and write the volumes that the predicted slices make."""
    cases = volumes()
    write_references(out, cases)
    for trial in trials(cases):
        network = train(trial.loss, *slices(cases, trial.training), trial.seed)
        for name in trial.testing:
            with torch.no_grad():
                lesion = network(slices(cases, [name])[0])[:, 0] > 0
            write_prediction(out, trial, name, np.moveaxis(lesion.numpy(), 0, -1))
    collect_and_report(out)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

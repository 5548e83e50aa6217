"""A training loop in plain PyTorch: python examples/plain_pytorch.py OUT.

Losses of one fold and seed start from the same weights and see the same batches: they differ in nothing but the loss.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

import lesionloss as ll
from tiny_data import Volumes, collect_and_report, small_network, trials, volumes, write_prediction, write_references


def tensors(cases: Volumes, names: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
    """Images (B, 1, X, Y, Z) and labels (B, X, Y, Z)."""
    images = torch.from_numpy(np.stack([cases[name][0] for name in names]))[:, None]
    return images, torch.from_numpy(np.stack([cases[name][1] for name in names]))


def train(loss: str, images: torch.Tensor, labels: torch.Tensor, seed: int) -> nn.Module:
    """Train one network."""
    torch.manual_seed(seed)
    network = small_network()
    criterion = ll.build(loss)
    optimiser = torch.optim.Adam(network.parameters(), lr=0.1)
    order = torch.Generator().manual_seed(seed)
    for _ in range(60):
        chosen = torch.randperm(len(images), generator=order)[:2]
        optimiser.zero_grad()
        criterion(network(images[chosen]), labels[chosen]).backward()
        optimiser.step()
    return network


def main(out: Path) -> None:
    """Train with each loss on each fold and seed, and write all predictions."""
    cases = volumes()
    write_references(out, cases)
    for trial in trials(cases):
        network = train(trial.loss, *tensors(cases, trial.training), trial.seed)
        with torch.no_grad():
            lesion = network(tensors(cases, trial.testing)[0])[:, 0] > 0
        for name, mask in zip(trial.testing, lesion.numpy(), strict=True):
            write_prediction(out, trial, name, mask)
    collect_and_report(out)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""TorchIO subjects, with its augmentation, in a loop of one's own: python examples/torchio_subjects.py OUT."""

import sys
from pathlib import Path

import torch
import torchio as tio
from torch import nn

import lesionloss as ll
from tiny_data import Volumes, collect_and_report, small_network, trials, volumes, write_prediction, write_references


def subjects(cases: Volumes, names: list[str]) -> list[tio.Subject]:
    """Subjects with an image and a label map."""
    made = []
    for name in names:
        image, mask = (torch.from_numpy(array)[None] for array in cases[name])
        made.append(tio.Subject(name=name, image=tio.ScalarImage(tensor=image), label=tio.LabelMap(tensor=mask)))
    return made


def train(loss: str, training: tio.SubjectsDataset, seed: int) -> nn.Module:
    """Train one network; with the same seed, each loss sees the same subjects with the same augmentation."""
    torch.manual_seed(seed)
    network = small_network()
    criterion = ll.build(loss)
    optimiser = torch.optim.Adam(network.parameters(), lr=0.1)
    for _ in range(15):
        for batch in tio.SubjectsLoader(training, batch_size=2, shuffle=True):
            logits = network(batch["image"][tio.DATA])  # (B, 1, X, Y, Z)
            optimiser.zero_grad()
            criterion(logits, batch["label"][tio.DATA]).backward()  # (B, 1, X, Y, Z), as TorchIO has label maps
            optimiser.step()
    return network


def main(out: Path) -> None:
    """Train with each loss on each fold and seed, and write all predictions."""
    cases = volumes()
    write_references(out, cases)
    augmentation = tio.Compose([tio.RandomFlip(axes=(0, 1, 2)), tio.RandomNoise(std=(0, 0.1))])
    for trial in trials(cases):
        training = tio.SubjectsDataset(subjects(cases, trial.training), transform=augmentation)
        network = train(trial.loss, training, trial.seed)
        for subject in subjects(cases, trial.testing):
            with torch.no_grad():
                lesion = network(subject.get_first_image().data[None])[0, 0] > 0
            write_prediction(out, trial, subject["name"], lesion.numpy())
    collect_and_report(out)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

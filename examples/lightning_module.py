"""A LightningModule with a loss and a metric of lesionloss: python examples/lightning_module.py OUT."""

import sys
from pathlib import Path

import lightning
import torch
from torch import Tensor
from torch.utils.data import DataLoader

import lesionloss as ll
from lesionloss.integrations.torchmetrics import LesionF1Metric
from tiny_data import Volumes, collect_and_report, small_network, trials, volumes, write_prediction, write_references


class Segmentation(lightning.LightningModule):
    """A small network; its metric is gathered over all processes."""

    def __init__(self, loss: str) -> None:
        """Make network, loss and metric."""
        super().__init__()
        self.network, self.loss, self.lesion_f1 = small_network(), ll.build(loss), LesionF1Metric(spacing_mm=(1, 1, 1))

    def training_step(self, batch: list[Tensor]) -> Tensor:
        """One step."""
        return self.loss(self.network(batch[0]), batch[1])

    def validation_step(self, batch: list[Tensor]) -> None:
        """Score whole cases."""
        self.lesion_f1.update((self.network(batch[0]) > 0).float(), batch[1][:, None])
        self.log("lesion_f1", self.lesion_f1, on_epoch=True, batch_size=len(batch[0]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam."""
        return torch.optim.Adam(self.parameters(), lr=0.1)


def items(cases: Volumes, names: list[str]) -> list[tuple[Tensor, Tensor]]:
    """Images (1, X, Y, Z) and labels (X, Y, Z)."""
    return [(torch.from_numpy(cases[name][0])[None], torch.from_numpy(cases[name][1])) for name in names]


def main(out: Path) -> None:
    """Train with each loss on each fold and seed, and write all predictions."""
    cases = volumes()
    write_references(out, cases)
    for trial in trials(cases):
        lightning.seed_everything(trial.seed)  # the same weights and the same order of cases for each loss
        module, testing = Segmentation(trial.loss), items(cases, trial.testing)
        quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
        trainer = lightning.Trainer(max_epochs=15, accelerator="cpu", check_val_every_n_epoch=15, **quiet)
        trainer.fit(module, DataLoader(items(cases, trial.training), 2, shuffle=True), DataLoader(testing, 1))
        for name, (image, _) in zip(trial.testing, testing, strict=True):
            write_prediction(out, trial, name, module.network(image[None])[0, 0].numpy(force=True) > 0)
    collect_and_report(out)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

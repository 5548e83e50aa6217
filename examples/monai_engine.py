"""MONAI's trainer and evaluator with a loss and a metric of lesionloss: python examples/monai_engine.py OUT."""

import sys
from pathlib import Path

import torch
from monai.data import DataLoader
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import IgniteMetricHandler
from monai.networks.nets import UNet
from monai.utils import set_determinism

from lesionloss.integrations.monai import LesionF1Metric, as_monai
from tiny_data import collect_and_report, trials, volumes, write_prediction, write_references

CPU = torch.device("cpu")


def masks(batch: list[dict[str, torch.Tensor]]) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Predicted and known masks of the decollated images of a batch."""
    return [(item["pred"] > 0).float() for item in batch], [item["label"] for item in batch]


def main(out: Path) -> None:
    """Train with each loss on each fold and seed, and write all predictions."""
    cases = volumes()
    write_references(out, cases)
    items = {
        name: {"image": torch.from_numpy(image)[None], "label": torch.from_numpy(mask)[None].float()}
        for name, (image, mask) in cases.items()
    }
    for trial in trials(cases):
        set_determinism(trial.seed)  # the same weights and the same order of cases for each loss
        network = UNet(3, 1, 1, (4, 8), (2,))
        SupervisedTrainer(
            device=CPU,
            max_epochs=15,
            train_data_loader=DataLoader([items[name] for name in trial.training], batch_size=2, shuffle=True),
            network=network,
            optimizer=torch.optim.Adam(network.parameters(), lr=0.02),
            loss_function=as_monai(trial.loss),
        ).run()
        lesion_f1 = LesionF1Metric(spacing_mm=(1, 1, 1))
        evaluator = SupervisedEvaluator(
            device=CPU,
            val_data_loader=DataLoader([items[name] for name in trial.testing], batch_size=1),
            network=network,
            key_val_metric={"lesion_f1": IgniteMetricHandler(lesion_f1, output_transform=masks)},
        )
        evaluator.run()
        print(trial.loss, trial.fold, trial.seed, evaluator.state.metrics)
        for name in trial.testing:
            logits = network(items[name]["image"][None])
            write_prediction(out, trial, name, logits[0, 0].numpy(force=True) > 0)
    collect_and_report(out)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""The trainers: one class for every loss and seed, made when nnU-Net looks for its name.

Everything but the loss, the random numbers and the lengths is nnU-Net's own. Weights, batches and what the network
draws in a step come from generators that are named by fold and seed, so two losses start from the same weights and see
the same batches; hashes of both are written beside the results.
"""

import functools
import math
from pathlib import Path
from typing import Any, TypeAlias

import torch
from batchgenerators.dataloading.multi_threaded_augmenter import MultiThreadedAugmenter
from batchgenerators.dataloading.single_threaded_augmenter import SingleThreadedAugmenter
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.default_n_proc_DA import get_allowed_n_proc_DA
from torch import nn

from lesionloss.integrations.nnunet.labelled_loss import LabelledLoss
from lesionloss.integrations.nnunet.pairing_proof import (
    EVERY,
    PairingRecord,
    batch_digest,
    device_text,
    known_differences,
    network_digest,
    versions,
)
from lesionloss.integrations.nnunet.seeding import NnunetBatch, SeededBatches, environment, set_generators
from lesionloss.integrations.nnunet.stored_losses import OWN_LOSS, stored_loss
from lesionloss.integrations.nnunet.trainer_names import PREFIX, TrainerName, parse_trainer_name

Augmenter: TypeAlias = "MultiThreadedAugmenter | SingleThreadedAugmenter"
_CUDA = torch.device("cuda")


class PairedTrainer(nnUNetTrainer):
    """nnU-Net's trainer with one of our losses, and with weights and batches that depend on fold and seed alone."""

    paired_name: TrainerName  # of each class that `trainer_class` makes
    num_epochs: int
    num_iterations_per_epoch: int
    num_val_iterations_per_epoch: int

    def __init__(
        self,
        plans: dict[str, Any],
        configuration: str,
        fold: int | str,
        dataset_json: dict[str, Any],
        device: torch.device = _CUDA,
    ) -> None:
        """As nnU-Net calls it; nothing is written if the loss is unknown.

        Raises:
            UsageError: No loss has the key in the name of the class.
        """
        name = self.paired_name
        self.loss_text = stored_loss(name.loss)
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_epochs = name.epochs or self.num_epochs
        self.num_iterations_per_epoch = name.iterations or self.num_iterations_per_epoch
        self.num_val_iterations_per_epoch = name.validation_iterations or self.num_val_iterations_per_epoch
        self.steps_done = 0
        self.labelled_loss: LabelledLoss | None = None  # within the wrapper of the resolutions; None: nnU-Net's own
        self.pairing = PairingRecord(self.loss_text, fold, name.seed, self.num_epochs, self.num_iterations_per_epoch)

    def initialize(self) -> None:
        """Build the network from the pair's own generator."""
        set_generators(*self._pair, "weights")
        super().initialize()

    def on_train_start(self) -> None:
        """Begin or continue the record of the pairing, then start as nnU-Net does.

        Raises:
            UsageError: It continues a training run that left no record, or another one.
        """
        if not self.was_initialized:
            self.initialize()
        self.steps_done = self.current_epoch * self.num_iterations_per_epoch
        self.pairing.versions = versions()
        self.pairing.device = device_text(self.device)
        self.pairing.what_differs = known_differences(self.device, self.is_ddp)
        self.pairing.initial_weights_sha256 = network_digest(self.network)
        if self.current_epoch > 0:
            self.pairing = self.pairing.continued(Path(self.output_folder))
        self._write_record()
        super().on_train_start()

    def get_dataloaders(self) -> tuple[Augmenter, Augmenter]:
        """nnU-Net's loaders of training and validation, with seeded batches in a fixed order."""
        workers = get_allowed_n_proc_DA()
        with environment("nnUNet_n_proc_DA", "0"):  # gives the loaders without processes of their own
            training, validation = super().get_dataloaders()
        validated = self.current_epoch * self.num_val_iterations_per_epoch
        return (
            self._seeded(training.data_loader, "train", self.steps_done, workers),
            self._seeded(validation.data_loader, "validation", validated, math.ceil(workers / 2)),
        )

    def train_step(self, batch: NnunetBatch) -> dict[str, Any]:
        """Take a step, after the batch is hashed where its number asks for that."""
        self.steps_done += 1
        if self.steps_done == 1 or self.steps_done % EVERY == 0:
            self.pairing.note(self.steps_done, batch_digest(batch))
            self._write_record()
        if self.labelled_loss is not None:
            steps = self.num_epochs * self.num_iterations_per_epoch
            self.labelled_loss.progress = (self.steps_done - 1) / max(1, steps - 1)
        set_generators(*self._pair, "step", self.steps_done, self.local_rank)
        step: dict[str, Any] = super().train_step(batch)
        return step

    def _build_loss(self) -> nn.Module:
        """The loss of this trainer, with nnU-Net's weights of the resolutions."""
        own: nn.Module = super()._build_loss()
        if self.loss_text == OWN_LOSS:
            return own
        labels, plan = self.label_manager, self.configuration_manager
        loss = self.labelled_loss = LabelledLoss(
            self.loss_text,
            regions=labels.has_regions,
            ignore_label=labels.ignore_label,
            batch_dice=plan.batch_dice,
            patch=plan.patch_size,
            spacing_mm=plan.spacing,
        )
        if not self.enable_deep_supervision:
            return loss
        own.loss = loss  # in the wrapper that adds the resolutions up
        return own

    @property
    def _pair(self) -> tuple[str | int, ...]:
        return (self.fold, self.paired_name.seed)

    def _seeded(self, loader: Any, name: str, first: int, workers: int) -> Augmenter:
        batches = SeededBatches(loader, (*self._pair, name, self.local_rank), first, max(1, workers))
        if workers == 0:
            alone: Augmenter = SingleThreadedAugmenter(batches, None)
            return alone
        pinned = self.device.type == "cuda"
        # Its order is fixed, unlike that of the augmenter that nnU-Net takes.
        augmenter: Augmenter = MultiThreadedAugmenter(batches, None, workers, pin_memory=pinned, wait_time=0.002)
        augmenter._start()
        return augmenter

    def _write_record(self) -> None:
        if self.local_rank == 0:
            self.pairing.write(Path(self.output_folder))


@functools.cache
def trainer_class(name: str) -> type[PairedTrainer]:
    """Return the trainer of a name.

    Raises:
        UsageError: The name is not built like `nnUNetTrainerLL_LOSS_sSEED`.
    """
    return type(name, (PairedTrainer,), {"paired_name": parse_trainer_name(name), "__module__": __name__})


def __getattr__(name: str) -> type[PairedTrainer]:
    """The trainer of a name, as if this module held them all.

    Raises:
        AttributeError: The name is not one of our trainers.
        UsageError: It begins like one and is not built like one.
    """
    if not name.startswith(PREFIX):
        raise AttributeError(f"module {__name__} has no attribute {name!r}")
    return trainer_class(name)

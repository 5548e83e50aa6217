"""Two losses of a fold and seed start from the same weights and see the same batches; a stop changes nothing."""

from pathlib import Path

import pytest
import torch
from batchgenerators.dataloading.multi_threaded_augmenter import MultiThreadedAugmenter
from batchgenerators.dataloading.single_threaded_augmenter import SingleThreadedAugmenter

from lesionloss.core.errors import DataError, UsageError
from lesionloss.integrations.nnunet import trainers
from lesionloss.integrations.nnunet.pairing_proof import (
    PairingRecord,
    batch_digest,
    known_differences,
    network_digest,
)
from lesionloss.integrations.nnunet.trainers import PairedTrainer
from nnunet_tiny import make_trainer, record_of, use_folders, write_preprocessed

SHORT = "e2_i3_v1"
PROVEN = ("initial_weights_sha256", "batches_sha256")


@pytest.fixture(autouse=True)
def hash_every_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainers, "EVERY", 1)


def trained(root: Path, name: str, fold: int = 0) -> PairedTrainer:
    trainer = make_trainer(root, f"nnUNetTrainerLL_{name}_{SHORT}", fold)
    trainer.run_training()
    return trainer


def weights(trainer: PairedTrainer) -> list[torch.Tensor]:
    return list(trainer.network.state_dict().values())


def equal(first: PairedTrainer, second: PairedTrainer) -> bool:
    return all(torch.equal(one, other) for one, other in zip(weights(first), weights(second), strict=True))


def test_two_losses_have_equal_hashes_and_other_folds_and_seeds_have_not(root: Path) -> None:
    first = trained(root, "hytver_s1")
    record = record_of(first)
    assert list(record["batches_sha256"]) == ["1", "2", "3", "4", "5", "6"]
    assert len(set(record["batches_sha256"].values())) == 6
    assert record["what_differs"] == []
    assert (record["format"], record["loss"], record["fold"], record["seed"]) == (1, "hytver", 0, 1)
    assert (record["epochs"], record["iterations"]) == (2, 3)
    assert record["versions"]["nnunetv2"].startswith("2.")
    own = trained(root, "nnunet_s1")
    assert all(record_of(own)[key] == record[key] for key in PROVEN)
    assert not equal(first, own)
    assert equal(first, trained(root, "hytver_s1"))
    for other in (trained(root, "hytver_s2"), trained(root, "hytver_s1", fold=1)):
        assert all(record_of(other)[key] != record[key] for key in PROVEN)


def test_a_training_that_continues_ends_with_the_weights_of_one_that_never_stopped(root: Path) -> None:
    whole = trained(root, "hytver_s1")
    record = record_of(whole)
    (Path(whole.output_folder) / "lesionloss_pairing.json").unlink()
    stopped = make_trainer(root, f"nnUNetTrainerLL_hytver_s1_{SHORT}")
    stopped.save_every = 1

    def stop() -> None:
        if stopped.current_epoch == 1:
            stopped.train_step(next(stopped.dataloader_train))  # a step that is taken again
            raise KeyboardInterrupt
        PairedTrainer.on_train_epoch_start(stopped)

    stopped.on_train_epoch_start = stop
    with pytest.raises(KeyboardInterrupt):
        stopped.run_training()
    assert list(record_of(stopped)["batches_sha256"]) == ["1", "2", "3", "4"]
    continued = make_trainer(root, f"nnUNetTrainerLL_hytver_s1_{SHORT}")
    continued.load_checkpoint(f"{continued.output_folder}/checkpoint_latest.pth")
    continued.run_training()
    assert record_of(continued) == record
    assert equal(continued, whole)


@pytest.mark.parametrize("change", [{"seed": 2}, {"epochs": 9}, {"format": 0}])
def test_only_the_same_training_continues(tmp_path: Path, change: dict[str, int]) -> None:
    record = PairingRecord("dice", 0, 1, 5, 6)
    with pytest.raises(UsageError, match="nothing proves its pairs; train it anew, without --continue"):
        record.continued(tmp_path)
    record.write(tmp_path)
    assert record.continued(tmp_path) == record
    PairingRecord(**{"loss": "dice", "fold": 0, "seed": 1, "epochs": 5, "iterations": 6} | change).write(tmp_path)
    with pytest.raises(UsageError, match=f"{next(iter(change))} is .*train anew"):
        record.continued(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", '{"loss": "dice"}', "{}", "null"])
def test_a_damaged_record_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "lesionloss_pairing.json").write_text(text)
    with pytest.raises(DataError, match=r"lesionloss_pairing.json is damaged; remove it"):
        PairingRecord("dice", 0, 1, 5, 6).continued(tmp_path)


def test_what_changed_between_two_parts_of_a_training_is_said(tmp_path: Path) -> None:
    first = PairingRecord("dice", 0, 1, 5, 6, device="cpu, 1 threads")
    first.note(1, "a")
    first.note(100, "b")
    first.write(tmp_path)
    second = PairingRecord("dice", 0, 1, 5, 6, device="cpu, 8 threads").continued(tmp_path)
    second.note(100, "b")
    second.note(200, "c")
    assert second.what_differs == ["device when the training run continued: cpu, 8 threads"]
    second.note(200, "d")
    assert second.what_differs[1:] == ["batch 200 was drawn again, after the training run continued, and was another"]
    assert second.batches_sha256 == {"1": "a", "100": "b", "200": "d"}


def first_batches(root: Path, monkeypatch: pytest.MonkeyPatch, workers: int, epochs_done: int = 0) -> list[list[str]]:
    """Digests of the batches of training and validation."""
    use_folders(monkeypatch, root, workers)
    trainer = make_trainer(root, f"nnUNetTrainerLL_hytver_s1_{SHORT}")
    trainer.initialize()
    trainer.current_epoch = epochs_done
    trainer.steps_done = epochs_done * trainer.num_iterations_per_epoch
    found = []
    for loader in trainer.get_dataloaders():
        assert isinstance(loader, MultiThreadedAugmenter) == (workers > 0)
        found.append([batch_digest(next(loader)) for _ in range(5)])
        if isinstance(loader, MultiThreadedAugmenter):
            loader._finish()
    return found


# The augmenter may end its workers while it still reads a batch of theirs.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_any_number_of_workers_gives_the_same_batches(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = first_batches(root, monkeypatch, 0)
    assert len(set(alone[0] + alone[1])) == 10
    assert first_batches(root, monkeypatch, 1) == alone
    assert first_batches(root, monkeypatch, 2) == alone
    assert first_batches(root, monkeypatch, 2, epochs_done=1)[0][:2] == alone[0][3:]


def test_nothing_in_the_augmentation_is_decided_by_timing(root: Path) -> None:
    trainer = make_trainer(root, f"nnUNetTrainerLL_hytver_s1_{SHORT}")
    trainer.initialize()
    loader, _ = trainer.get_dataloaders()
    assert isinstance(loader, SingleThreadedAugmenter)
    parts = [part.transform for part in loader.data_loader.loader.transforms.transforms if hasattr(part, "transform")]
    (blur,) = [part for part in parts if hasattr(part, "benchmark")]
    assert blur.benchmark is False


@pytest.mark.parametrize(
    "labels",
    [
        {"background": 0, "lesion": 1, "ignore": 2},
        {"background": 0, "whole": [1, 2], "core": 2},
        {"background": 0, "whole": [1, 2], "core": 2, "ignore": 3},
    ],
)
@pytest.mark.parametrize("batch_dice", [False, True])
def test_ignored_voxels_regions_and_pooled_batches_train(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, labels: dict[str, object], batch_dice: bool
) -> None:
    write_preprocessed(tmp_path, labels, batch_dice=batch_dice)
    use_folders(monkeypatch, tmp_path)
    trainer = make_trainer(tmp_path, "nnUNetTrainerLL_hytver_s1_e1_i1_v1")
    trainer.run_training()
    assert trainer.loss.loss.loss.options.pooled is batch_dice
    assert trainer.loss.loss.loss.options.multilabel is ("core" in labels)
    assert 0 < trainer.logger.get_value("train_losses", step=-1) < 2


def test_the_loss_knows_voxel_size_and_progress(root: Path) -> None:
    seen = []
    trainer = make_trainer(root, f"nnUNetTrainerLL_hytver_s1_{SHORT}")
    trainer.initialize()
    assert trainer.labelled_loss.sides_mm == [16, 16, 16]
    trainer.on_train_epoch_end = lambda outputs: seen.append(trainer.labelled_loss.progress)
    trainer.on_validation_epoch_end = trainer.on_epoch_end = lambda *_: None
    trainer.num_epochs = 1
    trainer.run_training()
    assert seen == [1.0]


def test_the_resolutions_have_the_weights_of_nnunet(root: Path) -> None:
    ours, own = (make_trainer(root, f"nnUNetTrainerLL_{loss}_s1") for loss in ("hytver", "nnunet"))
    for trainer in (ours, own):
        trainer.initialize()
    assert ours.loss.weight_factors == own.loss.weight_factors
    assert (ours.num_epochs, ours.num_iterations_per_epoch, ours.num_val_iterations_per_epoch) == (1000, 250, 50)
    logits = [torch.randn(2, 2, side, side, side) for side in (16, 8)]
    labels = [torch.randint(0, 2, (2, 1, side, side, side), dtype=torch.int16) for side in (16, 8)]
    assert ours.loss(logits, labels) == ours.loss.loss(logits[0], labels[0])  # the lowest has weight 0


def test_an_unknown_loss_writes_nothing(root: Path) -> None:
    with pytest.raises(UsageError, match="no loss has the key 'hytvr'"):
        make_trainer(root, "nnUNetTrainerLL_hytvr_s1")
    assert not (root / "results").exists()


def test_a_network_has_its_digest_whatever_is_wrapped_around_it() -> None:
    network = torch.nn.Conv3d(1, 2, 3)
    digest = network_digest(network)
    assert digest != network_digest(torch.nn.Conv3d(1, 2, 3))
    compiled = torch.compile(network)
    assert isinstance(compiled, torch.nn.Module)
    assert network_digest(compiled) == network_digest(torch.nn.DataParallel(compiled)) == digest


def test_what_can_not_be_equal_on_a_gpu_is_said() -> None:
    assert known_differences(torch.device("cpu"), several=False) == []
    kernels, skipped, ranks = known_differences(torch.device("cuda"), several=True)
    assert "two training runs with the same loss differ" in kernels
    assert "skips a step" in skipped
    assert "the first of several GPUs" in ranks

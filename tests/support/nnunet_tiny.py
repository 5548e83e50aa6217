"""A tiny data set as nnU-Net preprocesses it, made without nnU-Net's planning, and training runs on it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2

from lesionloss.integrations.nnunet.trainers import PairedTrainer, trainer_class

NAME = "Dataset501_Tiny"
LESION: dict[str, object] = {"background": 0, "lesion": 1}
SIDE = 16
CASES = tuple(f"case_{number}" for number in range(4))
_CONVOLUTIONS = {
    "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
    "arch_kwargs": {
        "n_stages": 3,
        "features_per_stage": [2, 4, 4],
        "conv_op": "torch.nn.modules.conv.Conv3d",
        "kernel_sizes": [[3, 3, 3]] * 3,
        "strides": [[1, 1, 1], [2, 2, 2], [2, 2, 2]],
        "n_conv_per_stage": [1, 1, 1],
        "n_conv_per_stage_decoder": [1, 1],
        "conv_bias": True,
        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "dropout_op": "torch.nn.modules.dropout.Dropout3d",
        "dropout_op_kwargs": {"p": 0.2},
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    },
    "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
}


def write_preprocessed(root: Path, labels: dict[str, object] = LESION, *, batch_dice: bool = False) -> Path:
    """Write plans, splits of two folds, and four cases of noise with a bright box; gives the data set's folder."""
    folder = root / "preprocessed" / NAME
    cases = folder / "nnUNetPlans_3d_fullres"
    cases.mkdir(parents=True)
    numbers = sorted({int(number) for value in labels.values() for number in np.atleast_1d(np.array(value))})
    rng = np.random.default_rng(7)
    for case in CASES:
        reference = np.zeros((1, 20, 20, 20), np.int16)
        for number in numbers[1:]:
            x, y, z = rng.integers(2, 12, 3)
            reference[0, x : x + 5, y : y + 5, z : z + 5] = number
        image = (rng.normal(size=reference.shape) + (reference > 0)).astype(np.float32)
        places = {number: np.argwhere(reference == number) for number in numbers[1:]}
        annotated = tuple([-1] + [number for number in numbers if labels.get("ignore") != number])
        properties = {"class_locations": places | {annotated: np.argwhere(reference >= 0)}}
        shape = (1, SIDE, SIDE, SIDE)
        nnUNetDatasetBlosc2.save_case(image, reference, properties, str(cases / case), shape, shape)
    configuration = {
        "data_identifier": cases.name,
        "batch_size": 2,
        "patch_size": [SIDE] * 3,
        "spacing": [1.0, 1.0, 1.0],
        "normalization_schemes": ["ZScoreNormalization"],
        "use_mask_for_norm": [False],
        "architecture": _CONVOLUTIONS,
        "batch_dice": batch_dice,
    }
    cascade = {"inherits_from": "3d_fullres", "previous_stage": "3d_lowres"}
    plans = {
        "dataset_name": NAME,
        "plans_name": "nnUNetPlans",
        "configurations": {"3d_fullres": configuration, "3d_cascade_fullres": cascade},
        "label_manager": "LabelManager",
    }
    regions = [number for number in numbers[1:] if number != labels.get("ignore")]
    dataset = {
        "channel_names": {"0": "FLAIR"},
        "labels": labels,
        "regions_class_order": regions,
        "file_ending": ".nii.gz",
    }
    splits = [{"train": list(CASES[:2]), "val": list(CASES[2:])}, {"train": list(CASES[2:]), "val": list(CASES[:2])}]
    for name, record in (
        ("nnUNetPlans", plans),
        ("dataset", dataset),
        ("splits_final", splits),
        ("dataset_fingerprint", {}),
    ):
        (folder / f"{name}.json").write_text(json.dumps(record))
    return folder


def use_folders(monkeypatch: pytest.MonkeyPatch, root: Path, workers: int = 0) -> None:
    """Let nnU-Net read and write under `root`, in this process."""
    for name in ("raw", "preprocessed", "results"):
        monkeypatch.setenv(f"nnUNet_{name}", str(root / name))
    monkeypatch.setenv("nnUNet_n_proc_DA", str(workers))
    monkeypatch.delenv("nnUNet_extTrainer", raising=False)
    monkeypatch.setattr("nnunetv2.training.logging.nnunet_logger.MetaLogger.plot_progress_png", lambda *_: None)


def make_trainer(root: Path, name: str, fold: int = 0) -> PairedTrainer:
    """A trainer as nnUNetv2_train makes it."""
    folder = root / "preprocessed" / NAME
    plans = json.loads((folder / "nnUNetPlans.json").read_text()) | {"continue_training": False}
    dataset = json.loads((folder / "dataset.json").read_text())
    return trainer_class(name)(plans, "3d_fullres", fold, dataset, torch.device("cpu"))


def record_of(trainer: PairedTrainer) -> dict[str, Any]:
    """What it has written about its pairing."""
    record: dict[str, Any] = json.loads((Path(trainer.output_folder) / "lesionloss_pairing.json").read_text())
    return record

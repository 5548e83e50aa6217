"""nnU-Net with two losses, in pairs, on tiny volumes: python examples/nnunet_losses.py OUT (minutes on a CPU)."""

import json
import os
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np

from tiny_data import volumes

NAME = "Dataset501_Tiny"
PLAN = """
dataset = 501
configuration = "3d_fullres"
losses = ["nnunet", "hytver"]
baseline_loss = "nnunet"
folds = [0, 1]
seeds = [1, 2]
epochs = 1
iterations = 2
validation_iterations = 1
device = "cpu"
"""


def write_dataset(folder: Path) -> None:
    """Write the volumes as a raw data set of nnU-Net."""
    for name, (image, mask) in volumes(side=32).items():
        for place, array in ((f"imagesTr/{name}_0000", image), (f"labelsTr/{name}", mask)):
            path = folder / f"{place}.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            nib.save(nib.Nifti1Image(array, np.eye(4)), path)
    labels = {"background": 0, "lesion": 1}
    record = {"channel_names": {"0": "FLAIR"}, "labels": labels, "numTraining": 10, "file_ending": ".nii.gz"}
    (folder / "dataset.json").write_text(json.dumps(record))


def main(out: Path) -> None:
    """Preprocess as nnU-Net does, train both losses on each fold and seed, and write OUT/run/report.html."""
    folders = {f"nnUNet_{part}": str(out.absolute() / part) for part in ("raw", "preprocessed", "results")}
    where = os.environ | folders | {"nnUNet_n_proc_DA": "1"}
    write_dataset(out / "raw" / NAME)
    (out / "plan.toml").write_text(PLAN)
    planned = str(Path(sys.executable).with_name("nnUNetv2_plan_and_preprocess"))
    subprocess.run([planned, "-d", "501", "-c", "3d_fullres", "-np", "1", "-npfp", "1"], env=where, check=True)
    bench = ["nnunet", "bench", str(out / "plan.toml"), "--out", str(out / "run")]
    for command in (bench, ["compare", str(out / "run")]):
        subprocess.run([sys.executable, "-m", "lesionloss", *command], env=where, check=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

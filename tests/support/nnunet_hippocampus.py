"""A few volumes of the hippocampus set as a raw data set of nnU-Net."""

import json
import os
from pathlib import Path

import nibabel as nib
import numpy as np

from data_cohorts import REAL_LIT

HIPPOCAMPUS = REAL_LIT.parent / "hippocampus"
NAME = "Dataset504_Hippocampus"
LABELS = {"background": 0, "anterior": 1, "posterior": 2}


def write_raw(raw: Path, cases: int) -> Path:
    """Write the first cases; gives the data set's folder."""
    folder = raw / NAME
    for name in ("imagesTr", "labelsTr"):
        (folder / name).mkdir(parents=True)
    names = sorted(path.name.removesuffix(".nii.gz") for path in (HIPPOCAMPUS / "images").glob("*.nii.gz"))[:cases]
    for name in names:
        # The affines of image and label differ in their last digits in some cases, which nnU-Net would point out.
        image, label = (nib.load(HIPPOCAMPUS / part / f"{name}.nii.gz") for part in ("images", "labels"))
        values = np.asarray(image.dataobj, dtype=np.float32)
        nib.save(nib.Nifti1Image(values, image.affine), folder / "imagesTr" / f"{name}_0000.nii.gz")
        classes = np.asarray(label.dataobj).astype(np.uint8)
        nib.save(nib.Nifti1Image(classes, image.affine), folder / "labelsTr" / f"{name}.nii.gz")
    record = {"channel_names": {"0": "MRI"}, "labels": LABELS, "numTraining": len(names), "file_ending": ".nii.gz"}
    (folder / "dataset.json").write_text(json.dumps(record))
    return folder


def environment(root: Path) -> dict[str, str]:
    """The variables of nnU-Net with its folders under `root` and one process for everything."""
    folders = {f"nnUNet_{name}": str(root / name) for name in ("raw", "preprocessed", "results")}
    return {**os.environ, **folders, "nnUNet_n_proc_DA": "1", "nnUNet_def_n_proc": "1", "OMP_NUM_THREADS": "1"}

"""Every known layout in miniature: a writer per layout makes two or three small random cases in a folder."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from data_cohorts import save, write_lit, write_msseg2
from dicom_files import write_dicom_series

SHAPE = (7, 6, 5)
SIZE = (9, 6)  # columns, rows

Write = Callable[[Path], Path]


def volume(path: Path, seed: int) -> Path:
    rng = np.random.default_rng([seed, *path.name.encode()])
    return save(path, rng.normal(100, 10, SHAPE).astype(np.float32), np.eye(4))


def labels(path: Path, *values: int) -> Path:
    """Background, and one voxel of each value along the first axis from (1, 2, 3)."""
    array = np.zeros(SHAPE, np.uint8)
    for index, value in enumerate(values):
        array[index % SHAPE[0], 2 + index // SHAPE[0], 3] = value
    return save(path, array, np.eye(4))


def picture(path: Path, seed: int, channels: int = 3) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(1, 255, (SIZE[1], SIZE[0], channels), dtype=np.uint8)
    Image.fromarray(pixels if channels > 1 else pixels[..., 0]).save(path)
    return path


def mask(path: Path, *corners: tuple[int, int], value: int = 255) -> Path:
    """A grey picture of `value` in a square of 2 by 2 pixels from each (column, row)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((SIZE[1], SIZE[0]), np.uint8)
    for column, row in corners:
        pixels[row : row + 2, column : column + 2] = value
    Image.fromarray(pixels).save(path)
    return path


def msseg2_bids(root: Path) -> Path:
    for number, lesions in ((13, ()), (15, (1,))):
        name = f"sub-{number:03d}"
        for visit in ("ses-01", "ses-02"):
            volume(root / name / visit / "anat" / f"{name}_{visit}_FLAIR.nii.gz", number)
        folder = root / "derivatives" / "labels" / name / "ses-02" / "anat"
        labels(folder / f"{name}_ses-02_FLAIR_seg-lesion.nii.gz", *lesions)
        labels(folder / f"{name}_ses-02_FLAIR_lesion-manual-rater1.nii.gz", 1)
    return root


def msseg2016(root: Path) -> Path:
    for centre, patient in (("01", "01"), ("01", "02"), ("07", "01")):
        folder = root / "Training" / f"Center_{centre}" / f"Patient_{patient}"
        for seed, stem in enumerate(("FLAIR", "T1", "GADO", "T2", "DP")):
            volume(folder / "Preprocessed_Data" / f"{stem}_preprocessed.nii.gz", seed + int(centre) + int(patient))
            volume(folder / "Raw_Data" / f"{stem}.nii.gz", seed)
        labels(folder / "Masks" / "Consensus.nii.gz", 1, 1)
        labels(folder / "Masks" / "ManualSegmentation_1.nii.gz", 1)
        labels(folder / "Masks" / "Brain_Mask.nii.gz", 1, 1, 1)
    return root


def isbi2015(root: Path) -> Path:
    for patient, points in ((1, 2), (2, 1)):
        folder = root / "training" / f"training{patient:02d}"
        for point in range(1, points + 1):
            name = f"training{patient:02d}_{point:02d}"
            for seed, stem in enumerate(("flair", "mprage", "t2", "pd")):
                volume(folder / "preprocessed" / f"{name}_{stem}_pp.nii", 10 * patient + point + seed)
            labels(folder / "masks" / f"{name}_mask1.nii", 1)
            labels(folder / "masks" / f"{name}_mask2.nii", 1, 1)
    return root


def wmh2017(root: Path) -> Path:
    for place in ("Utrecht/0", "Singapore/50", "Amsterdam/GE3T/100"):
        folder = root / "training" / place
        for seed, stem in enumerate(("FLAIR", "T1")):
            volume(folder / "pre" / f"{stem}.nii.gz", seed + len(place))
            volume(folder / "orig" / f"{stem}.nii.gz", seed)
        labels(folder / "wmh.nii.gz", 1, 2)
    labels(root / "additional_annotations" / "observer_o3" / "training" / "Utrecht" / "0" / "result.nii.gz", 1)
    return root


def ljubljana(root: Path) -> Path:
    for form in ("coregistered", "raw"):
        for patient in ("patient01", "patient02"):
            folder = root / "cross_sectional" / form / patient
            for seed, stem in enumerate(("FLAIR", "T1W", "T1WKS", "T2W")):
                volume(folder / f"{stem}.nii.gz", seed + 10 * int(patient[-1]))
            labels(folder / "consensus_gt.nii.gz", 1)
            labels(folder / "brainmask.nii.gz", 1, 1)
    return root


def dataset_json(root: Path, **changed: object) -> Path:
    described = {
        "channel_names": {"0": "FLAIR", "1": "T1"},
        "labels": {"background": 0, "core": 2, "oedema": 1, "ignore": 3},
        "numTraining": 2,
        "file_ending": ".nii.gz",
    }
    root.mkdir(parents=True, exist_ok=True)
    (root / "dataset.json").write_text(json.dumps(described | changed))
    return root


def nnunet(root: Path) -> Path:
    for case in range(3):
        for channel in range(2):
            volume(root / "imagesTr" / f"MS_{case:03d}_{channel:04d}.nii.gz", case)
        labels(root / "labelsTr" / f"MS_{case:03d}.nii.gz", 1, 2, 3)
    return dataset_json(root)


def bids(root: Path) -> Path:
    for patient in ("sub-01", "sub-02"):
        for visit in ("ses-01", "ses-02"):
            name = f"{patient}_{visit}"
            volume(root / patient / visit / "anat" / f"{name}_FLAIR.nii.gz", 0)
            folder = root / "derivatives" / "prep" / patient / visit / "anat"
            volume(folder / f"{name}_space-MNI_desc-preproc_FLAIR.nii.gz", 1)
            labels(folder / f"{name}_space-MNI_label-brain_mask.nii.gz", 1, 1)
        labels(folder / f"{name}_space-MNI_label-lesion_desc-manual_mask.nii.gz", 1)
    (root / "dataset_description.json").write_text('{"Name": "miniature", "BIDSVersion": "1.10.0"}')
    return root


def table(root: Path) -> Path:
    rows = [["patient", "case", "visit1_flair", "visit1_t1", "visit2_flair", "visit2_t1", "reference", "brain"]]
    for patient, case in (("anna", "anna-1"), ("anna", "anna-2"), ("ben", "")):
        place = case or patient
        images = [f"{place}/{stem}.nii.gz" for stem in ("f1", "t1", "f2", "t2")]
        for seed, name in enumerate(images):
            volume(root / name, seed + 10 * len(rows))
        labels(root / place / "lesions.nii.gz", 1)
        labels(root / place / "brain.nii.gz", 1, 1)
        rows.append([patient, case, *images, f"{place}/lesions.nii.gz", f"{place}/brain.nii.gz" if case else ""])
    with (root / "manifest.csv").open("w", newline="") as handle:
        csv.writer(handle).writerows(rows)
    return root


def drive(root: Path) -> Path:
    for part, number in (("training", "21"), ("training", "22"), ("test", "01")):
        folder = root / part
        picture(folder / "images" / f"{number}_{part}.tif", int(number))
        mask(folder / "1st_manual" / f"{number}_manual1.gif", (1, 2))
        mask(folder / "mask" / f"{number}_{part}_mask.gif", (1, 1), (1, 3))
    return root


def bus2017(root: Path) -> Path:
    for number in (1, 2):
        picture(root / "original" / f"{number:06d}.png", number, channels=1)
        mask(root / "GT" / f"{number:06d}.png", (4, 1))
    return root


def dsb2018(root: Path) -> Path:
    for seed, name in enumerate(("00ab", "01cd")):
        picture(root / "stage1_train" / name / "images" / f"{name}.png", seed, channels=4 - seed)
        mask(root / "stage1_train" / name / "masks" / "n1.png", (0, 0))
        mask(root / "stage1_train" / name / "masks" / "n2.png", (5, 3))
    return root


def dsb2018_file(root: Path) -> Path:
    """The form with all images in one file; gives the file."""
    rng = np.random.default_rng(0)
    masks = np.zeros((3, SIZE[1], SIZE[0]), np.uint8)
    masks[:, 2, 5] = 1
    path = root / "nuclei.npz"
    images = rng.integers(0, 255, (*masks.shape, 3), dtype=np.uint8)
    np.savez_compressed(path, images=images, masks=masks, ids=np.array(["a", "b", "c"]))
    return path


def isic2018(root: Path) -> Path:
    for part, number in (("Training", 0), ("Training", 1), ("Validation", 2)):
        folder = root / f"ISIC2018_Task1-2_{part}_Input"
        picture(folder / f"ISIC_{number:07d}.jpg", number)
        picture(folder / f"ISIC_{number:07d}_superpixels.png", number)
        mask(root / f"ISIC2018_Task1_{part}_GroundTruth" / f"ISIC_{number:07d}_segmentation.png", (2, 2))
    return root


def cvc_clinicdb(root: Path) -> Path:
    for number in (1, 2, 10):
        for form, ending in (("PNG", "png"), ("TIF", "tif")):
            picture(root / form / "Original" / f"{number}.{ending}", number)
            mask(root / form / "Ground Truth" / f"{number}.{ending}", (3, 1), value=250)
    (root / "metadata.csv").write_text("frame_id,sequence_id\n1,1\n2,1\n10,2\n")
    return root


def synapse(root: Path) -> Path:
    for number in (1, 2):
        volume(root / "RawData" / "Training" / "img" / f"img{number:04d}.nii.gz", number)
        labels(root / "RawData" / "Training" / "label" / f"label{number:04d}.nii.gz", *range(1, 14))
    return root


def acdc(root: Path) -> Path:
    for patient, frames in (("patient001", (1, 12)), ("patient002", (1,))):
        for frame in frames:
            volume(root / "training" / patient / f"{patient}_frame{frame:02d}.nii.gz", frame)
            labels(root / "training" / patient / f"{patient}_frame{frame:02d}_gt.nii.gz", 1, 2, 3)
        (root / "training" / patient / "Info.cfg").write_text("ED: 1\n")
    return root


def hippocampus(root: Path) -> Path:
    for number in (1, 3):
        volume(root / "images" / f"hippocampus_{number:03d}.nii.gz", number)
        labels(root / "labels" / f"hippocampus_{number:03d}.nii.gz", 1, 2)
    return root


def dicom(root: Path) -> Path:
    place = {"spacing": (1.0, 1.0, 1.0), "origin": (0.0, 0.0, 0.0)}
    for number, patient in enumerate(("A001", "A002")):
        for visit, day in (("visit2", "20250301"), ("visit10", "20260301")):
            values = np.random.default_rng([number, int(day)]).integers(1, 900, SHAPE, dtype=np.int16)
            write_dicom_series(root / patient / visit / "S1", values, date=day, **place)
        array = np.zeros(SHAPE, np.uint8)
        array[3, 2, 2] = 1
        save(root / patient / "reference.nii.gz", array, np.diag([-1.0, -1.0, 1.0, 1.0]))
    return root


WRITERS: dict[str, Write] = {
    "lit": write_lit,
    "msseg2": write_msseg2,
    "msseg2-bids": msseg2_bids,
    "msseg2016": msseg2016,
    "isbi2015": isbi2015,
    "wmh2017": wmh2017,
    "ljubljana": ljubljana,
    "nnunet": nnunet,
    "bids": bids,
    "csv": table,
    "dicom": dicom,
    "drive": drive,
    "bus2017": bus2017,
    "dsb2018": dsb2018,
    "isic2018": isic2018,
    "cvc-clinicdb": cvc_clinicdb,
    "synapse": synapse,
    "acdc": acdc,
    "hippocampus": hippocampus,
}

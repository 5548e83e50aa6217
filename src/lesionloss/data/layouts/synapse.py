"""Synapse (BTCV, "Beyond the Cranial Vault"): thirteen organs in abdominal CT (Landman et al., MICCAI 2015 workshop).

Images and labels with equal numbers, in the folders of either archive. Many papers score only eight of the organs: that
is the target `eight_organs`, where the other five are background.
"""

import re
from pathlib import Path

from lesionloss.data.layouts.find_files import ExpectedFiles, collect_cases, stems_in
from lesionloss.data.layouts.records import FoundCases, LabelRule, Layout, LayoutGroup, Target, published

FOLDERS = (
    ("averaged-training-images", "averaged-training-labels"),
    ("img", "label"),
    ("Training/img", "Training/label"),
    ("RawData/Training/img", "RawData/Training/label"),
)
# In the order of their values in the files, from 1.
ORGANS = (
    "spleen",
    "right_kidney",
    "left_kidney",
    "gallbladder",
    "oesophagus",
    "liver",
    "stomach",
    "aorta",
    "inferior_vena_cava",
    "portal_and_splenic_vein",
    "pancreas",
    "right_adrenal_gland",
    "left_adrenal_gland",
)
EIGHT = ("aorta", "gallbladder", "left_kidney", "right_kidney", "liver", "pancreas", "spleen", "stomach")


def _numbers(root: Path, folders: tuple[str, str]) -> list[str]:
    """The numbers of the images and of the labels that are there."""
    images, labels = folders
    stems = [*stems_in(root / images), *stems_in(root / labels)]
    return sorted({match[1] for stem in stems if (match := re.fullmatch(r"(?:img|label)(\d{4})", stem))})


def _recognise(root: Path) -> bool:
    return any(_numbers(root, folders) for folders in FOLDERS)


def _discover(root: Path) -> FoundCases:
    images, labels = next((folders for folders in FOLDERS if _numbers(root, folders)), FOLDERS[0])
    return collect_cases(
        ExpectedFiles(f"case{number}", f"case{number}", root, ((f"{images}/img{number}",),), f"{labels}/label{number}")
        for number in _numbers(root, (images, labels))
    )


def _rule(classes: tuple[str, ...]) -> LabelRule:
    numbers = {name: number for number, name in enumerate(classes, start=1)}
    return LabelRule(classes, tuple((value, numbers.get(name, 0)) for value, name in enumerate(ORGANS, start=1)))


LAYOUT = Layout(
    name="synapse",
    title="Synapse (BTCV), organs in abdominal CT",
    looks_like=(
        "averaged-training-{images/img,labels/label}0001.nii.gz "
        "(or [RawData/Training/]{img/img,label/label}0001.nii.gz)"
    ),
    recognise=_recognise,
    discover=_discover,
    targets=(
        Target("thirteen_organs", "all organs, as published", published),
        Target("eight_organs", "eight organs; the other five are background", published, _rule(EIGHT)),
    ),
    contrasts=("ct",),
    labels=_rule(ORGANS),
    group=LayoutGroup.ORGANS,
)

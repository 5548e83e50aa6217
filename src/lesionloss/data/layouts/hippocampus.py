"""The hippocampus of the Medical Segmentation Decathlon, Task04: two parts of it in T1 crops (Antonelli et al. 2022).

`images` and `labels`, or `imagesTr` and `labelsTr` as in the original archive, with files of equal names.
"""

import re
from pathlib import Path

from lesionloss.data.layouts.find_files import ExpectedFiles, collect_cases, stems_in
from lesionloss.data.layouts.records import FoundCases, LabelRule, Layout, LayoutGroup, Target, published

FOLDERS = (("images", "labels"), ("imagesTr", "labelsTr"))


def _names(*folders: Path) -> list[str]:
    stems = {stem for folder in folders for stem in stems_in(folder)}
    return sorted(stem for stem in stems if re.fullmatch(r"hippocampus_\d+", stem))


def _recognise(root: Path) -> bool:
    # By the images: in the form of nnU-Net the labels have the same names, the images have not.
    return any(_names(root / images) for images, _ in FOLDERS)


def _discover(root: Path) -> FoundCases:
    images, labels = next((folders for folders in FOLDERS if _names(root / folders[0])), FOLDERS[0])
    return collect_cases(
        ExpectedFiles(name, name, root, ((f"{images}/{name}",),), f"{labels}/{name}")
        for name in _names(root / images, root / labels)
    )


LAYOUT = Layout(
    name="hippocampus",
    title="Medical Segmentation Decathlon Task04, the hippocampus in T1",
    looks_like="{images,labels}/hippocampus_001.nii.gz (or imagesTr, labelsTr)",
    recognise=_recognise,
    discover=_discover,
    targets=(
        Target("parts", "anterior and posterior hippocampus", published),
        Target(
            "whole", "the hippocampus as one", published, LabelRule(classes=("hippocampus",), values=((1, 1), (2, 1)))
        ),
    ),
    contrasts=("t1",),
    labels=LabelRule(classes=("anterior", "posterior"), values=((1, 1), (2, 2))),
    group=LayoutGroup.ORGANS,
    tested_on="260 cases",
)

"""ISIC 2018, task 1: the outline of skin lesions in dermoscopy (Codella et al. 2019).

Each image counts as a patient: patients are not published.
"""

from collections.abc import Iterator
from pathlib import Path

from lesionloss.data.layouts.find_files import ExpectedFiles
from lesionloss.data.layouts.picture_folders import RGB, WHITE, collect_pictures, picture_reader, picture_stems
from lesionloss.data.layouts.records import FoundCases, LabelRule, Layout, LayoutGroup, Target, published

PARTS = ("Training", "Validation", "Test")
SUFFIX = "_segmentation"


def _expected_files(root: Path) -> Iterator[ExpectedFiles]:
    for part in PARTS:
        images, masks = f"ISIC2018_Task1-2_{part}_Input", f"ISIC2018_Task1_{part}_GroundTruth"
        pictures = {stem for stem in picture_stems(root / images) if not stem.endswith("_superpixels")}
        outlines = {stem.removesuffix(SUFFIX) for stem in picture_stems(root / masks) if stem.endswith(SUFFIX)}
        for name in sorted(pictures | outlines):
            yield ExpectedFiles(name, name, root, ((f"{images}/{name}",),), f"{masks}/{name}{SUFFIX}")


def _recognise(root: Path) -> bool:
    return any(True for _ in _expected_files(root))


def _discover(root: Path) -> FoundCases:
    return collect_pictures(_expected_files(root))


LAYOUT = Layout(
    name="isic2018",
    title="ISIC 2018 task 1, skin lesions in dermoscopy",
    looks_like=(
        "ISIC2018_Task1-2_Training_Input/ISIC_0000000.jpg, "
        "ISIC2018_Task1_Training_GroundTruth/ISIC_0000000_segmentation.png (also Validation, Test)"
    ),
    recognise=_recognise,
    discover=_discover,
    targets=(Target("lesions", "skin lesions", published),),
    contrasts=RGB,
    labels=LabelRule(values=WHITE),
    read=picture_reader(RGB),
    group=LayoutGroup.PICTURES,
)

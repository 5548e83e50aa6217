"""BUS 2017 ("dataset B"): breast lesions in ultrasound (Yap et al., IEEE JBHI 2018).

Each image counts as a patient: which images share a patient is not published.
"""

from pathlib import Path

from lesionloss.data.layouts.find_files import ExpectedFiles
from lesionloss.data.layouts.picture_folders import GREY, WHITE, collect_pictures, picture_reader, picture_stems
from lesionloss.data.layouts.records import FoundCases, LabelRule, Layout, LayoutGroup, Target, published

IMAGES, MASKS = "original", "GT"


def _names(root: Path) -> list[str]:
    return sorted({*picture_stems(root / IMAGES), *picture_stems(root / MASKS)})


def _recognise(root: Path) -> bool:
    return (root / IMAGES).is_dir() and (root / MASKS).is_dir() and bool(_names(root))


def _discover(root: Path) -> FoundCases:
    return collect_pictures(
        ExpectedFiles(name, name, root, ((f"{IMAGES}/{name}",),), f"{MASKS}/{name}") for name in _names(root)
    )


LAYOUT = Layout(
    name="bus2017",
    title="BUS 2017 (dataset B), breast lesions in ultrasound",
    looks_like="{original,GT}/000001.png",
    recognise=_recognise,
    discover=_discover,
    targets=(Target("lesions", "benign and malignant lesions", published),),
    contrasts=GREY,
    labels=LabelRule(values=WHITE),
    read=picture_reader(GREY),
    group=LayoutGroup.PICTURES,
)

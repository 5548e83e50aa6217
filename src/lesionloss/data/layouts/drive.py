"""DRIVE: blood vessels in fundus photographs (Staal et al., IEEE TMI 2004).

The mask of the field of view takes the place of the brain mask.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from lesionloss.data.layouts.find_files import ExpectedFiles
from lesionloss.data.layouts.picture_folders import RGB, WHITE, collect_pictures, picture_reader, picture_stems
from lesionloss.data.layouts.records import FoundCases, LabelRule, Layout, LayoutGroup, Target, published

PARTS = ("training", "test")
STEM = re.compile(r"(\d+)_(training|test|manual1)")


def _starts(root: Path) -> list[Path]:
    return [root / part for part in PARTS if (root / part).is_dir()] or [root]


def _expected_files(root: Path) -> Iterator[ExpectedFiles]:
    for folder in _starts(root):
        stems = [*picture_stems(folder / "images"), *picture_stems(folder / "1st_manual")]
        parts = {match[1]: match[2] for stem in reversed(stems) if (match := STEM.fullmatch(stem))}
        for number, kind in sorted(parts.items()):
            part = kind if kind in PARTS else folder.name
            stem = f"{number}_{part}"
            yield ExpectedFiles(
                number, number, folder, ((f"images/{stem}",),), f"1st_manual/{number}_manual1", f"mask/{stem}_mask"
            )


def _recognise(root: Path) -> bool:
    return any((folder / "1st_manual").is_dir() for folder in _starts(root)) and any(
        True for _ in _expected_files(root)
    )


def _discover(root: Path) -> FoundCases:
    return collect_pictures(_expected_files(root))


LAYOUT = Layout(
    name="drive",
    title="DRIVE, blood vessels in fundus photographs",
    looks_like="[training/|test/]{images/21_training.tif,1st_manual/21_manual1.gif,mask/21_training_mask.gif}",
    recognise=_recognise,
    discover=_discover,
    targets=(Target("vessels", "blood vessels, first observer", published),),
    contrasts=RGB,
    labels=LabelRule(classes=("vessel",), values=WHITE),
    read=picture_reader(RGB),
    group=LayoutGroup.PICTURES,
)

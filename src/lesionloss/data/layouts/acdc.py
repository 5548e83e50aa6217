"""ACDC: the heart at the end of diastole and of systole, short-axis cine MRI (Bernard et al., IEEE TMI 2018).

A case per annotated frame; both frames of a person belong to one patient.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from lesionloss.data.layouts.find_files import ExpectedFiles, collect_cases, folders_in, stems_in
from lesionloss.data.layouts.records import FoundCases, LabelRule, Layout, LayoutGroup, Target, published

PARTS = ("training", "testing")


def _expected_files(root: Path) -> Iterator[ExpectedFiles]:
    for start in [root / part for part in PARTS if (root / part).is_dir()] or [root]:
        for folder in folders_in(start):
            frame = re.compile(rf"({re.escape(folder.name)}_frame\d+)(_gt)?")
            found = {match[1] for stem in stems_in(folder) if (match := frame.fullmatch(stem))}
            if re.fullmatch(r"patient\d+", folder.name):
                yield from (
                    ExpectedFiles(name, folder.name, folder, ((name,),), f"{name}_gt") for name in sorted(found)
                )


def _recognise(root: Path) -> bool:
    return any(True for _ in _expected_files(root))


def _discover(root: Path) -> FoundCases:
    return collect_cases(_expected_files(root))


LAYOUT = Layout(
    name="acdc",
    title="ACDC, right ventricle, myocardium and left ventricle in cine MRI",
    looks_like="[training/|testing/]patient001/patient001_frame01{,_gt}.nii.gz",
    recognise=_recognise,
    discover=_discover,
    targets=(Target("heart", "right ventricle, myocardium, left ventricle", published),),
    contrasts=("cine",),
    labels=LabelRule(classes=("right_ventricle", "myocardium", "left_ventricle"), values=((1, 1), (2, 2), (3, 3))),
    group=LayoutGroup.ORGANS,
)

"""ISBI 2015 longitudinal MS lesion challenge: all lesions of every time point (Carass et al., NeuroImage 2017).

A case per time point. All time points of a person belong to one patient, so that folds never separate them. The images
are the preprocessed ones: skull-stripped, on one grid, without a brain mask. The reference is the first rater's; the
second rater's `_mask2` is not used.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from lesionloss.data.layouts.find_files import ExpectedFiles, collect_cases, folders_in, stems_in
from lesionloss.data.layouts.records import FoundCases, Layout, LayoutGroup, Target, published

STEMS = ("flair", "mprage", "t2", "pd")
SCAN = re.compile(r"(training\d+_\d+)_(?:(?:flair|mprage|t2|pd)_pp|mask[12])")


def _patients(root: Path) -> list[Path]:
    start = root / "training" if (root / "training").is_dir() else root
    return [folder for folder in folders_in(start) if re.fullmatch(r"training\d+", folder.name)]


def _time_points(folder: Path) -> list[str]:
    stems = [*stems_in(folder / "preprocessed"), *stems_in(folder / "masks")]
    return sorted({match[1] for stem in stems if (match := SCAN.fullmatch(stem))})


def _expected_files(root: Path) -> Iterator[ExpectedFiles]:
    for folder in _patients(root):
        for name in _time_points(folder):
            contrasts = tuple(f"preprocessed/{name}_{stem}_pp" for stem in STEMS)
            yield ExpectedFiles(name, folder.name, folder, (contrasts,), f"masks/{name}_mask1")


def _recognise(root: Path) -> bool:
    return any(_time_points(folder) for folder in _patients(root))


def _discover(root: Path) -> FoundCases:
    return collect_cases(_expected_files(root), ending=".nii")


LAYOUT = Layout(
    name="isbi2015",
    title="ISBI 2015, MS lesions at several time points with four contrasts",
    looks_like=(
        "[training/]training01/{preprocessed/training01_01_{flair,mprage,t2,pd}_pp,masks/training01_01_mask1}.nii"
    ),
    recognise=_recognise,
    discover=_discover,
    targets=(Target("lesions", "MS lesions, first rater", published),),
    contrasts=("flair", "t1", "t2", "pd"),
    group=LayoutGroup.CROSS_SECTIONAL,
)

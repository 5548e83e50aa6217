"""The Ljubljana cross-sectional set: MS lesions in one visit, four contrasts (Lesjak et al., Neuroinformatics 2018).

The coregistered images are read where several forms lie side by side. To read another form, name its folder.
"""

import re
from pathlib import Path

from lesionloss.data.layouts.find_files import ExpectedFiles, collect_cases, folders_in, image_file
from lesionloss.data.layouts.records import FoundCases, Layout, LayoutGroup, Target, published

FORMS = ("coregistered", "coregistered_resampled", "MNI", "raw")
STEMS = ("FLAIR", "T1W", "T1WKS", "T2W")


def _patients(root: Path) -> list[Path]:
    base = root / "cross_sectional" if (root / "cross_sectional").is_dir() else root
    start = next((base / form for form in FORMS if (base / form).is_dir()), base)
    return [folder for folder in folders_in(start) if re.fullmatch(r"patient\d+", folder.name)]


def _recognise(root: Path) -> bool:
    return any(image_file(folder, stem) for folder in _patients(root) for stem in ("FLAIR", "consensus_gt"))


def _discover(root: Path) -> FoundCases:
    return collect_cases(
        ExpectedFiles(folder.name, folder.name, folder, (STEMS,), "consensus_gt", "brainmask")
        for folder in _patients(root)
    )


LAYOUT = Layout(
    name="ljubljana",
    title="Ljubljana cross-sectional set, MS lesions in one visit with four contrasts",
    looks_like="[cross_sectional/][coregistered/]patient01/{FLAIR,T1W,T1WKS,T2W,consensus_gt,brainmask}.nii.gz",
    recognise=_recognise,
    discover=_discover,
    targets=(Target("lesions", "MS lesions, consensus of the raters", published),),
    contrasts=("flair", "t1", "t1_contrast", "t2"),
    group=LayoutGroup.CROSS_SECTIONAL,
)

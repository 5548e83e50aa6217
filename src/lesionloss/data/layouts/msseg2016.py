"""MSSEG 2016: MS lesions in one visit with five contrasts (Commowick et al., Scientific Reports 2018).

The preprocessed images, where all contrasts share a grid, and the consensus of the seven raters. Cases are named by
centre and patient, since each centre numbers its own patients.
"""

from collections.abc import Iterator
from pathlib import Path

from lesionloss.data.layouts.find_files import ExpectedFiles, collect_cases, folders_in
from lesionloss.data.layouts.records import FoundCases, Layout, LayoutGroup, Target, published

STEMS = ("FLAIR", "T1", "GADO", "T2", "DP")
PARTS = ("Training", "Testing")


def _patients(root: Path) -> Iterator[Path]:
    """`Center_XX/Patient_YY` in `root`, or in the folders `Training` and `Testing` of it."""
    for start in [*(root / part for part in PARTS if (root / part).is_dir())] or [root]:
        for centre in folders_in(start):
            if centre.name.startswith("Center_"):
                yield from (folder for folder in folders_in(centre) if folder.name.startswith("Patient_"))


def _recognise(root: Path) -> bool:
    return any(
        (folder / name).is_dir() for folder in _patients(root) for name in ("Preprocessed_Data", "Raw_Data", "Masks")
    )


def _name(root: Path, folder: Path) -> str:
    """Centre and patient; the part too where both parts are there."""
    both = all((root / part).is_dir() for part in PARTS)
    return "_".join(folder.parts[-3 if both else -2 :])


def _discover(root: Path) -> FoundCases:
    return collect_cases(
        ExpectedFiles(
            name=_name(root, folder),
            patient=_name(root, folder),
            folder=folder,
            visits=(tuple(f"Preprocessed_Data/{stem}_preprocessed" for stem in STEMS),),
            reference="Masks/Consensus",
            brain="Masks/Brain_Mask",
        )
        for folder in _patients(root)
    )


LAYOUT = Layout(
    name="msseg2016",
    title="MSSEG 2016, MS lesions in one visit with five contrasts",
    looks_like=(
        "[Training/]Center_01/Patient_01/{Preprocessed_Data/{FLAIR,T1,GADO,T2,DP}_preprocessed,"
        "Masks/{Consensus,Brain_Mask}}.nii.gz"
    ),
    recognise=_recognise,
    discover=_discover,
    targets=(Target("lesions", "MS lesions, consensus of the raters", published),),
    contrasts=("flair", "t1", "t1_contrast", "t2", "pd"),
    group=LayoutGroup.CROSS_SECTIONAL,
)

"""MSSEG-2: new lesions between two FLAIR visits (Commowick et al., MICCAI 2021 challenge).

A folder per patient, all of them under `training` or directly in the named folder. The challenge has no brain masks; a
`brain_mask.nii.gz` beside the visits is used where there is one. Some patients have no new lesion.
"""

from pathlib import Path

from lesionloss.data.layouts.find_files import discover_in, folders_in, image_file
from lesionloss.data.layouts.records import FoundCases, Layout, LayoutGroup, Target, published

VISITS = ("flair_time01_on_middle_space", "flair_time02_on_middle_space")


def _patients(root: Path) -> list[Path]:
    return folders_in(root / "training" if (root / "training").is_dir() else root)


def _recognise(root: Path) -> bool:
    return any(image_file(folder, visit) for folder in _patients(root) for visit in VISITS)


def _discover(root: Path) -> FoundCases:
    return discover_in(_patients(root), VISITS, reference="ground_truth", brain="brain_mask", brain_needed=False)


LAYOUT = Layout(
    name="msseg2",
    title="MSSEG-2, new MS lesions between two FLAIR visits",
    looks_like="[training/]013/{flair_time01_on_middle_space,flair_time02_on_middle_space,ground_truth}.nii.gz",
    recognise=_recognise,
    discover=_discover,
    targets=(Target("new_lesions", "new lesions, as published", published),),
    group=LayoutGroup.LONGITUDINAL,
    visits="2",
)

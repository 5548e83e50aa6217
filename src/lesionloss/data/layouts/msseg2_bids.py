"""MSSEG-2 in BIDS form, as the ivadomed team's curation script writes it; the images are those of the challenge.

A visit per session, the consensus under `derivatives/labels`. There is no brain mask.
"""

from pathlib import Path

from lesionloss.data.layouts.find_files import ExpectedFiles, collect_cases, folders_in, image_file
from lesionloss.data.layouts.records import FoundCases, Layout, LayoutGroup, Target, published

SESSIONS = ("ses-01", "ses-02")
LABELS = Path("derivatives", "labels")


def _patients(root: Path) -> list[str]:
    """Every patient with images or labels."""
    folders = [*folders_in(root), *folders_in(root / LABELS)]
    return sorted({folder.name for folder in folders if folder.name.startswith("sub-")})


def _reference(patient: str) -> str:
    return f"{LABELS.as_posix()}/{patient}/ses-02/anat/{patient}_ses-02_FLAIR_seg-lesion"


def _recognise(root: Path) -> bool:
    return any(image_file(root, _reference(patient)) for patient in _patients(root))


def _discover(root: Path) -> FoundCases:
    return collect_cases(
        ExpectedFiles(
            name=patient,
            patient=patient,
            folder=root,
            visits=tuple((f"{patient}/{session}/anat/{patient}_{session}_FLAIR",) for session in SESSIONS),
            reference=_reference(patient),
        )
        for patient in _patients(root)
    )


LAYOUT = Layout(
    name="msseg2-bids",
    title="MSSEG-2 in BIDS form, new MS lesions between two FLAIR visits",
    looks_like=(
        "sub-013/ses-0{1,2}/anat/sub-013_ses-0{1,2}_FLAIR.nii.gz, "
        "derivatives/labels/sub-013/ses-02/anat/sub-013_ses-02_FLAIR_seg-lesion.nii.gz"
    ),
    recognise=_recognise,
    discover=_discover,
    targets=(Target("new_lesions", "new lesions, as published", published),),
    group=LayoutGroup.LONGITUDINAL,
    visits="2",
)

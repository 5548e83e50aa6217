"""BIDS derivatives: FLAIR images with lesion masks named `..._label-lesion..._mask` (BIDS 1.10, derivatives, masks).

Images and masks may lie in the folder itself or under `derivatives/PIPELINE`. Masks may also end in `_dseg`. A case per
mask: its session is the last visit, the session before it (if there is one) the first. An image belongs to a mask if
both have the same `space`. Where a session has several lesion masks, use a table of files (layout `csv`).
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lesionloss.data.layouts.find_files import folders_in, image_file, stems_in
from lesionloss.data.layouts.records import CaseFiles, FoundCases, Incomplete, Layout, LayoutGroup, Target, published

IMAGE = "FLAIR"
MASKS = ("mask", "dseg")
LESION = re.compile(r"lesions?|wmh", re.IGNORECASE)


@dataclass(frozen=True)
class _File:
    """A file with what its name says: the values of its entities and its last part."""

    path: Path
    entities: dict[str, str]
    suffix: str

    @property
    def space(self) -> str:
        return self.entities.get("space", "")

    @property
    def session(self) -> str:
        return self.entities.get("ses", "")


def _trees(root: Path) -> list[Path]:
    return [root, *folders_in(root / "derivatives")]


def _files(tree: Path) -> Iterator[_File]:
    for patient in folders_in(tree):
        if not patient.name.startswith("sub-"):
            continue
        sessions = [folder for folder in folders_in(patient) if folder.name.startswith("ses-")]
        for folder in (patient / "anat", *(session / "anat" for session in sessions)):
            for stem in stems_in(folder):
                path = image_file(folder, stem)
                *pairs, suffix = stem.split("_")
                if path is not None and all("-" in pair for pair in pairs):
                    yield _File(path, dict(pair.split("-", 1) for pair in pairs), suffix)


def _is_lesion(file: _File) -> bool:
    return file.suffix in MASKS and LESION.fullmatch(file.entities.get("label", "")) is not None


def _is_brain(file: _File) -> bool:
    return file.suffix == "mask" and "brain" in (file.entities.get("label"), file.entities.get("desc"))


def _recognise(root: Path) -> bool:
    return any(_is_lesion(file) for tree in _trees(root) for file in _files(tree))


def _discover(root: Path) -> FoundCases:
    by_patient: dict[str, list[_File]] = defaultdict(list)
    for tree in _trees(root):
        for file in _files(tree):
            by_patient[file.entities.get("sub", "")].append(file)
    found = [each for patient in sorted(by_patient) for each in _cases(patient, by_patient[patient])]
    cases = [each for each in found if isinstance(each, CaseFiles)]
    incomplete = [each for each in found if isinstance(each, Incomplete)]
    most = max((len(case.visits) for case in cases), default=0)
    for case in [case for case in cases if len(case.visits) < most]:
        cases.remove(case)
        # The first session of patients who have more is no loss: it stands in the case of the second.
        if not any(other.patient == case.patient for other in cases):
            incomplete.append(Incomplete(case.name, "one session only, where others have two"))
    return FoundCases(tuple(cases), tuple(incomplete))


def _cases(patient: str, files: list[_File]) -> Iterator[CaseFiles | Incomplete]:
    name = f"sub-{patient}"
    images = [file for file in files if file.suffix == IMAGE]
    masks = [file for file in files if _is_lesion(file)]
    if not masks:
        yield Incomplete(name, "no lesion mask (..._label-lesion_mask.nii.gz)")
    for session in sorted({mask.session for mask in masks}):
        case = f"{name}_ses-{session}" if session else name
        here = [mask for mask in masks if mask.session == session]
        if len(here) > 1:
            names = ", ".join(mask.path.name for mask in here)
            yield Incomplete(
                case, f"more than one lesion mask ({names}); a table of files (layout csv) can name the right one"
            )
        else:
            yield _case(case, name, here[0], images, [file for file in files if _is_brain(file)])


def _case(case: str, patient: str, mask: _File, images: list[_File], brains: list[_File]) -> CaseFiles | Incomplete:
    """The case of one mask: its session and the one before, from images of the mask's space."""
    fitting = [image for image in images if image.space == mask.space]
    earlier = sorted({image.session for image in fitting if image.session < mask.session})
    sessions = [*earlier[-1:], mask.session]
    visits: list[tuple[Path, ...]] = []
    for session in sessions:
        of_session = [image.path for image in fitting if image.session == session]
        if len(of_session) != 1:
            where = f" of ses-{session}" if session else ""
            space = f" in space {mask.space}" if mask.space else " without a space in its name"
            what = "no FLAIR" if not of_session else "more than one FLAIR"
            return Incomplete(case, f"{what}{where}{space}, as {mask.path.name} needs")
        visits.append((of_session[0],))
    brain = [file.path for file in brains if (file.session, file.space) == (mask.session, mask.space)]
    return CaseFiles(case, patient, tuple(visits), mask.path, brain[0] if brain else None)


LAYOUT = Layout(
    name="bids",
    title="BIDS derivatives, FLAIR with lesion masks",
    looks_like=(
        "sub-01/[ses-01/]anat/sub-01[_ses-01][_space-S]_FLAIR.nii.gz, "
        "[derivatives/NAME/]sub-01/[ses-01/]anat/sub-01[_ses-01][_space-S]_label-lesion_mask.nii.gz"
    ),
    recognise=_recognise,
    discover=_discover,
    targets=(Target("lesions", "the lesion masks", published),),
    group=LayoutGroup.GENERAL,
    visits="1 or 2",
)

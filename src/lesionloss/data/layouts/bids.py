"""BIDS derivatives: FLAIR images with lesion masks named `..._label-lesion..._mask` (BIDS 1.10, derivatives, masks).

Images and masks may lie in the folder itself or under `derivatives/PIPELINE`. Masks may also end in `_dseg` or `_seg`,
also after the contrast (`..._FLAIR_label-lesion_seg`). A case per mask: its session is the last visit, the session
before it (if there is one) the first. Sessions are ordered by `acq_time` in `sub-01_sessions.tsv`, or else by the
number in their names (`1, 2, 10`; `M0, M6, M12`); a patient whose sessions have neither is left out, with the reason.
An image belongs to a mask if both have the same `space`. Where a session has several lesion masks, use a table of files
(layout `csv`).
"""

import csv
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from lesionloss.core.errors import DataError
from lesionloss.data.layouts.find_files import folders_in, image_file, stems_in
from lesionloss.data.layouts.records import CaseFiles, FoundCases, Incomplete, Layout, LayoutGroup, Target, published

IMAGE = "FLAIR"
MASKS = ("mask", "dseg", "seg")
LESION = re.compile(r"lesions?|wmh", re.IGNORECASE)


@dataclass(frozen=True)
class _File:
    """A file with what its name says: the values of its entities, its last part, and a contrast before that."""

    path: Path
    entities: dict[str, str]
    suffix: str
    contrast: str = ""

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
                *parts, suffix = stem.split("_")
                plain = [part for part in parts if "-" not in part]
                if path is not None and len(plain) <= 1:
                    entities = dict(part.split("-", 1) for part in parts if "-" in part)
                    yield _File(path, entities, suffix, *plain)


def _is_lesion(file: _File) -> bool:
    label = LESION.fullmatch(file.entities.get("label", ""))
    return file.suffix in MASKS and file.contrast in ("", IMAGE) and label is not None


def _is_brain(file: _File) -> bool:
    return file.suffix == "mask" and "brain" in (file.entities.get("label"), file.entities.get("desc"))


def _recognise(root: Path) -> bool:
    return any(_is_lesion(file) for tree in _trees(root) for file in _files(tree))


def _discover(root: Path) -> FoundCases:
    by_patient: dict[str, list[_File]] = defaultdict(list)
    for tree in _trees(root):
        for file in _files(tree):
            by_patient[file.entities.get("sub", "")].append(file)
    found = [each for patient in sorted(by_patient) for each in _cases(root, patient, by_patient[patient])]
    cases = [each for each in found if isinstance(each, CaseFiles)]
    incomplete = [each for each in found if isinstance(each, Incomplete)]
    most = max((len(case.visits) for case in cases), default=0)
    # The first session of patients who have more is no loss: it is the first visit of the case of the second.
    first_visits = {case.visits[0] for case in cases if len(case.visits) == most}
    for case in [case for case in cases if len(case.visits) < most]:
        cases.remove(case)
        if case.visits[-1] not in first_visits:
            incomplete.append(Incomplete(case.name, "one session only, where others have two"))
    return FoundCases(tuple(cases), tuple(incomplete))


def _cases(root: Path, patient: str, files: list[_File]) -> Iterator[CaseFiles | Incomplete]:
    name = f"sub-{patient}"
    images = [file for file in files if file.suffix == IMAGE and not file.contrast]
    masks = [file for file in files if _is_lesion(file)]
    if not masks:
        yield Incomplete(name, "no lesion mask (..._label-lesion_mask.nii.gz)")
        return
    found = {file.session for file in (*images, *masks)}
    try:
        sessions, why = _in_time(found, _times(root, name))
    except ValueError as error:
        yield Incomplete(name, str(error))
        return
    for session in (session for session in sessions if session in {mask.session for mask in masks}):
        case = f"{name}_ses-{session}" if session else name
        here = [mask for mask in masks if mask.session == session]
        if len(here) > 1:
            names = ", ".join(mask.path.name for mask in here)
            yield Incomplete(
                case, f"more than one lesion mask ({names}); a table of files (layout csv) can name the right one"
            )
        else:
            before = sessions[: sessions.index(session)]
            brains = [file for file in files if _is_brain(file)]
            yield _case(CaseFiles(case, name, (), here[0].path, None, ordered_by=why), here[0], before, images, brains)


def _times(root: Path, patient: str) -> dict[str, str]:
    """The acquisition times of a patient's sessions by their labels, from the first sessions.tsv of the trees."""
    paths = (tree / patient / f"{patient}_sessions.tsv" for tree in _trees(root))
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        return {}
    try:
        rows = list(csv.DictReader(path.read_text(encoding="utf-8-sig").splitlines(), delimiter="\t"))
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{path}: not a table with tabs ({error}); correct it or remove it") from error
    times = {(row.get("session_id") or "").removeprefix("ses-"): (row.get("acq_time") or "").strip() for row in rows}
    return {session: time for session, time in times.items() if time not in ("", "n/a")}


def _in_time(sessions: set[str], times: dict[str, str]) -> tuple[list[str], str]:
    """Sessions in the order of time, and by what they were ordered. Raises ValueError where nothing tells the order."""
    names = sorted(sessions)
    if len(names) == 1:
        return names, ""
    shown = ", ".join(f"ses-{name}" if name else "files without a session" for name in names)
    remedy = "give an acq_time for each in sub-..._sessions.tsv, or use a table of files (layout csv)"
    key: dict[str, Any]
    if all(name in times for name in names):
        why = "acq_time in sessions.tsv"
        try:
            key = {name: datetime.fromisoformat(times[name]).replace(tzinfo=None) for name in names}
        except ValueError as error:
            raise ValueError(f"acq_time in sessions.tsv: {error}; write dates as 2024-12-31T12:00:00") from None
    else:
        why = "number in the name"
        parts = {name: re.split(r"(\d+)", name) for name in names}
        if "" in sessions or len({tuple(part[::2]) for part in parts.values()}) > 1:
            raise ValueError(f"the order in time of {shown} can't be told from their names; {remedy}")
        key = {name: [int(number) for number in part[1::2]] for name, part in parts.items()}
    ordered = sorted(names, key=lambda name: key[name])
    if any(key[one] == key[other] for one, other in pairwise(ordered)):
        raise ValueError(f"two of the sessions {shown} have one {why}; {remedy}")
    return ordered, why


def _case(
    begun: CaseFiles, mask: _File, before: list[str], images: list[_File], brains: list[_File]
) -> CaseFiles | Incomplete:
    """The case of one mask: its session and the last one before, from images of the mask's space."""
    fitting = [image for image in images if image.space == mask.space]
    earlier = [session for session in before if any(image.session == session for image in fitting)]
    visits: list[tuple[Path, ...]] = []
    for session in (*earlier[-1:], mask.session):
        of_session = [image.path for image in fitting if image.session == session]
        if len(of_session) != 1:
            where = f" of ses-{session}" if session else ""
            space = f" in space {mask.space}" if mask.space else " without a space in its name"
            what = "no FLAIR" if not of_session else "more than one FLAIR"
            return Incomplete(begun.name, f"{what}{where}{space}, as {mask.path.name} needs")
        visits.append((of_session[0],))
    brain = [file.path for file in brains if (file.session, file.space) == (mask.session, mask.space)]
    return replace(begun, visits=tuple(visits), brain=brain[0] if brain else None)


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

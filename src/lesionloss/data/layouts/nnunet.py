"""The raw format of nnU-Net v2: `dataset.json` defines the channels and labels; LongiSeg adds `patientsTr.json`.

Channels are contrasts of one visit, unless all their names begin with `baseline` or `followup` (`baseline FLAIR`,
`followup FLAIR`): then they are two visits. With `patientsTr.json` each scan is a visit: a scan and the one before it
make a case, with the reference of the later scan. Without that file every case is a patient of its own, which is wrong
where one person has several. The label `ignore` is ignored; regions (lists of labels) and files other than NIfTI are
refused. Only the training part is read: the test part has no labels.
"""

import itertools
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from lesionloss.core.errors import DataError
from lesionloss.data.layouts.find_files import NIFTI_ENDINGS, ExpectedFiles, collect_cases, stems_in
from lesionloss.data.layouts.records import (
    CaseFiles,
    FoundCases,
    Incomplete,
    LabelRule,
    Layout,
    LayoutGroup,
    Target,
    published,
)

DATASET, PATIENTS = "dataset.json", "patientsTr.json"
IMAGES, LABELS = "imagesTr", "labelsTr"
VISITS = ("baseline", "followup")
CHANNEL = re.compile(r"(.+)_\d{4}")
MOST_CLASSES = 255


def _recognise(root: Path) -> bool:
    return (root / DATASET).is_file() and any(CHANNEL.fullmatch(stem) for stem in stems_in(root / IMAGES))


def _discover(root: Path) -> FoundCases:
    described = _json(root / DATASET)
    channels, rule = _channels(root / DATASET, described), _rule(root / DATASET, described)
    ending = described.get("file_ending", ".nii.gz")
    if ending not in NIFTI_ENDINGS:
        raise DataError(f"{root / DATASET}: file_ending {ending!r}; only .nii.gz and .nii are read: convert the images")
    visits, contrasts = _visits(channels)
    wanted = list(_scans(root, visits))
    found = collect_cases(wanted, ending=ending)
    if (root / PATIENTS).is_file():
        patients = _patients(root / PATIENTS, {scan.name for scan in wanted})
        found = _paired(found, patients) if len(visits) == 1 else _owned(found, patients)
    return replace(found, labels=rule, contrasts=contrasts)


def _scans(root: Path, visits: tuple[tuple[int, ...], ...]) -> Iterator[ExpectedFiles]:
    images = {match[1] for stem in stems_in(root / IMAGES) if (match := CHANNEL.fullmatch(stem))}
    for name in sorted(images | set(stems_in(root / LABELS))):
        stems = tuple(tuple(f"{IMAGES}/{name}_{channel:04d}" for channel in visit) for visit in visits)
        yield ExpectedFiles(name, name, root, stems, f"{LABELS}/{name}")


def _paired(found: FoundCases, patients: dict[str, list[str]]) -> FoundCases:
    """A case for each scan that has one before it; patients with a single scan are incomplete."""
    scans = {scan.name: scan for scan in found.cases}
    cases: list[CaseFiles] = []
    incomplete = list(found.incomplete)
    for patient, names in patients.items():
        if len(names) < 2:
            incomplete.append(Incomplete(patient, f"{PATIENTS} names one scan only, and change needs two"))
        for before, after in itertools.pairwise(names):
            if before in scans and after in scans:
                earlier, later = scans[before], scans[after]
                cases.append(CaseFiles(after, patient, (*earlier.visits, *later.visits), later.reference, None))
    return FoundCases(tuple(cases), tuple(incomplete))


def _owned(found: FoundCases, patients: dict[str, list[str]]) -> FoundCases:
    """The cases of channels that are visits already, each with its patient."""
    owners = {name: patient for patient, names in patients.items() for name in names}
    return replace(found, cases=tuple(replace(case, patient=owners.get(case.name, case.name)) for case in found.cases))


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise DataError(f"{path}: no such file; it says what the channels and labels mean")
    try:
        stored = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: not valid JSON ({error}); correct or write it again") from error
    if not isinstance(stored, dict):
        raise DataError(f"{path}: expected an object in braces, got {type(stored).__name__}")
    return stored


def _channels(path: Path, described: dict[str, Any]) -> tuple[str, ...]:
    named = described.get("channel_names")
    if not isinstance(named, dict) or sorted(named) != sorted(map(str, range(len(named)))) or not named:
        raise DataError(f'{path}: channel_names must name the channels from "0", e.g. {{"0": "FLAIR"}}; got {named!r}')
    return tuple(str(named[str(number)]) for number in range(len(named)))


def _visits(channels: tuple[str, ...]) -> tuple[tuple[tuple[int, ...], ...], tuple[str, ...]]:
    """The channel numbers of each visit, and the names of its contrasts."""
    split = [re.fullmatch(rf"({'|'.join(VISITS)})[ _-]*(.*)", name, re.IGNORECASE) for name in channels]
    by_visit: dict[str, dict[str, int]] = {visit: {} for visit in VISITS}
    for number, match in enumerate(split):
        if match:
            by_visit[match[1].lower()][match[2].lower() or "image"] = number
    first, second = by_visit.values()
    if len(first) + len(second) == len(channels) and first.keys() == second.keys():
        return (tuple(first.values()), tuple(second[name] for name in first)), tuple(first)
    return (tuple(range(len(channels))),), tuple(name.lower() for name in channels)


def _rule(path: Path, described: dict[str, Any]) -> LabelRule:
    labels = described.get("labels")
    if not isinstance(labels, dict) or not all(type(value) is int for value in labels.values()):
        hint = "; labels of regions (lists of values) are not read" if isinstance(labels, dict) else ""
        raise DataError(f'{path}: labels must be like {{"background": 0, "lesion": 1}}{hint}; got {labels!r}')
    if labels.get("background") != 0:
        raise DataError(f"{path}: labels must hold background with the value 0; got {labels!r}")
    ignored = tuple(value for name, value in labels.items() if name == "ignore")
    named = sorted((value, name) for name, value in labels.items() if name not in ("background", "ignore"))
    if not named or len({value for value, _ in named} | {0, *ignored}) != len(labels) or len(named) > MOST_CLASSES:
        raise DataError(
            f"{path}: labels must name 1 to {MOST_CLASSES} classes, each with its own value; got {labels!r}"
        )
    values = tuple((value, number) for number, (value, _) in enumerate(named, start=1))
    return LabelRule(tuple(name for _, name in named), values, ignored)


def _patients(path: Path, scans: set[str]) -> dict[str, list[str]]:
    """The scans of every patient in the order of time; scans without files and those of two patients are refused."""
    patients = _json(path)
    owners: dict[str, str] = {}
    for patient, names in patients.items():
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise DataError(f"{path}: {patient}: expected a list of scans in the order of time, got {names!r}")
        for name in names:
            if name not in scans:
                raise DataError(f"{path}: {patient}: no files of the scan {name!r} in {IMAGES} or {LABELS}")
            if owners.setdefault(name, patient) != patient:
                raise DataError(f"{path}: the scan {name!r} belongs to {owners[name]} and to {patient}; correct it")
        if len(set(names)) != len(names):
            raise DataError(f"{path}: {patient}: a scan is named twice; correct the file")
    return patients


LAYOUT = Layout(
    name="nnunet",
    title="nnU-Net raw dataset",
    looks_like="{dataset.json,imagesTr/CASE_0000.nii.gz,labelsTr/CASE.nii.gz[,patientsTr.json]}",
    recognise=_recognise,
    discover=_discover,
    targets=(Target("labels", "the labels of dataset.json", published),),
    contrasts=(),
    group=LayoutGroup.GENERAL,
    visits="1 or 2",
)

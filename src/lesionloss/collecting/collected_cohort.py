"""The cohort of a collected run: the reference and image of each case, as prepared cases on their whole grids."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from lesionloss.collecting.case_arrays import read_reference
from lesionloss.collecting.found_predictions import ClassLabels, Prediction, digest_of
from lesionloss.collecting.side_by_side import Progress, side_by_side
from lesionloss.core.errors import DataError
from lesionloss.core.files import write_text
from lesionloss.core.version import __version__
from lesionloss.data.cohort_index import INDEX, CaseEntry, CohortIndex
from lesionloss.data.layouts.records import Incomplete
from lesionloss.data.prepared import load_prepared, load_record, save_prepared
from lesionloss.runs.run_records import LeftOut

INDEX_VERSION = 1


@dataclass(frozen=True, eq=False)
class _CaseTask:
    prediction: Prediction
    labels: ClassLabels
    path: Path


def write_cohort(
    folder: Path,
    predictions: Sequence[Prediction],
    labels: ClassLabels,
    left_out: Sequence[LeftOut],
    jobs: int,
    progress: Progress,
) -> tuple[dict[str, str], list[LeftOut]]:
    """Write a prepared case for each case, and their index. Cases that are there already are not read again.

    Returns:
        The digest of each case that can be used, and those whose reference or image can't be read.
    """
    firsts = {each.case: each for each in reversed(predictions)}
    tasks = [_CaseTask(firsts[name], labels, folder / f"{name}.npz") for name in sorted(firsts)]
    folder.mkdir(parents=True, exist_ok=True)
    entries, unread = [], []
    for task, made in zip(tasks, side_by_side(_write_case, tasks, "references", jobs, progress), strict=True):
        if isinstance(made, str):
            unread.append(LeftOut(task.prediction.case, made))
        else:
            entries.append(made)
    index = CohortIndex(
        layout="collected",
        target="",
        version=INDEX_VERSION,
        preparation={},
        cases=tuple(entries),
        incomplete=tuple(Incomplete(each.case, each.reason) for each in (*left_out, *unread)),
    )
    write_text(folder / INDEX, json.dumps(asdict(index), indent=2) + "\n")
    return {entry.name: entry.content_sha256 for entry in entries}, unread


def _write_case(task: _CaseTask) -> CaseEntry | str:
    """Write a case unless it is there; why it can't be read, where it can't."""
    prediction = task.prediction
    digests = {"reference": digest_of(prediction.reference)}
    digests |= {"image": digest_of(prediction.image)} if prediction.image is not None else {}
    made = {"collected": __version__, "sha256": digests, "patient": prediction.patient, "labels": asdict(task.labels)}
    if not _is_there(task.path, made):
        try:
            save_prepared(read_reference(prediction, task.labels), task.path, made)
        except DataError as error:
            return str(error)
    case = load_prepared(task.path)
    voxels = int(case.lesion.sum())
    return CaseEntry(
        name=case.name,
        patient=case.patient,
        spacing_mm=case.spacing_mm,
        shape=case.shape,
        reference_voxels=voxels,
        reference_mm3=voxels * math.prod(case.spacing_mm),
        reference_outside_brain=0,
        brain="whole image",
        sha256=digests,
        content_sha256=case.content_sha256,
    )


def _is_there(path: Path, made: Mapping[str, object]) -> bool:
    try:
        return path.is_file() and load_record(path) == made
    except DataError:
        return False

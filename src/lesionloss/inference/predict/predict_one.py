"""One case: read, prepare, predict, write. A case that is there already is not done again."""

import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesionloss.core.errors import DataError, UsageError
from lesionloss.core.files import atomic_files, sha256_of
from lesionloss.data.dicom import series_digest
from lesionloss.data.dicom_headers import is_series
from lesionloss.inference import ChosenMode, lesion_probability
from lesionloss.inference.predict.lesion_rows import FoundLesion, find_lesions_in
from lesionloss.inference.predict.output_files import OutputFiles
from lesionloss.inference.predict.plausibility import of_lesions
from lesionloss.inference.predict.predict_in_memory import PredictSettings, predict_ready
from lesionloss.inference.predict.predict_inputs import CaseSource
from lesionloss.inference.predict.replay_preparation import ReadyCase, make_ready
from lesionloss.inference.predict.write_results import (
    LesionRule,
    count_sentence,
    write_picture,
    write_record,
    write_results,
)
from lesionloss.networks.bundle import Bundle

UNFINISHED = {"finished": False}  # in the record while files are replaced


@dataclass(frozen=True)
class PredictedCase:
    """The results of a case.

    Args:
        name: Of the case.
        files: Where the results are.
        lesions: Those that were found, the largest first.
        count: How many, and their volume, as text.
        mode: The inference mode, why it was chosen, and its memory, as text; empty for a case that was there already.
        notes: What somebody who looks at the results should know, one line each.
        seconds: From reading to writing.
    """

    name: str
    files: OutputFiles
    lesions: tuple[FoundLesion, ...]
    count: str
    mode: str
    notes: tuple[str, ...]
    seconds: float


@dataclass(frozen=True)
class FoundCase:
    """A predicted case: what determines the result, the prepared case, its probabilities (L, *space), and the mode."""

    inputs: dict[str, Any]
    ready: ReadyCase
    probabilities: NDArray[np.float32]
    chosen: ChosenMode
    begun: float


def predict_case(bundle: Bundle, source: CaseSource, files: OutputFiles, settings: PredictSettings) -> PredictedCase:
    """Predict one case and write its files, the record last. A case with the same record is not done again.

    Raises:
        DataError: for files that can't be used.
        UsageError: where other results are in the way and `force` is not set.
    """
    return write_case(bundle, source, files, settings, predict_unwritten(bundle, source, files, settings))


def predict_unwritten(
    bundle: Bundle, source: CaseSource, files: OutputFiles, settings: PredictSettings
) -> FoundCase | None:
    """Read, prepare and predict a case; None where the same results are there.

    Raises:
        DataError: As `predict_case`.
        UsageError: As `predict_case`.
    """
    begun = time.perf_counter()
    inputs = _inputs(bundle, source, settings)
    if not settings.force and _is_done(files, inputs):
        return None
    ready = make_ready(source, bundle.record, settings.register, settings.raw)
    if ready.refusal and not settings.accept_implausible:
        raise DataError(f"{source.name}: {ready.refusal}; --accept-implausible predicts it, marked as such")
    return FoundCase(inputs, ready, *predict_ready(bundle, ready, settings), begun)


def write_case(
    bundle: Bundle, source: CaseSource, files: OutputFiles, settings: PredictSettings, found: FoundCase | None
) -> PredictedCase:
    """Decide what is lesion and write the files of a case."""
    if found is None:
        return PredictedCase(source.name, files, (), "", "", ("there already, from the same files and settings",), 0.0)
    inputs, ready, record = found.inputs, found.ready, bundle.record
    rule = LesionRule(
        inputs["threshold"], inputs["min_volume_mm3"], settings.connectivity, inputs.get("decision", "threshold")
    )
    own = np.stack([ready.on_own_grid(part) for part in found.probabilities])
    mask = rule.mask(own, ready.voxel_mm3)
    lesions = find_lesions_in(
        mask,
        lesion_probability(own),
        ready.affine,
        record.classes,
        voxel_mm3=ready.voxel_mm3,
        connectivity=rule.connectivity,
    )
    marked_mm3 = float(np.count_nonzero(mask)) * ready.voxel_mm3
    ready = replace(ready, findings=(*ready.findings, *of_lesions(ready.case, marked_mm3, len(lesions))))
    count = count_sentence(lesions, ready.is_pair)
    unfinished = json.dumps(inputs | UNFINISHED) + "\n"
    with atomic_files(files.record.parent, last=files.record.name, meanwhile=unfinished) as folder:
        new = files.inside(folder)
        write_results(new, ready, own, mask, lesions, record.classes)
        model = f"{bundle.name}: {record.network}" if bundle.name else record.network
        write_picture(new.sheet, ready, found.probabilities, rule, f"{ready.case.name}: {count}", model)
        seconds = time.perf_counter() - found.begun
        write_record(new.record, inputs, record, ready, found.chosen, lesions, seconds)
    return PredictedCase(source.name, files, tuple(lesions), count, str(found.chosen), ready.remarks, seconds)


def _inputs(bundle: Bundle, source: CaseSource, settings: PredictSettings) -> dict[str, Any]:
    """Everything that determines the result, as plain values; a threshold of the user's replaces the arg max."""
    record = bundle.record
    by_argmax = record.decision == "argmax" and settings.threshold is None
    own = {"decision": "argmax"} if by_argmax else {}
    given: dict[str, bool | float | None] = {
        "raw": settings.raw,
        "accept_implausible": settings.accept_implausible or None,
        "depth_mm": record.depth_mm or None,
    }
    return (
        own
        | {key: value for key, value in given.items() if value is not None}
        | {
            "model": {"network": record.network, "weights_sha256": record.weights_sha256},
            "files": [_identity(path) for path in source.paths() if path.is_file() or is_series(path)],
            "threshold": record.threshold if settings.threshold is None else settings.threshold,
            "min_volume_mm3": record.min_volume_mm3 if settings.min_volume_mm3 is None else settings.min_volume_mm3,
            "connectivity": settings.connectivity,
            "register": settings.register,
            "requested_mode": "" if settings.mode is None else str(settings.mode),
            "mirrored": list(settings.mirrored),
            "precision": settings.precision,
        }
    )


def _identity(path: Path) -> list[str]:
    """The name and the digest of a file; a DICOM series, whose folder may be named after a patient, has no name."""
    return ["DICOM series", series_digest(path)] if is_series(path) else [path.name, sha256_of(path)]


def _is_done(files: OutputFiles, inputs: dict[str, Any]) -> bool:
    """True where the same results exist. Raises UsageError where other files are in the way."""
    try:
        stored = json.loads(files.record.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        stored = None
    same = isinstance(stored, dict) and all(stored.get(key) == value for key, value in inputs.items())
    if same:
        return "finished" not in stored and all(path.is_file() for path in files.all())
    in_the_way = [path for path in files.all() if path.exists()]
    if in_the_way:
        raise UsageError(
            f"{in_the_way[0]} exists, made from other files or settings; choose another --out, or add --force to "
            "replace it"
        )
    return False

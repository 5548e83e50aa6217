"""Predict one case after the other: read, prepare, predict, write. A case that is there already is not done again."""

import contextlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lesionloss.core.argument_types import with_checked_types
from lesionloss.core.errors import LesionLossError, UsageError
from lesionloss.core.files import atomic_files, sha256_of
from lesionloss.core.locks import POLL_SECONDS, acquire_lock
from lesionloss.inference import lesion_probability
from lesionloss.inference.predict.lesion_rows import FoundLesion, find_lesions_in
from lesionloss.inference.predict.output_files import (
    OutputFiles,
    bids_output_files,
    describe_dataset,
    plain_output_files,
)
from lesionloss.inference.predict.predict_in_memory import PredictSettings, predict_ready
from lesionloss.inference.predict.predict_inputs import CaseSource
from lesionloss.inference.predict.replay_preparation import make_ready
from lesionloss.inference.predict.write_results import (
    LesionRule,
    count_sentence,
    write_picture,
    write_record,
    write_results,
)
from lesionloss.networks.bundle import Bundle

Progress = Callable[[str, int, int], None]
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


@with_checked_types
def predict_cases(
    bundle: Bundle,
    sources: Sequence[CaseSource],
    out: Path,
    settings: PredictSettings,
    *,
    folder_each: bool,
    bids: bool = False,
    progress: Progress | None = None,
) -> tuple[list[PredictedCase], list[str]]:
    """Predict all cases; several processes with the same `out` share them.

    Args:
        bundle: The trained network with its record.
        sources: The cases.
        out: Folder for the results.
        settings: Threshold, inference mode and so on.
        folder_each: Whether each case gets a folder of its own in `out`.
        bids: Whether the results get names of BIDS derivatives instead.
        progress: Called after each case with its name, its number from 1 on, and the number of all.

    Returns:
        The predicted cases, and a line for each that failed; one that fails does not stop the others.

    Raises:
        UsageError: if two cases would get the same names, or other files are in the way and `force` is not set.
        LesionLossError: that of the case, if there is only one.
    """
    outputs = [_output_files(source, out, folder_each, bids) for source in sources]
    _check_distinct(sources, outputs)
    if bids:
        describe_dataset(out)
    bundle.network.to(settings.device)
    predicted: dict[str, PredictedCase] = {}
    failures: list[str] = []
    waiting = list(zip(sources, outputs, strict=True))
    while waiting:
        elsewhere = []  # another process works on them
        for source, files in waiting:
            lock = acquire_lock(files.lock)
            if lock is None:
                elsewhere.append((source, files))
                continue
            try:
                with lock:
                    predicted[source.name] = predict_case(bundle, source, files, settings)
            except LesionLossError as error:
                with contextlib.suppress(OSError):  # where it holds other files
                    files.record.parent.rmdir()
                if len(sources) == 1:
                    raise
                failures.append(str(error) if source.name in str(error) else f"{source.name}: {error}")
            if progress is not None:
                progress(source.name, len(predicted) + len(failures), len(sources))
        if len(elsewhere) == len(waiting):
            time.sleep(POLL_SECONDS)
        waiting = elsewhere
    return [predicted[source.name] for source in sources if source.name in predicted], failures


def _output_files(source: CaseSource, out: Path, folder_each: bool, bids: bool) -> OutputFiles:
    if bids:
        return bids_output_files(out, source.patient, source.session)
    return plain_output_files(out / source.name if folder_each else out)


def _check_distinct(sources: Sequence[CaseSource], outputs: Sequence[OutputFiles]) -> None:
    owners: dict[Path, str] = {}
    for source, files in zip(sources, outputs, strict=True):
        if files.mask in owners:
            raise UsageError(
                f"{owners[files.mask]} and {source.name} would both be written to {files.mask}; predict them separately"
            )
        owners[files.mask] = source.name


def predict_case(bundle: Bundle, source: CaseSource, files: OutputFiles, settings: PredictSettings) -> PredictedCase:
    """Predict one case and write its files, the record last. A case with the same record is not done again.

    Raises:
        DataError: for files that can't be used.
        UsageError: where other results are in the way and `force` is not set.
    """
    begun = time.perf_counter()
    inputs = _inputs(bundle, source, settings)
    if not settings.force and _is_done(files, inputs):
        return PredictedCase(source.name, files, (), "", "", ("there already, from the same files and settings",), 0.0)
    rule = LesionRule(
        inputs["threshold"], inputs["min_volume_mm3"], settings.connectivity, inputs.get("decision", "threshold")
    )
    ready = make_ready(source, bundle.record, settings.register)
    probabilities, chosen = predict_ready(bundle, ready, settings)
    own = np.stack([ready.on_own_grid(part) for part in probabilities])
    mask = rule.mask(own, ready.voxel_mm3)
    lesions = find_lesions_in(
        mask,
        lesion_probability(own),
        ready.affine,
        bundle.record.classes,
        voxel_mm3=ready.voxel_mm3,
        connectivity=rule.connectivity,
    )
    count = count_sentence(lesions, ready.is_pair)
    unfinished = json.dumps(inputs | UNFINISHED) + "\n"
    with atomic_files(files.record.parent, last=files.record.name, meanwhile=unfinished) as folder:
        new = files.inside(folder)
        write_results(new, ready, own, mask, lesions, bundle.record.classes)
        write_picture(new.sheet, ready, probabilities, rule, f"{ready.case.name}: {count}", bundle.record.network)
        seconds = time.perf_counter() - begun
        write_record(new.record, inputs, bundle.record, ready, chosen, lesions, seconds)
    return PredictedCase(source.name, files, tuple(lesions), count, str(chosen), ready.notes, seconds)


def _inputs(bundle: Bundle, source: CaseSource, settings: PredictSettings) -> dict[str, Any]:
    """Everything that determines the result, as plain values; a threshold of the user's replaces the arg max."""
    record = bundle.record
    by_argmax = record.decision == "argmax" and settings.threshold is None
    return ({"decision": "argmax"} if by_argmax else {}) | {
        "model": {"network": record.network, "weights_sha256": record.weights_sha256},
        "files": [[path.name, sha256_of(path)] for path in source.paths() if path.is_file()],
        "threshold": record.threshold if settings.threshold is None else settings.threshold,
        "min_volume_mm3": record.min_volume_mm3 if settings.min_volume_mm3 is None else settings.min_volume_mm3,
        "connectivity": settings.connectivity,
        "register": settings.register,
        "requested_mode": "" if settings.mode is None else str(settings.mode),
        "mirrored": list(settings.mirrored),
        "precision": settings.precision,
    }


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

"""One case after the other: read, prepare, predict, write; what is there already is not done again."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesionloss.core.errors import LesionLossError, UsageError
from lesionloss.core.files import sha256_of, write_text
from lesionloss.core.version import __version__
from lesionloss.data.nifti import write_volume
from lesionloss.inference import lesion_mask, lesion_probability
from lesionloss.inference.predict.lesion_rows import FoundLesion, find_lesions_in, write_lesions
from lesionloss.inference.predict.output_names import Places, bids_places, describe_dataset, plain_places
from lesionloss.inference.predict.predict_inputs import Source
from lesionloss.inference.predict.probabilities import Asked, predict_ready
from lesionloss.inference.predict.replay_preparation import Ready, make_ready
from lesionloss.networks.bundle import Bundle

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Done:
    """A case that was predicted: where it is, what was found, how (empty where it was there already), remarks on it."""

    name: str
    places: Places
    lesions: tuple[FoundLesion, ...]
    found: str
    how: str
    notes: tuple[str, ...]
    seconds: float


def predict_sources(
    bundle: Bundle,
    sources: Sequence[Source],
    out: Path,
    asked: Asked,
    *,
    folder_each: bool,
    bids: bool = False,
    progress: Progress | None = None,
) -> tuple[list[Done], list[str]]:
    """Predict all cases under `out`; gives what was done and a line for each failure, which does not stop the others.

    Raises UsageError if two cases would get the same names, or something is in the way and `force` is not asked for.
    """
    places = [_places(source, out, folder_each, bids) for source in sources]
    _check_distinct(sources, places)
    if bids:
        describe_dataset(out)
    bundle.network.to(asked.device)
    done: list[Done] = []
    failures: list[str] = []
    for number, (source, place) in enumerate(zip(sources, places, strict=True), start=1):
        try:
            done.append(predict_case(bundle, source, place, asked))
        except LesionLossError as error:
            if len(sources) == 1:
                raise
            failures.append(str(error) if source.name in str(error) else f"{source.name}: {error}")
        if progress is not None:
            progress(source.name, number, len(sources))
    return done, failures


def _places(source: Source, out: Path, folder_each: bool, bids: bool) -> Places:
    if bids:
        return bids_places(out, source.patient, source.session)
    return plain_places(out / source.name if folder_each else out)


def _check_distinct(sources: Sequence[Source], places: Sequence[Places]) -> None:
    owners: dict[Path, str] = {}
    for source, place in zip(sources, places, strict=True):
        if place.mask in owners:
            raise UsageError(
                f"{owners[place.mask]} and {source.name} would both be written to {place.mask}; predict them apart"
            )
        owners[place.mask] = source.name


def predict_case(bundle: Bundle, source: Source, places: Places, asked: Asked) -> Done:
    """Predict one case and write its files, the record last. A case with the same record is not done again.

    Raises DataError for files that can't be used, UsageError where other results are in the way.
    """
    begun = time.perf_counter()
    made_from = _made_from(bundle, source, asked)
    if _there_already(places, made_from, asked.force):
        return Done(source.name, places, (), "", "", ("there already, from the same files and settings",), 0.0)
    ready = make_ready(source, bundle.record, asked.register)
    probabilities, choice = predict_ready(bundle, ready, asked)
    home = np.stack([ready.home(part) for part in probabilities])
    voxel_mm3 = _voxel_mm3(ready)
    mask = _mask(home, made_from, voxel_mm3)
    lesions = find_lesions_in(
        mask,
        lesion_probability(home),
        ready.affine,
        bundle.record.classes,
        voxel_mm3=voxel_mm3,
        connectivity=asked.connectivity,
    )
    _write(places, ready, home, mask, lesions, bundle.record.classes)
    _draw(places, ready, probabilities, made_from, found_words(lesions, _is_pair(ready)))
    seconds = time.perf_counter() - begun
    record = made_from | {
        "lesionloss": __version__,
        "way": str(choice.way),
        "reason": choice.reason,
        "lesions": len(lesions),
        "volume_mm3": round(sum(lesion.volume_mm3 for lesion in lesions), 3),
        "notes": list(ready.notes),
        "preparation": dict(ready.steps),
        "seconds": round(seconds, 2),
        "licence": bundle.record.licence,
        "data_note": bundle.record.data_note,
        "not_a_medical_device": True,
    }
    write_text(places.record, json.dumps(record, indent=1) + "\n")
    found = found_words(lesions, _is_pair(ready))
    return Done(source.name, places, tuple(lesions), found, str(choice), ready.notes, seconds)


def _is_pair(ready: Ready) -> bool:
    return any(name.startswith("baseline") for name in ready.case.channels)


def _made_from(bundle: Bundle, source: Source, asked: Asked) -> dict[str, Any]:
    """Everything that determines the result, as plain values."""
    record = bundle.record
    return {
        "model": {"network": record.network, "weights_sha256": record.weights_sha256},
        "files": [[path.name, sha256_of(path)] for path in source.paths() if path.is_file()],
        "threshold": record.threshold if asked.threshold is None else asked.threshold,
        "min_volume_mm3": record.min_volume_mm3 if asked.min_volume_mm3 is None else asked.min_volume_mm3,
        "connectivity": asked.connectivity,
        "register": asked.register,
        "asked_way": "" if asked.way is None else str(asked.way),
        "mirrored": list(asked.mirrored),
        "precision": asked.precision,
    }


def _there_already(places: Places, made_from: dict[str, Any], force: bool) -> bool:
    """True where the very results exist. Raises UsageError where other files are in the way."""
    if force:
        return False
    try:
        stored = json.loads(places.record.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        stored = None
    same = isinstance(stored, dict) and all(stored.get(key) == value for key, value in made_from.items())
    if same and all(path.is_file() for path in places.all()):
        return True
    in_the_way = [path for path in places.all() if path.exists()]
    if in_the_way:
        raise UsageError(f"{in_the_way[0]} exists, made otherwise; choose another --out or add --force to replace it")
    return False


def _voxel_mm3(ready: Ready) -> float:
    axes = len(ready.shape)
    if axes == 3:
        return abs(float(np.linalg.det(ready.affine[:3, :3])))
    return float(np.prod(np.linalg.norm(ready.affine[:3, :axes], axis=0)))


def _write(
    places: Places,
    ready: Ready,
    home: NDArray[np.float32],
    mask: NDArray[np.uint8],
    lesions: Sequence[FoundLesion],
    classes: Sequence[str],
) -> None:
    """The mask, the probability of any lesion, that of each class where there are several, and the table."""
    places.record.unlink(missing_ok=True)
    write_volume(places.mask, _volume(mask), ready.affine)
    write_volume(places.probability, _volume(lesion_probability(home)), ready.affine)
    for kind, part in zip(classes, home, strict=True):
        if len(classes) > 1:
            write_volume(places.probability_of(kind), _volume(part), ready.affine)
    write_lesions(places.lesions, lesions)


def _volume(array: NDArray[Any]) -> NDArray[Any]:
    return array if array.ndim == 3 else array[..., None]


def _draw(
    places: Places, ready: Ready, probabilities: NDArray[np.float32], made_from: dict[str, Any], found: str
) -> None:
    from lesionloss.inference.predict.picture_sheet import Shown, save_sheet

    mask = _mask(probabilities, made_from, float(np.prod(ready.case.spacing_mm)))
    smallest = made_from["min_volume_mm3"]
    rule = f"probability of at least {made_from['threshold']:g}" + (f", more than {smallest:g} mm³" if smallest else "")
    shown = Shown(
        case=ready.case,
        mask=mask,
        probability=lesion_probability(probabilities),
        title=f"{ready.case.name}: {found}",
        subtitle=f"{made_from['model']['network']}; {rule}",
        has_reference=ready.has_reference,
        connectivity=made_from["connectivity"],
    )
    save_sheet(places.sheet, shown)


def _mask(probabilities: NDArray[np.float32], made_from: dict[str, Any], voxel_mm3: float) -> NDArray[np.uint8]:
    return lesion_mask(
        probabilities,
        threshold=made_from["threshold"],
        min_volume_mm3=made_from["min_volume_mm3"],
        connectivity=made_from["connectivity"],
        voxel_mm3=voxel_mm3,
    )


def found_words(lesions: Sequence[FoundLesion], new: bool) -> str:
    """`3 new lesions, 412 mm³`; `new` where there were two visits."""
    kind = "new lesion" if new else "lesion"
    if not lesions:
        return f"no {kind}"
    volume = sum(lesion.volume_mm3 for lesion in lesions)
    return f"{len(lesions)} {kind}{'s' if len(lesions) > 1 else ''}, {volume:.0f} mm³"

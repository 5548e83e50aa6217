"""Find predictions by a pattern of file names, each with its reference, map and image."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lesionloss.collecting.file_patterns import FilePattern, MatchedFile, files_by_case
from lesionloss.collecting.found_predictions import ClassLabels, Collection, Mismatch, Prediction
from lesionloss.collecting.patient_names import PatientNames
from lesionloss.core.errors import DataError, UsageError
from lesionloss.runs.run_records import LeftOut


@dataclass(frozen=True)
class Places:
    """Where files are: a pattern of predictions, and for each other kind a folder or a pattern; empty: none."""

    predictions: str
    references: str
    probabilities: str = ""
    images: str = ""
    patients: PatientNames = field(default_factory=PatientNames)


def find_predictions(places: Places, labels: ClassLabels) -> Collection:
    """Find all predictions that fit the pattern.

    Raises:
        UsageError: A pattern or folder is wrong, or holds nothing.
        DataError: A name can be read in two ways, or two files are one prediction.
    """
    pattern = FilePattern(places.predictions, "--predictions")
    files = pattern.files()
    references = files_by_case(places.references, "--references")
    images = files_by_case(places.images, "--images") if places.images else {}
    maps = _maps(places.probabilities, pattern)
    patients = places.patients
    patients.require(match.fields["case"] for match in files)
    found: dict[tuple[str, ...], Prediction] = {}
    mismatches: list[Mismatch] = []
    for match in files:
        case, key = match.fields["case"], _key(match, pattern.names)
        if case not in references:
            mismatches.append(Mismatch("prediction without reference", str(match.path)))
            continue
        if key in found:
            raise DataError(f"{found[key].prediction} and {match.path} are one prediction; keep one of them")
        if maps is not None and key not in maps:
            mismatches.append(Mismatch("prediction without probabilities", str(match.path)))
        found[key] = Prediction(
            loss=_loss(match, pattern),
            case=case,
            prediction=match.path,
            reference=references[case],
            fold=int(match.fields.get("fold", 0)),
            seed=int(match.fields["seed"]) if "seed" in match.fields else None,
            patient=match.fields.get("patient") or patients.of(case),
            probability=(maps or {}).get(key),
            image=images.get(case),
        )
    predictions = tuple(found.values())
    if not predictions:
        raise UsageError(
            f"--references {places.references}: no reference is named after a case of {places.predictions}"
        )
    more, left_out = unmatched(predictions, references, images)
    return Collection(predictions, (*mismatches, *more), left_out, _source(places), labels)


def unmatched(
    predictions: tuple[Prediction, ...], references: Mapping[str, Path], images: Mapping[str, Path]
) -> tuple[list[Mismatch], tuple[LeftOut, ...]]:
    """List references without any prediction and, where there are images, cases without one."""
    cases = {each.case for each in predictions}
    alone = sorted(set(references) - cases)
    found = [Mismatch("reference without prediction", case) for case in alone]
    found += [Mismatch("case without image", case) for case in sorted(cases - set(images)) if images]
    return found, tuple(LeftOut(case, "no prediction of it was found") for case in alone)


def _key(match: MatchedFile, names: list[str]) -> tuple[str, ...]:
    return tuple(match.fields[name] for name in dict.fromkeys(names))


def _loss(match: MatchedFile, pattern: FilePattern) -> str:
    """The loss of a file; without such a field, all are one method, called after their folder."""
    return match.fields.get("loss") or match.fields.get("method") or pattern.root.resolve().name or "predictions"


def _maps(text: str, pattern: FilePattern) -> dict[tuple[str, ...], Path] | None:
    """The probability map of each prediction.

    Raises:
        UsageError: The pattern has other fields than that of the predictions.
    """
    if not text:
        return None
    maps = FilePattern(text, "--probabilities")
    if set(maps.names) != set(pattern.names):
        fields = ", ".join(f"{{{name}}}" for name in dict.fromkeys(pattern.names))
        raise UsageError(f"--probabilities {text}: expected the fields of --predictions, {fields}")
    return {_key(match, pattern.names): match.path for match in maps.files()}


def _source(places: Places) -> dict[str, str]:
    given = {
        "predictions": places.predictions,
        "references": places.references,
        "probabilities": places.probabilities,
        "images": places.images,
    }
    compares = "method" if "{method}" in places.predictions else "loss"
    return {name: text for name, text in given.items() if text} | {"compares": compares}

"""Find the validation predictions in nnU-Net's results: trainers are the losses, fold_k/validation the predictions.

RESULTS/Dataset501_MS/TRAINER__PLANS__CONFIGURATION/dataset.json
RESULTS/Dataset501_MS/TRAINER__PLANS__CONFIGURATION/fold_0/validation/CASE.nii.gz [CASE.npz]
RESULTS/Dataset501_MS/TRAINER__PLANS__CONFIGURATION/fold_0/lesionloss_pairing.json
PREPROCESSED/Dataset501_MS/splits_final.json        PREPROCESSED: $nnUNet_preprocessed, or beside RESULTS
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from lesionloss.collecting.file_patterns import files_by_case
from lesionloss.collecting.find_predictions import unmatched
from lesionloss.collecting.found_predictions import FIRST_SEED, Collection, Mismatch, Prediction, TrialName
from lesionloss.collecting.nnunet_files import ENDING, read_labels, read_record, read_splits
from lesionloss.collecting.pairing_record import PAIRING, TrainerRecord, read_pairing
from lesionloss.collecting.patient_names import PatientNames
from lesionloss.core.errors import UsageError
from lesionloss.runs.run_records import LeftOut

FOLD = re.compile(r"fold_(?P<fold>[0-9]+|all)")
SEED = re.compile(r"(?P<loss>.+)_s(?P<seed>[0-9]+)(?P<lengths>(_[eiv][0-9]+)*)")  # lengths: of shorter training runs
OURS = "nnUNetTrainerLL_"  # the trainers of `lesionloss nnunet train`


@dataclass(frozen=True)
class NnunetPlaces:
    """Where files are: results of one data set, and folders or patterns of references and images (empty: none).

    `models` are the names of folders TRAINER__PLANS__CONFIGURATION; empty: all.
    """

    results: Path
    references: str
    images: str = ""
    patients: PatientNames = field(default_factory=PatientNames)
    models: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Model:
    """A folder of one trainer, plans and configuration, with the loss and seed that its name holds."""

    folder: Path
    loss: str
    seed: int | None


def find_nnunet(places: NnunetPlaces) -> Collection:
    """Find the validation predictions of all trainers.

    Raises:
        UsageError: There are no results, or no validation predictions in them.
        DataError: A file is damaged, or the trainers do not have the same labels.
    """
    models = _models(places.results, places.models)
    labels = read_labels([model.folder / "dataset.json" for model in models])
    references = files_by_case(places.references, "--references")
    images = files_by_case(places.images, "--images") if places.images else {}
    patients = places.patients
    train: dict[int, list[str]] = {}
    predictions: list[Prediction] = []
    mismatches: list[Mismatch] = []
    proofs: dict[TrialName, TrainerRecord] = {}
    splits = read_splits(places.results)
    for model in models:
        for fold, folder in _folds(model, mismatches):
            found = sorted(path for path in (folder / "validation").glob(f"*{ENDING}") if not path.name.startswith("."))
            if not found:
                mismatches.append(Mismatch("fold without validation predictions", str(folder)))
                continue
            if record := read_pairing(folder):
                proofs[TrialName(model.loss, fold, FIRST_SEED if model.seed is None else model.seed)] = record
            train[fold] = splits.get(fold, {}).get("train", [])
            expected = set(splits.get(fold, {}).get("val", []))
            mismatches += _not_in_split(folder, {_name(path) for path in found}, expected)
            predictions += _of_fold(model, fold, found, references, images, patients, mismatches)
    if not predictions:
        raise UsageError(
            f"--nnunet {places.results}: no trainer has predictions in fold_k/validation whose reference is in "
            f"{places.references}; nnU-Net writes them at the end of a training run, or with nnUNetv2_train ... --val"
        )
    patients.require(each.case for each in predictions)
    untrained = {fold: split["val"] for fold, split in splits.items() if fold not in train}
    more, left_out = _not_predicted(tuple(predictions), references, images, untrained)
    return Collection(
        predictions=tuple(predictions),
        mismatches=(*mismatches, *more),
        left_out=left_out,
        source=_source(places, models),
        labels=labels,
        train={fold: cases for fold, cases in train.items() if cases},
        proofs=proofs,
    )


def _not_predicted(
    predictions: tuple[Prediction, ...],
    references: dict[str, Path],
    images: dict[str, Path],
    untrained: dict[int, list[str]],
) -> tuple[list[Mismatch], tuple[LeftOut, ...]]:
    """List folds that nobody trained, and of the others what `unmatched` lists."""
    folds = [Mismatch("fold that no trainer has", f"fold {fold}: {len(untrained[fold])} cases") for fold in untrained]
    elsewhere = {case for cases in untrained.values() for case in cases}
    expected = {case: path for case, path in references.items() if case not in elsewhere}
    found, left_out = unmatched(predictions, expected, images)
    return [*folds, *found], left_out


def _source(places: NnunetPlaces, models: list[_Model]) -> dict[str, str]:
    source = {"nnunet": str(places.results), "references": places.references, "dataset": places.results.name}
    source |= {"images": places.images} if places.images else {}
    return source | {"compares": "method" if len({_design(model.folder) for model in models}) > 1 else "loss"}


def _models(results: Path, wanted: tuple[str, ...]) -> list[_Model]:
    """The trained models below the results of one data set, by name; `wanted`: empty for all.

    Raises:
        UsageError: There are none.
    """
    folders = sorted(path for path in results.glob("*__*__*") if (path / "dataset.json").is_file())
    folders = [path for path in folders if not wanted or path.name in wanted]
    if not folders:
        inner = [path.name for path in sorted(results.glob("Dataset*")) if path.is_dir()]
        hint = f"name one of {', '.join(inner[:3])} in it" if inner else "give nnUNet_results/DatasetXXX_NAME"
        raise UsageError(f"--nnunet {results}: no TRAINER__PLANS__CONFIGURATION with dataset.json in it; {hint}")
    several = len({_design(path) for path in folders}) > 1
    lengths = len({_lengths(path) for path in folders}) > 1
    return [_model(path, several, lengths) for path in folders]


def _design(folder: Path) -> str:
    """Plans and configuration of a model: two losses of one design differ in nothing else."""
    return folder.name.split("__", 1)[1]


def _lengths(folder: Path) -> str:
    """What the name of a trainer says of shorter training: ` e50 i100` of nnUNetTrainerLL_hytver_s1_e50_i100."""
    match = SEED.fullmatch(folder.name.split("__", 1)[0])
    return match["lengths"].replace("_", " ") if match else ""


def _model(folder: Path, several: bool, lengths: bool) -> _Model:
    """A trainer nnUNetTrainerLL_hytver_s1 is loss hytver, seed 1; of other trainers, the name is that of the loss."""
    trainer, plans, configuration = folder.name.split("__", 2)
    match = SEED.fullmatch(trainer)
    loss, seed = (match["loss"], int(match["seed"])) if match else (trainer, None)
    record = next((read for path in sorted(folder.glob("fold_*")) if (read := _pairing_loss(path))), "")
    where = f", {configuration}" if plans == "nnUNetPlans" else f", {plans} {configuration}"
    name = (record or loss.removeprefix(OURS)) + (_lengths(folder) if lengths else "")
    return _Model(folder, name + (where if several else ""), seed)


def _pairing_loss(fold: Path) -> str:
    """The loss as it was written in the plan: the name of a class can't hold it."""
    return str(read_record(fold / PAIRING).get("loss", "")) if (fold / PAIRING).is_file() else ""


def _folds(model: _Model, mismatches: list[Mismatch]) -> Iterator[tuple[int, Path]]:
    for folder in sorted(path for path in model.folder.glob("fold_*") if path.is_dir()):
        match = FOLD.fullmatch(folder.name)
        if match and match["fold"] == "all":
            mismatches.append(
                Mismatch("fold that was trained on all cases", f"{folder} is left out: it has no test cases")
            )
        elif match:
            yield int(match["fold"]), folder


def _of_fold(
    model: _Model,
    fold: int,
    found: list[Path],
    references: dict[str, Path],
    images: dict[str, Path],
    patients: PatientNames,
    mismatches: list[Mismatch],
) -> Iterator[Prediction]:
    for path in found:
        case, maps = _name(path), path.with_name(f"{_name(path)}.npz")
        if case not in references:
            mismatches.append(Mismatch("prediction without reference", str(path)))
            continue
        yield Prediction(
            loss=model.loss,
            case=case,
            prediction=path,
            reference=references[case],
            fold=fold,
            seed=model.seed,
            patient=patients.of(case),
            probability=maps if maps.is_file() else None,
            image=images.get(case),
        )


def _not_in_split(folder: Path, found: set[str], expected: set[str]) -> list[Mismatch]:
    if not expected or found == expected:
        return []
    lacking, more = (", ".join(sorted(names)) for names in (expected - found, found - expected))
    words = [f"lacks {lacking}" if lacking else "", f"has {more} of another fold" if more else ""]
    return [Mismatch("fold that is not that of splits_final.json", f"{folder} {' and '.join(filter(None, words))}")]


def _name(path: Path) -> str:
    return path.name.removesuffix(ENDING)

"""`collect`: one run folder of predictions or scores, wherever they come from."""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Union

from lesionloss.collecting.collected_record import RunFacts, baseline_of
from lesionloss.collecting.collected_run import STRICT, refuse_foreign, write_run
from lesionloss.collecting.find_predictions import Places, find_predictions
from lesionloss.collecting.found_predictions import ClassLabels, Collection, Mismatch, Prediction
from lesionloss.collecting.mismatches import checked
from lesionloss.collecting.nnunet_results import NnunetPlaces, find_nnunet
from lesionloss.collecting.patient_names import PatientNames, read_patients
from lesionloss.collecting.score_prediction import Rules
from lesionloss.collecting.score_tables import TableRules, read_tables, write_table_run
from lesionloss.collecting.side_by_side import Progress, no_progress
from lesionloss.core.errors import DataError, UsageError
from lesionloss.core.files import is_file_name
from lesionloss.metrics import RequiredMap, choose
from lesionloss.runs.load_run import load
from lesionloss.runs.results import Results

if TYPE_CHECKING:
    import pandas as pd

METRICS = ("dice", "jaccard", "precision", "recall", "hd95", "assd", "lesion_f1")  # as a plan has them
SHOWN = 5
OneTable = Union[str, Path, "pd.DataFrame"]


def collect(
    out: str | Path | None = None,
    *,
    predictions: str | Sequence[Prediction] | None = None,
    nnunet: str | Path | None = None,
    models: Sequence[str] = (),
    table: OneTable | Sequence[OneTable] | None = None,
    references: str | Path = "",
    probabilities: str = "",
    images: str | Path = "",
    patients: str | Path | None = None,
    metrics: Sequence[str] = (),
    baseline: str = "",
    classes: Sequence[int] = (),
    threshold: float | None = None,
    name: str = "",
    strict: bool = False,
    jobs: int = 1,
    progress: Progress = no_progress,
    notify: Callable[[Mismatch], None] = lambda mismatch: None,
) -> Results:
    """Make a run of what others trained: exactly one of `predictions`, `nnunet` and `table` is given.

    What is scored is kept, so the same call goes on where it was interrupted, and scores only what is new.

    Args:
        out: The run folder; None, for tables only: nothing is written.
        predictions: A pattern of NIfTI files with the fields {loss} or {method}, {fold}, {seed}, {case}, {patient}, of
            which {case} is needed; or arrays and files as `Prediction` records.
        nnunet: nnU-Net's results of one data set, nnUNet_results/DatasetXXX_NAME.
        models: The folders TRAINER__PLANS__CONFIGURATION in it that are compared; empty: all.
        table: Long tables of scores: CSV files or DataFrames with the columns loss or method, fold, seed, case,
            patient, metric and value; or what `lesionloss evaluate` wrote.
        references: The folder of reference masks CASE.nii.gz, or a pattern with {case}.
        probabilities: A pattern of probability maps, with the fields of `predictions`.
        images: The folder of images CASE.nii.gz or CASE_0000.nii.gz, or a pattern with {case}, for pictures.
        patients: A CSV with the columns case and patient. Without it, names such as sub-01_ses-2 tell the patient, and
            any other case is a patient of its own.
        metrics: The first one is the primary metric; default: those of a benchmark, or all of a table.
        baseline: The loss that the others are compared with; default: the first.
        classes: Labels of label maps; empty: masks of 0 and 1, or the labels of nnU-Net's dataset.json.
        threshold: The threshold of probability maps.
        name: The name of the run; default: that of the folder.
        strict: Whether a mismatch is an error.
        jobs: The number of processes; 0: one for each core. More than one start Python anew, so a script that asks for
            them needs `if __name__ == "__main__"`.
        progress: Shows how far it is.
        notify: Gets every mismatch.

    Returns:
        The run, as `lesionloss.load` gives it.

    Raises:
        UsageError: An argument is wrong, or nothing was found.
        DataError: A file is damaged, or `strict` and something does not fit.
    """
    given = [each is not None for each in (predictions, nnunet, table)]
    if sum(given) != 1:
        raise UsageError("give exactly one of predictions, nnunet and table")
    known = read_patients(None if patients is None else Path(patients))
    if table is not None:
        rules = TableRules(name, baseline, tuple(metrics), known)
        return _of_tables(out, table, rules, strict, notify)
    if out is None:
        raise UsageError("out: name the run folder that predictions are collected into")
    if not isinstance(predictions, str) and nnunet is None:
        found = of_records(predictions or (), classes, known)
    elif not references:
        raise UsageError("references: give the folder of reference masks, or a pattern with {case}")
    elif isinstance(predictions, str):
        places = Places(predictions, str(references), probabilities, str(images), known)
        found = find_predictions(places, _labels(classes))
    else:
        found = find_nnunet(NnunetPlaces(Path(nnunet or ""), str(references), str(images), known, tuple(models)))
    out = Path(out)
    refuse_foreign(out)
    collection, design = checked(found)
    chosen = tuple(dict.fromkeys(metrics)) or METRICS
    _check_request(collection, chosen, threshold)
    baseline = baseline_of(design.losses, baseline)
    _report(collection.mismatches, strict, notify)
    facts = RunFacts(name or out.resolve().name, baseline, chosen, collection.source.get("compares", "loss"))
    write_run(
        out,
        collection,
        design,
        facts,
        Rules(chosen, collection.labels, threshold),
        strict=strict,
        jobs=jobs or os.cpu_count() or 1,
        progress=progress,
        notify=notify,
    )
    return load(out)


def _of_tables(
    out: str | Path | None,
    table: OneTable | Sequence[OneTable],
    rules: TableRules,
    strict: bool,
    notify: Callable[[Mismatch], None],
) -> Results:
    tables = [table] if isinstance(table, str | Path) or not isinstance(table, Sequence) else list(table)
    results, mismatches = read_tables([Path(each) if isinstance(each, str) else each for each in tables], rules)
    _report(mismatches, strict, notify)
    if out is None:
        return results
    write_table_run(Path(out), results)
    return load(out)


def of_records(records: Sequence[Prediction], classes: Sequence[int], patients: PatientNames) -> Collection:
    """Return the collection of records that the caller made.

    Raises:
        UsageError: There are none, or one has no usable name of a case.
        DataError: Two of them are the same prediction, or a table of patients lacks a case.
    """
    if not records:
        raise UsageError("predictions: none were given; pass a pattern of files or Prediction records")
    seen = set()
    for each in records:
        if not is_file_name(each.case):
            raise UsageError(f"case {each.case!r}: give a name that can be that of a file")
        if (each.trial, each.case) in seen:
            raise DataError(f"{each.trial}: case {each.case} is given twice; keep one")
        seen.add((each.trial, each.case))
    patients.require(each.case for each in records)
    named = tuple(replace(each, patient=each.patient or patients.of(each.case)) for each in records)
    return Collection(named, source={"predictions": "arrays"}, labels=_labels(classes))


def _labels(classes: Sequence[int]) -> ClassLabels:
    return ClassLabels({f"label {label}": int(label) for label in classes})


def _report(mismatches: Sequence[Mismatch], strict: bool, notify: Callable[[Mismatch], None]) -> None:
    """Tell of every mismatch.

    Raises:
        DataError: There is one, and `strict`.
    """
    for mismatch in mismatches:
        notify(mismatch)
    if mismatches and strict:
        more = f"; and {len(mismatches) - SHOWN} more" if len(mismatches) > SHOWN else ""
        first = "; ".join(map(str, mismatches[:SHOWN]))
        raise DataError(f"{len(mismatches)} mismatches, and {STRICT}; nothing was written: {first}{more}")


def _check_request(collection: Collection, metrics: Sequence[str], threshold: float | None) -> None:
    """Check that the metrics can be computed of what was found.

    Raises:
        UsageError: One needs maps that are not there, or a threshold is given for label maps.
    """
    if threshold is not None and collection.labels.numbers:
        raise UsageError("threshold: several classes have none; leave it out, or leave the classes out")
    maps = threshold is not None or all(each.probability is not None for each in collection.predictions)
    held = {RequiredMap.PROBABILITY} if maps else set()
    for text in metrics:
        lacking = choose(text).metric.needs - held
        if lacking:
            needs = " and ".join(sorted(lacking))
            raise UsageError(
                f"metric {text!r} needs {needs} maps of every prediction; give probabilities, or leave it out"
            )

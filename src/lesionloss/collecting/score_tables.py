"""Long tables of scores that others computed, and the CSV of `lesionloss evaluate`, read as a run."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import tomli_w

from lesionloss.collecting.collected_record import RunFacts, baseline_of, collected_record, trial_record
from lesionloss.collecting.collected_run import key_of, refuse_foreign, remove_others, seal
from lesionloss.collecting.found_predictions import FIRST_SEED, Collection, Mismatch, Prediction, TrialName
from lesionloss.collecting.mismatches import checked
from lesionloss.collecting.patient_names import PatientNames
from lesionloss.collecting.score_prediction import scores_csv
from lesionloss.collecting.table_columns import Table, is_known, read_columns, table_name
from lesionloss.core.catalogue import nearest
from lesionloss.core.errors import DataError, UsageError
from lesionloss.core.files import atomic_folder, write_text
from lesionloss.metrics.export import cell
from lesionloss.runs.results import Results
from lesionloss.runs.run_records import RunTrial
from lesionloss.runs.scores import LAST_EPOCH
from lesionloss.runs.trial_manifest import COLLECTED, MANIFEST, manifest_text

if TYPE_CHECKING:
    import pandas as pd

KEYS = ["loss", "fold", "seed", "case"]
UNKNOWN = ("predictions", "network", "training settings", "steps", "machine")


@dataclass(frozen=True)
class TableRules:
    """How tables become a run; without a baseline it is the first loss, without metrics all are read."""

    name: str = ""
    baseline: str = ""
    metrics: tuple[str, ...] = ()
    patients: PatientNames = field(default_factory=PatientNames)


def read_tables(tables: Sequence[Table], rules: TableRules) -> tuple[Results, tuple[Mismatch, ...]]:
    """Read tables as one run, and list what does not fit. One without a loss or method is called after its file.

    Raises:
        UsageError: A file does not exist, or no table has a metric or loss that is named.
        DataError: A table has a wrong column, value or row; the message names file and line.
    """
    import pandas as pd

    names = ", ".join(map(table_name, tables))
    read = [read_columns(table, rules.patients) for table in tables]
    rows = _of_metrics(pd.concat([each.rows for each in read], ignore_index=True), rules.metrics, names)
    seeds_known = all(each.seeds_known for each in read)
    rows = rows if seeds_known else rows.assign(seed=FIRST_SEED)
    _refuse_twice(rows, names)
    collection, design = checked(_collection(rows, names, seeds_known))
    rows, lacking = _complete(_of(rows, collection))
    strange = [metric for metric in dict.fromkeys(rows["metric"]) if not is_known(metric)]
    collection = replace(collection, mismatches=(*collection.mismatches, *lacking))
    facts = RunFacts(
        name=rules.name or names,
        baseline=baseline_of(design.losses, rules.baseline),
        metrics=tuple(dict.fromkeys(rows["metric"])),
        compares="method" if any(each.compares == "method" for each in read) else "loss",
    )
    folder = next((table for table in tables if isinstance(table, Path)), Path("table"))
    directions = [f"the direction of {metric} (higher is taken as better)" for metric in strange]
    plan = collected_record(collection, design, facts, [*UNKNOWN, *directions])
    trials = tuple(_trial(str(name), own, folder) for name, own in rows.groupby("key", sort=True))
    return Results(folder, plan, trials, (), (), (), (), table=rows), collection.mismatches


def _of_metrics(rows: "pd.DataFrame", metrics: Sequence[str], names: str) -> "pd.DataFrame":
    """The rows of the metrics that are named, the first of them in front; all rows if none is."""
    known = list(dict.fromkeys(rows["metric"]))
    for metric in metrics:
        if metric not in known:
            raise UsageError(f"no metric {metric!r} in {names}; {nearest(metric, known)}")
    if not metrics:
        return rows.iloc[(rows["metric"] != "dice").argsort(kind="stable")]
    order = rows["metric"].map({metric: place for place, metric in enumerate(metrics)})
    return rows[order.notna()].iloc[order[order.notna()].argsort(kind="stable")]


def _refuse_twice(rows: "pd.DataFrame", names: str) -> None:
    twice = rows[rows.duplicated([*KEYS, "lesion", "metric"])]
    if len(twice):
        row = twice.iloc[0]
        raise DataError(
            f"{names}: {row['metric']} of {row['loss']}, fold {row['fold']}, seed {row['seed']}, case {row['case']} is "
            "there twice; keep one, or give several training runs a column seed"
        )


def _collection(rows: "pd.DataFrame", names: str, seeds_known: bool) -> Collection:
    cases = rows[[*KEYS, "patient"]].drop_duplicates().to_dict("records")
    predictions = tuple(
        Prediction(
            loss=str(row["loss"]),
            case=str(row["case"]),
            prediction=Path(),
            reference=Path(),
            fold=int(row["fold"]),
            seed=int(row["seed"]) if seeds_known else None,
            patient=str(row["patient"]),
        )
        for row in cases
    )
    return Collection(predictions, source={"table": names})


def _of(rows: "pd.DataFrame", collection: Collection) -> "pd.DataFrame":
    """The rows of the predictions that are kept, with the columns of a run."""
    kept = {(each.trial, each.case) for each in collection.predictions}
    names = zip(*(rows[column] for column in KEYS), strict=True)
    pairs = [(TrialName(str(loss), int(fold), int(seed)), str(case)) for loss, fold, seed, case in names]
    inside = [pair in kept for pair in pairs]
    places: dict[TrialName, str] = {}
    keys = [places.setdefault(trial, f"{len(places):016x}") for trial, _ in pairs]
    rows = rows.assign(key=keys, method="collected", dataset="", epoch=LAST_EPOCH, split="test")
    return rows[inside].reset_index(drop=True)


def _complete(rows: "pd.DataFrame") -> "tuple[pd.DataFrame, list[Mismatch]]":
    """The rows with an undefined value where a case lacks a metric, and the list of these."""
    import pandas as pd

    whole = rows[rows["lesion"] == ""]
    there = set(zip(whole["key"], whole["case"], whole["metric"], strict=True))
    added, found = [], []
    for metric in dict.fromkeys(rows["metric"]):
        firsts = rows.drop_duplicates(["key", "case"])
        lacking = [
            key not in there for key in ((k, c, metric) for k, c in zip(firsts["key"], firsts["case"], strict=True))
        ]
        new = firsts[lacking].assign(
            metric=metric, lesion="", value=float("nan"), penalised=float("nan"), status="ok", unit=""
        )
        added.append(new)
        for (loss, fold, seed), own in new.groupby(KEYS[:3]):
            found.append(
                Mismatch(
                    "case without a metric",
                    f"{loss}, fold {fold}, seed {seed}: no {metric} of {', '.join(own['case'])}",
                )
            )
    return pd.concat([rows, *(new for new in added if len(new))], ignore_index=True), found


def _trial(key: str, rows: "pd.DataFrame", folder: Path) -> RunTrial:
    first = rows.iloc[0]
    trial = TrialName(str(first["loss"]), int(first["fold"]), int(first["seed"]))
    record = trial_record(trial, "", list(dict.fromkeys(rows["case"])), {"maps": "masks"})
    return RunTrial(key, trial.loss, "collected", trial.fold, trial.seed, folder, record)


def write_table_run(out: Path, results: Results) -> None:
    """Write what `read_tables` has read as a run folder.

    Raises:
        UsageError: The folder holds something else.
        DataError: A trial that is there was edited.
    """
    refuse_foreign(out)
    write_text(out / COLLECTED, tomli_w.dumps(dict(results.plan)))
    keys = set()
    for trial in results.trials:
        own = results.scores[results.scores["key"] == trial.key].assign(epoch="last")
        for column in ("value", "penalised"):
            own[column] = own[column].map(cell)
        rows = [{str(name): value for name, value in row.items()} for row in own.to_dict("records")]
        name = TrialName(trial.loss, trial.fold, trial.seed)
        text = scores_csv(name, "", rows)
        key = key_of(text)
        keys.add(key)
        folder = out / "trials" / key
        if (folder / MANIFEST).is_file():
            seal(folder, out)
            continue
        with atomic_folder(folder) as partial:
            (partial / "scores.csv").write_text(text, encoding="utf-8")
            (partial / "trial.toml").write_text(tomli_w.dumps({"key": key, **trial.record}), encoding="utf-8")
            write_text(partial / MANIFEST, manifest_text(partial, key, out))
    remove_others(out, keys)

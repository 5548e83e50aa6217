"""Reading scores.csv: one long table per trial, believed only after it has been checked."""

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from lesionloss.core.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "loss",
    "dataset",
    "fold",
    "seed",
    "epoch",
    "split",
    "case",
    "lesion",
    "metric",
    "value",
    "unit",
    "patient",
    "status",
)
OPTIONAL = ("penalised",)  # of scores without images, whose diagonal is not known
LAST_EPOCH = 2**31  # after all numbered ones
STATUSES = ("ok", "pred_empty", "ref_empty", "both_empty")
REPAIR = "remove the trial's folder and bench again"


def read_scores(path: Path | None, test: Collection[str] = ()) -> "pd.DataFrame":
    """The table with `value` as float (NaN undefined, inf infinite) and `epoch` as int; all else text.

    Args:
        path: The file; None gives the empty table.
        test: The test cases, which must all be in it, each with every metric.

    Raises:
        DataError: With file, line and what is wrong.
    """
    import pandas as pd

    if path is None:
        return _typed(pd.DataFrame(columns=list(COLUMNS), dtype=str), Path())
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except FileNotFoundError as error:
        raise DataError(f"{path} is absent though its trial is complete; {REPAIR}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} is damaged: {str(error).splitlines()[0]}; {REPAIR}") from error
    lacking = [name for name in COLUMNS if name not in table.columns]
    if lacking:
        raise DataError(f"{path}: no column {', '.join(lacking)}; expected {','.join(COLUMNS)}; {REPAIR}")
    typed = _typed(table[[*COLUMNS, *(name for name in OPTIONAL if name in table.columns)]], path)
    _check_complete(typed, path, test)
    return typed


def _check_complete(table: "pd.DataFrame", path: Path, test: Collection[str]) -> None:
    """Raise DataError unless every test case has a row for every metric: means must not be over fewer patients."""
    last = table[(table["split"] == "test") & (table["epoch"] == LAST_EPOCH)]
    there = set(zip(last["case"], last["metric"], strict=True))
    metrics = sorted(set(table["metric"])) or [""]
    lacking = [(case, metric) for case in test for metric in metrics if (case, metric) not in there]
    if lacking:
        case, metric = lacking[0]
        raise DataError(f"{path}: no row of test case {case}{metric and f' for {metric}'}: it is incomplete; {REPAIR}")


def _typed(table: "pd.DataFrame", path: Path) -> "pd.DataFrame":
    import pandas as pd

    table = table.copy()
    values = pd.to_numeric(table["value"], errors="coerce")
    _refuse(values.isna() & ~table["value"].isin(["", "nan", "NaN"]), table["value"], path, "a number, inf or nothing")
    _refuse(~table["status"].isin(STATUSES), table["status"], path, f"a status among {', '.join(STATUSES)}")
    epochs = pd.to_numeric(table["epoch"].replace({"": "0", "last": str(LAST_EPOCH)}), errors="coerce")
    _refuse(
        ~epochs.between(0, LAST_EPOCH) | (epochs % 1 != 0), table["epoch"], path, "an epoch as a whole number or `last`"
    )
    twice = table.duplicated(["epoch", "split", "case", "lesion", "metric"])
    _refuse(twice, table["case"] + " " + table["metric"], path, "each case and metric once")
    table["value"] = values.astype(float)
    for name in OPTIONAL:
        if name in table.columns:
            table[name] = pd.to_numeric(table[name], errors="coerce").astype(float)
    table["epoch"] = epochs.astype(int)
    table["patient"] = table["patient"].where(table["patient"] != "", table["case"])
    return table


def _refuse(wrong: "pd.Series[bool]", came: "pd.Series[str]", path: Path, expected: str) -> None:
    if wrong.any():
        row = int(wrong.to_numpy().argmax())
        raise DataError(f"{path} line {row + 2}: expected {expected}, got {came.iloc[row]!r}; {REPAIR}")

"""The columns of a long table: names that mean the same, defaults, and the check of every value."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Union

import numpy as np

from lesionloss.collecting.found_predictions import FIRST_SEED
from lesionloss.collecting.patient_names import PatientNames
from lesionloss.core.errors import DataError, UsageError
from lesionloss.metrics import choose
from lesionloss.runs.metric_facts import metric_facts
from lesionloss.runs.scores import LAST_EPOCH, STATUSES

if TYPE_CHECKING:
    import pandas as pd

Table = Union[Path, "pd.DataFrame"]
EXPECTED = "loss (or method), fold, seed, case, patient, metric, value"
MEAN = "mean"  # the class of rows that are means over classes, in the CSV of `evaluate`
PERCENT = 100.0


@dataclass(frozen=True, eq=False)
class TableRows:
    """The rows of one table with all columns of a run, whether it has seeds, and whether it compares methods."""

    rows: "pd.DataFrame"
    seeds_known: bool
    compares: str


def table_name(table: Table) -> str:
    """The file of a table, or what one in memory is called."""
    return str(table) if isinstance(table, Path) else "table"


def read_columns(table: Table, patients: PatientNames) -> TableRows:
    """Read a table and check it.

    Raises:
        UsageError: There is no such file.
        DataError: It has a wrong column or value; names file and line.
    """
    name = table_name(table)
    rows = _texts(table, name)
    method = "method" in rows and "loss" not in rows
    rows = rows.rename(columns={"method": "loss"} if method else {})
    for column in ("metric", "value"):
        if column not in rows:
            raise DataError(f"{name}: no column {column} among {', '.join(rows.columns)}; expected {EXPECTED}")
    if "case" not in rows and "patient" not in rows:
        raise DataError(f"{name}: no column case or patient among {', '.join(rows.columns)}; expected {EXPECTED}")
    rows = _with_classes(_only_compared(rows), name)
    for column in ("loss", "fold", "seed", "case", "patient", "status", "unit", "penalised"):
        if column not in rows:
            rows[column] = ""
    rows["loss"] = rows["loss"].where(rows["loss"] != "", Path(name).stem)
    rows["case"] = rows["case"].where(rows["case"] != "", rows["patient"])
    patients.require(rows["case"])
    given = rows["patient"].where(rows["patient"] != "", rows["case"].map(patients.of))
    rows["patient"] = rows["case"].map(patients.of) if patients.known else given
    seeds_known = bool((rows["seed"] != "").all())
    rows["fold"] = _whole(rows["fold"], name, "fold", 0)
    rows["seed"] = _whole(rows["seed"], name, "seed", FIRST_SEED)
    rows["metric"] = rows["metric"].map(_metric_name)
    rows["unit"] = rows["unit"].where(rows["unit"] != "", rows["metric"].map(lambda text: metric_facts(text).unit))
    rows["status"] = rows["status"].where(rows["status"] != "", STATUSES[0])
    _refuse(~rows["status"].isin(STATUSES), rows["status"], name, f"a status among {', '.join(STATUSES)}")
    rows["value"] = _values(rows, name)
    rows["penalised"] = _real(rows["penalised"])
    return TableRows(rows, seeds_known, "method" if method else "loss")


def _texts(table: Table, name: str) -> "pd.DataFrame":
    """The table as texts, with names of columns in small letters."""
    import pandas as pd

    try:
        rows = pd.read_csv(table, dtype=str, keep_default_na=False) if isinstance(table, Path) else _as_text(table)
    except OSError as error:
        raise UsageError(f"{name}: can't be read ({error.strerror}); give a CSV with {EXPECTED}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{name}: not a CSV ({str(error).splitlines()[0]}); save it as text with {EXPECTED}") from error
    rows.columns = pd.Index([str(column).strip().lower() for column in rows.columns])
    return rows.reset_index(drop=True)


def _as_text(table: "pd.DataFrame") -> "pd.DataFrame":
    empty = table.isna()
    return (
        table.astype(object).map(lambda value: repr(value) if isinstance(value, float) else str(value)).mask(empty, "")
    )


def _only_compared(rows: "pd.DataFrame") -> "pd.DataFrame":
    """Without rows of single lesions, of training images, and of epochs before the last."""
    keep = rows["metric"] != ""
    if "class" in rows and "lesion" in rows:
        keep &= rows["lesion"] == ""
    if "split" in rows:
        keep &= rows["split"].isin(["", "test"])
    if "epoch" in rows:
        keep &= rows["epoch"].isin(["", "last", str(LAST_EPOCH)])
    return rows[keep].copy()


def _with_classes(rows: "pd.DataFrame", name: str) -> "pd.DataFrame":
    """The column `lesion` as in scores.csv: empty for the whole image, else the name of a class.

    Raises:
        DataError: There are several classes without their mean, or no row at all.
    """
    column = "class" if "class" in rows else "lesion" if "lesion" in rows else ""
    labels = rows[column].replace({MEAN: "", "all": ""}) if column else rows["metric"].map(lambda text: "")
    if not len(rows):
        raise DataError(f"{name}: no row of a score in it; expected {EXPECTED}")
    if (labels != "").all():
        if labels.nunique() > 1:
            raise DataError(
                f"{name}: rows of {labels.nunique()} classes, but none of their mean; add rows with an empty class"
            )
        labels = labels.map(lambda text: "")
    named = labels.where(~labels.str.fullmatch(r"[0-9]+"), "label " + labels)
    return rows.drop(columns=[each for each in ("class", "lesion") if each in rows]).assign(lesion=named)


def _metric_name(text: str) -> str:
    """The name of a metric as it is known here, whatever its capital letters; else as it was written."""
    small = text.strip().lower()
    return small if is_known(small) else text.strip()


def is_known(metric: str) -> bool:
    """Whether a metric is one of ours, so that its direction, limits and unit are known."""
    try:
        choose(metric)
    except UsageError:
        return False
    return True


def _values(rows: "pd.DataFrame", name: str) -> "pd.Series[float]":
    """The values as numbers: NaN where there is none.

    Raises:
        DataError: A text is no number, or a metric can't have the value.
    """
    values = _real(rows["value"])
    nothing = rows["value"].str.strip().str.lower().isin(["", "nan", "na", "none"])
    _refuse(values.isna() & ~nothing, rows["value"], name, "a number, inf, or nothing where it is undefined")
    for metric, own in values.groupby(rows["metric"]):
        low, high = metric_facts(str(metric)).limits
        wrong = (own < low) | (own > high)
        if wrong.any():
            percent = high == 1 and own[wrong].between(0, PERCENT).all()
            advice = "; divide percent by 100" if percent else ""
            impossible = wrong.reindex(values.index, fill_value=False)
            _refuse(impossible, rows["value"], name, f"{metric} from {low:g} to {high:g}", advice)
    return values


def _real(texts: "pd.Series[str]") -> "pd.Series[float]":
    import pandas as pd

    return pd.to_numeric(texts, errors="coerce").astype(float)


def _whole(texts: "pd.Series[str]", name: str, column: str, nothing: int) -> "pd.Series[int]":
    numbers = _real(texts.where(texts != "", str(nothing)))
    _refuse(~(numbers >= 0) | (numbers % 1 != 0) | np.isinf(numbers), texts, name, f"{column} as a whole number")
    return numbers.astype(int)


def _refuse(wrong: "pd.Series[bool]", came: "pd.Series[str]", name: str, expected: str, advice: str = "") -> None:
    """Raise DataError for the first wrong row; the index of the rows counts lines behind the head."""
    if wrong.any():
        row = wrong.index[int(wrong.to_numpy().argmax())]
        raise DataError(f"{name} line {row + 2}: expected {expected}, got {came[row]!r}{advice}")

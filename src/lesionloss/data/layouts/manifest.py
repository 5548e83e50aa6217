"""A table of files, for any folder that no other layout knows.

Columns: `patient`; `case` where a patient has several; `visit1`, `visit2`, ... in the order of time, or with contrasts
`visit1_flair`, `visit1_t1`, ...; `reference`; `brain` (the cell or the column may be empty). Paths are relative to the
folder of the table and may not lead out of it, unless they are absolute. A visit may be a DICOM series: its folder,
or FOLDER#SERIES.
"""

import csv
import io
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lesionloss.core.catalogue import nearest
from lesionloss.core.errors import DataError, shown
from lesionloss.data.dicom_headers import check_name, is_series
from lesionloss.data.layouts.records import CaseFiles, FoundCases, Incomplete, Layout, LayoutGroup, Target, published

NAME = "manifest.csv"
FIXED = ("patient", "case", "reference", "brain")
VISIT = re.compile(r"visit([1-9]\d{0,3})(?:_(\w+))?")


@dataclass(frozen=True)
class _Columns:
    """The names of the visits' columns, visits by contrasts."""

    visits: tuple[tuple[str, ...], ...]
    contrasts: tuple[str, ...]


def _table(root: Path) -> Path:
    return root / NAME if root.is_dir() else root


def _recognise(root: Path) -> bool:
    return (root / NAME).is_file()


def _discover(root: Path) -> FoundCases:
    path = _table(root)
    header, rows = _rows(path)
    columns = _columns(path, header)
    found: list[CaseFiles | Incomplete] = []
    lines: dict[str, int] = {}
    for line, row in rows:
        patient = row["patient"]
        name = row.get("case") or patient
        if not patient or "/" in name or "\\" in name:
            raise DataError(f"{path}, line {line}: a patient, and a case without slashes, expected; got {name!r}")
        if lines.setdefault(name, line) != line:
            raise DataError(
                f"{path}, lines {lines[name]} and {line}: two cases named {name!r}; name them apart in a column case"
            )
        found.append(_case(path, line, name, row, columns))
    cases = tuple(case for case in found if isinstance(case, CaseFiles))
    return FoundCases(cases, tuple(case for case in found if isinstance(case, Incomplete)), contrasts=columns.contrasts)


def _rows(path: Path) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """The header and the rows with their line numbers, all cells stripped; columns parted by commas or semicolons."""
    if not path.is_file():
        raise DataError(f"{path}: no such file; name the table, or call it {NAME}")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not UTF-8 text; save the table as CSV (UTF-8)") from error
    first = text.partition("\n")[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=";" if first.count(";") > first.count(",") else ",")
    try:
        header = [cell.strip() for cell in next(reader, [])]
        rows: list[tuple[int, dict[str, str]]] = []
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(header):
                raise DataError(
                    f"{path}, line {reader.line_num}: {len(cells)} cells under {len(header)} columns; "
                    "is a comma inside a cell? then quote the cell"
                )
            stripped = (cell.strip() for cell in cells)
            rows.append((reader.line_num, dict(zip(header, stripped, strict=True))))
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: not a table of comma-separated cells ({error})") from error
    return header, rows


def _columns(path: Path, header: list[str]) -> _Columns:
    known = [*FIXED, "visit1", "visit2", "visit1_flair", "visit2_flair"]
    for column in header:
        if column not in FIXED and not VISIT.fullmatch(column):
            raise DataError(f"{path}: no column is called {column!r}; {nearest(column.lower(), known)}, ...")
        if header.count(column) > 1:
            raise DataError(f"{path}: two columns are called {column!r}; remove one")
    for column in ("patient", "reference"):
        if column not in header:
            raise DataError(f"{path}: no column {column!r}; a table needs patient, visit1 and reference")
    visits: dict[int, dict[str, str]] = {}
    for column in header:
        if match := VISIT.fullmatch(column):
            visits.setdefault(int(match[1]), {})[match[2] or "image"] = column
    numbers = sorted(visits)
    if not numbers or numbers != list(range(1, len(numbers) + 1)):
        raise DataError(f"{path}: columns of visits must be numbered from visit1 without gaps; got {numbers or 'none'}")
    contrasts = tuple(visits[1])
    for number in numbers:
        if set(visits[number]) != set(contrasts):
            raise DataError(
                f"{path}: visit{number} has the contrasts {', '.join(visits[number])}, visit1 {', '.join(contrasts)}; "
                "every visit needs the same"
            )
    return _Columns(tuple(tuple(visits[number][name] for name in contrasts) for number in numbers), contrasts)


def _case(path: Path, line: int, name: str, row: Mapping[str, str], columns: _Columns) -> CaseFiles | Incomplete:
    wanted = [*(column for visit in columns.visits for column in visit), "reference"]
    empty = [column for column in wanted if not row[column]]
    if empty:
        return Incomplete(name, f"line {line} of {path.name} says nothing under {', '.join(empty)}")
    if row.get("brain"):
        wanted.append("brain")
    files = {column: _inside(path, line, column, row[column]) for column in wanted}
    try:
        absent = [str(file) for column, file in files.items() if not (file.is_file() or _is_visit(column, file))]
    except OSError as error:
        raise DataError(f"{path}, line {line}: {error.strerror}: {shown(error.filename)}; correct the path") from error
    if absent:
        return Incomplete(name, f"line {line} of {path.name} names files that are not there: {', '.join(absent)}")
    visits = tuple(tuple(files[column] for column in visit) for visit in columns.visits)
    for image in (image for visit in visits for image in visit if is_series(image)):
        check_name(f"{row['patient']} {name}", image)
    return CaseFiles(name, row["patient"], visits, files["reference"], files.get("brain"))


def _is_visit(column: str, path: Path) -> bool:
    """Whether a column is that of a visit and names a DICOM series."""
    return column not in FIXED and is_series(path)


def _inside(path: Path, line: int, column: str, cell: str) -> Path:
    """The path in a cell. Raises DataError for a relative one that leads out of the table's folder."""
    named = Path(cell)
    if named.is_absolute():
        return named
    if Path(os.path.normpath(named)).parts[:1] == ("..",):
        raise DataError(f"{path}, line {line}, {column}: {cell} leads out of the table's folder; give an absolute path")
    return path.parent / named


LAYOUT = Layout(
    name="csv",
    title="a table of files",
    looks_like=f"a .csv file (or {NAME} in a folder): columns patient, visit1[, visit2, ...], reference[, brain, case]",
    recognise=_recognise,
    discover=_discover,
    targets=(Target("lesions", "the reference, as it is", published),),
    contrasts=(),
    file_ending=".csv",
    group=LayoutGroup.GENERAL,
    visits="any number",
)

"""Which patient a case belongs to: by a table, by a BIDS name, else the case is a patient of its own."""

import csv
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from lesionloss.core.errors import DataError, UsageError

BIDS = re.compile(r"(?:^|[/_])(sub-[A-Za-z0-9]+)")
SHOWN = 5


@dataclass(frozen=True)
class PatientNames:
    """The patients of cases; `known` is empty without a table."""

    known: dict[str, str] = field(default_factory=dict)

    def of(self, case: str) -> str:
        """Return the patient of a case."""
        found = BIDS.search(case)
        return self.known.get(case) or (found.group(1) if found else case)

    def require(self, cases: Iterable[str]) -> None:
        """Check that a table, if there is one, names every case: a patient too many makes every interval too narrow.

        Raises:
            DataError: It lacks some.
        """
        lacking = sorted(set(cases) - set(self.known)) if self.known else []
        if lacking:
            more = f" and {len(lacking) - SHOWN} more" if len(lacking) > SHOWN else ""
            raise DataError(f"--patients has no line for {', '.join(lacking[:SHOWN])}{more}; add case,patient for each")


def read_patients(path: Path | None) -> PatientNames:
    """Read a CSV with the columns case and patient.

    Raises:
        UsageError: There is no such file.
        DataError: It has other columns, an empty cell, or a case twice.
    """
    if path is None:
        return PatientNames()
    try:
        with path.open(newline="", encoding="utf-8-sig") as handle:
            reader = csv.DictReader(handle)
            rows = list(reader)
            columns = reader.fieldnames or []
    except OSError as error:
        raise UsageError(f"--patients {path}: can't be read ({error.strerror}); give a CSV of case,patient") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"--patients {path}: not a CSV ({error}); save it as text with case,patient") from error
    if not {"case", "patient"} <= set(columns):
        raise DataError(f"--patients {path}: columns {', '.join(columns) or 'none'}; expected case and patient")
    known: dict[str, str] = {}
    for number, row in enumerate(rows, 2):
        case, patient = (row[name] or "" for name in ("case", "patient"))
        if not case or not patient or known.get(case, patient) != patient:
            raise DataError(
                f"--patients {path} line {number}: expected one patient for each case, got {case!r}, {patient!r}"
            )
        known[case] = patient
    return PatientNames(known)

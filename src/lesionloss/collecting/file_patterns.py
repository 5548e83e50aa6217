"""Patterns of file names with named fields: `RESULTS/{loss}/fold_{fold}/seed{seed}/{case}.nii.gz`."""

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from lesionloss.core.catalogue import nearest
from lesionloss.core.errors import DataError, UsageError
from lesionloss.metrics.file_matching import files_below

FIELD = re.compile(r"\{([^{}]*)\}")
NUMBERS = ("fold", "seed")
FIELDS = ("loss", "method", "fold", "seed", "case", "patient")
WIDE, NARROW = r"[^/]+", r"[^/]+?"


@dataclass(frozen=True)
class MatchedFile:
    """A file and the fields that its name holds."""

    path: Path
    fields: dict[str, str]


@dataclass(frozen=True)
class FilePattern:
    """A pattern, checked; `*` stands for anything within a name, and fields before it are as short as they can be.

    Raises:
        UsageError: It has an unknown field, no {case}, or both {loss} and {method}.
    """

    text: str
    option: str

    def __post_init__(self) -> None:
        """Check the fields."""
        for name in self.names:
            if name not in FIELDS:
                raise UsageError(
                    f"{self.option} {self.text}: no field is named {{{name}}}; {nearest(name, list(FIELDS))}"
                )
        if "case" not in self.names:
            raise UsageError(
                f"{self.option} {self.text}: no field {{case}} in it; write it where the case's name stands"
            )
        if {"loss", "method"} <= set(self.names):
            raise UsageError(f"{self.option} {self.text}: {{loss}} and {{method}} are one field; write one of them")

    @property
    def names(self) -> list[str]:
        """The fields in their order."""
        return FIELD.findall(self.text)

    @cached_property
    def _fixed(self) -> str:
        start = re.split(r"[{*]", self.text, maxsplit=1)[0]
        return start[: start.rfind("/") + 1]

    @property
    def root(self) -> Path:
        """The folder above the first field."""
        return Path(self._fixed)

    def files(self) -> list[MatchedFile]:
        """Return the files whose names fit, sorted.

        Raises:
            UsageError: There is no such folder, or no file fits.
            DataError: A name can be read in two ways.
        """
        if not self.root.is_dir():
            raise UsageError(f"{self.option} {self.text}: no folder {self.root}; check the path")
        wide, narrow = (self._expression(text) for text in (WIDE, NARROW))
        found, near = [], ""
        for path in sorted(files_below(self.root)):
            name = path.relative_to(self.root).as_posix()
            if any(part.startswith(".") for part in name.split("/")):
                continue
            match, other = narrow.fullmatch(name), wide.fullmatch(name)
            near = near or name
            if match is None or other is None:
                continue
            if "*" not in self.text and match.groupdict() != other.groupdict():
                ways = " or ".join(
                    ", ".join(f"{k} {v}" for k, v in each.groupdict().items()) for each in (match, other)
                )
                raise DataError(f"{path}: its name can be read in two ways ({ways}); put a folder between the fields")
            found.append(MatchedFile(path, match.groupdict()))
        if not found:
            hint = f"the first file there is {near}" if near else "there is no file in it"
            raise UsageError(f"{self.option} {self.text}: no file below {self.root} fits; {hint}")
        return found

    def _expression(self, text: str) -> re.Pattern[str]:
        parts, seen = [], set[str]()
        for place, part in enumerate(FIELD.split(self.text.removeprefix(self._fixed).lstrip("/"))):
            if place % 2 == 0:
                parts.append(re.escape(part).replace(r"\*", r"[^/]*"))
            elif part in seen:
                parts.append(f"(?P={part})")
            else:
                seen.add(part)
                parts.append(f"(?P<{part}>{'[0-9]+' if part in NUMBERS else text})")
        return re.compile("".join(parts))


def files_by_case(text: str, option: str) -> dict[str, Path]:
    """Return one file for each case: of a folder those named CASE.nii.gz, or those that fit a pattern.

    A file CASE_0000.nii.gz, as nnU-Net names the first channel of an image, is that of CASE.

    Raises:
        UsageError: There is no such folder, or nothing in it.
        DataError: A case has two files.
    """
    if "{" in text:
        matched = [(match.fields["case"], match.path) for match in FilePattern(text, option).files()]
    else:
        matched = [(_case_of(path), path) for path in _nifti_files(Path(text), option)]
    found: dict[str, Path] = {}
    for case, path in matched:
        if case in found:
            raise DataError(f"{option}: {found[case]} and {path} are both of case {case}; keep one of them")
        found[case] = path
    return found


def _nifti_files(folder: Path, option: str) -> list[Path]:
    if not folder.is_dir():
        raise UsageError(f"{option} {folder}: no such folder; give a folder of CASE.nii.gz, or a pattern with {{case}}")
    found = [path for path in sorted(folder.iterdir()) if path.name.endswith((".nii.gz", ".nii"))]
    found = [path for path in found if not path.name.startswith(".") and not re.search(r"_000[1-9]\.nii", path.name)]
    if not found:
        raise UsageError(f"{option} {folder}: no .nii or .nii.gz file in it; give a folder of NIfTI files")
    return found


def _case_of(path: Path) -> str:
    return path.name.removesuffix(".gz").removesuffix(".nii").removesuffix("_0000")

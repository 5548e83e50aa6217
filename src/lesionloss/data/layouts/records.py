"""The records of a data set on disk: a folder layout, and the cases that it finds."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lesionloss.data.subject import LESION, Image, Labels, Mask, Subject
from lesionloss.data.volume import Affine


@dataclass(frozen=True)
class CaseFiles:
    """The files of one case.

    Attributes:
        name: Name of the case, unique in its folder.
        patient: Name of the patient.
        visits: Image files in the order of time, each visit with its contrasts in the order of the layout.
        reference: File of the reference, None where there is none.
        brain: File of the brain mask, None where there is none.
        part: Number of the image in files that hold many, else None.
        more_references: The other files of a reference that is spread over several.
        ordered_by: What told the order of the visits, where their names or a table did.
    """

    name: str
    patient: str
    visits: tuple[tuple[Path, ...], ...]
    reference: Path | None
    brain: Path | None
    part: int | None = None
    more_references: tuple[Path, ...] = ()
    ordered_by: str = ""

    def all(self) -> tuple[Path, ...]:
        """List every file of the case."""
        images = tuple(path for visit in self.visits for path in visit)
        single = tuple(path for path in (self.reference, self.brain) if path is not None)
        return (*images, *single, *self.more_references)


@dataclass(frozen=True)
class Incomplete:
    """A patient that can't be used, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class MasksOnly:
    """An incomplete patient whose reference and brain mask are there: enough for the statistics of lesions."""

    name: str
    patient: str
    reference: Path
    brain: Path


@dataclass(frozen=True)
class LabelRule:
    """What the values of a reference file mean.

    Attributes:
        classes: Names of the lesion classes, in the order of their class numbers from 1.
        values: Pairs (value in the file, class number); class number 0 makes a value background.
        ignored: Values that are neither lesion nor background.
    """

    classes: tuple[str, ...] = LESION
    values: tuple[tuple[int, int], ...] = ((1, 1),)
    ignored: tuple[int, ...] = ()


@dataclass(frozen=True)
class Target:
    """What is to be segmented.

    Attributes:
        name: Name on the command line.
        title: What it is, in a few words.
        derive: Takes a subject with the published reference and returns the reference of this target.
        labels: Replaces the label rule of the layout where the target has other classes.
    """

    name: str
    title: str
    derive: Callable[[Subject], Labels | None]
    labels: LabelRule | None = None


@dataclass(frozen=True)
class FoundCases:
    """The cases of a folder, and the patients that are left out; `masks` are those of incomplete patients.

    `labels` and `contrasts` replace those of the layout where the folder itself defines them.
    """

    cases: tuple[CaseFiles, ...]
    incomplete: tuple[Incomplete, ...]
    labels: LabelRule | None = None
    contrasts: tuple[str, ...] | None = None
    masks: tuple[MasksOnly, ...] = ()


@dataclass(frozen=True)
class CaseArrays:
    """What a layout's own reader returns: visits (C, *space), reference (*space) with the values of the file."""

    visits: tuple[Image, ...]
    reference: npt.NDArray[np.integer[Any]] | None
    brain: Mask | None
    affine: Affine


class LayoutGroup(Enum):
    """Kinds of data sets, in the order in which layouts are listed."""

    LONGITUDINAL = "two visits"
    CROSS_SECTIONAL = "one visit"
    GENERAL = "general formats"
    PICTURES = "pictures"
    ORGANS = "organs"


@dataclass(frozen=True)
class Layout:
    """A folder layout. The docstring of its module describes it to users.

    All functions are functions of modules, or partial ones of them, so that a layout can be sent to other processes.

    Attributes:
        name: Name on the command line.
        title: What the data are, in a few words.
        looks_like: The folder, as error messages and documentation show it.
        recognise: Whether a folder has this layout.
        discover: The cases of a folder, or of the one file.
        targets: What can be segmented; the first is the default.
        contrasts: Names of a visit's contrasts; empty where the folder defines them.
        labels: What the values of the reference mean.
        read: Reads a case; None for NIfTI files, which are all read and checked alike.
        file_ending: Ending of the one file (".csv") that may be named in place of a folder.
        group: The kind of data set.
        visits: How many visits a case has, for the documentation.
        tested_on: The real files that it was tested on, for the documentation; empty for none.
    """

    name: str
    title: str
    looks_like: str
    recognise: Callable[[Path], bool]
    discover: Callable[[Path], FoundCases]
    targets: tuple[Target, ...]
    contrasts: tuple[str, ...] = ("flair",)
    labels: LabelRule = LabelRule()
    read: Callable[[CaseFiles], CaseArrays] | None = None
    file_ending: str | None = None
    group: LayoutGroup = LayoutGroup.GENERAL
    visits: str = "1"
    tested_on: str = ""


def published(subject: Subject) -> Labels | None:
    """Return the reference as it was published."""
    return subject.reference

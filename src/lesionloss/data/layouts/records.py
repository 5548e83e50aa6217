"""The records of a dataset on disk, and the catalogue of known folder layouts."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lesionloss.core.catalogue import Catalogue
from lesionloss.data.subject import LESION, Image, Labels, Mask, Subject
from lesionloss.data.volume import Affine


@dataclass(frozen=True)
class CaseFiles:
    """The files of one case: `visits` in the order of time, each with its contrasts in the order of the layout.

    `part` is the number of the image in files that hold many, None otherwise; `more` are the other files of a
    reference that is spread over several.
    """

    name: str
    patient: str
    visits: tuple[tuple[Path, ...], ...]
    reference: Path | None
    brain: Path | None
    part: int | None = None
    more: tuple[Path, ...] = ()

    def all(self) -> tuple[Path, ...]:
        """Every file that is there."""
        images = tuple(path for visit in self.visits for path in visit)
        return (*images, *(path for path in (self.reference, self.brain) if path is not None), *self.more)


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
    """What the values of a reference file mean: class numbers for those of `classes`, 0 background, `ignored` neither.

    `values` maps a value in the file to a class number (1 is the first of `classes`; 0 makes it background).
    """

    classes: tuple[str, ...] = LESION
    values: tuple[tuple[int, int], ...] = ((1, 1),)
    ignored: tuple[int, ...] = ()


@dataclass(frozen=True)
class Target:
    """What is to be found. `derive` takes a subject whose reference is the published mask and gives the mask sought.

    `labels` replaces the label rule of the layout where the target has other classes.
    """

    name: str
    title: str
    derive: Callable[[Subject], Labels | None]
    labels: LabelRule | None = None


@dataclass(frozen=True)
class FoundCases:
    """The cases of a folder, and what had to be left out; `masks` are those of incomplete patients.

    `labels` and `contrasts` replace those of the layout where the folder itself says what they are.
    """

    cases: tuple[CaseFiles, ...]
    incomplete: tuple[Incomplete, ...]
    labels: LabelRule | None = None
    contrasts: tuple[str, ...] | None = None
    masks: tuple[MasksOnly, ...] = ()


@dataclass(frozen=True)
class CaseArrays:
    """What a layout's own reader gives: contrasts (C, *space) per visit, values of the reference as in the file."""

    visits: tuple[Image, ...]
    reference: npt.NDArray[np.int32] | None
    brain: Mask | None
    affine: Affine


@dataclass(frozen=True)
class Layout:
    """A folder layout. `looks_like` shows it in error messages; the first of `targets` is the default.

    `read` is None for NIfTI files, which are all read and checked alike. `file_ending` is that of the one file (".csv")
    that may be named in place of a folder; `recognise` is asked about folders only. All functions are those of modules,
    or partial ones of them, so that a layout travels between processes.
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


layouts: Catalogue[Layout] = Catalogue("dataset layout")


def published(subject: Subject) -> Labels | None:
    """The reference as it was published."""
    return subject.reference

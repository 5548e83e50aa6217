"""The records of a dataset on disk, and the catalogue of known folder layouts."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lesionloss.catalogue import Catalogue
from lesionloss.data.nifti import Affine
from lesionloss.data.subject import LESION, Image, Labels, Mask, Subject


@dataclass(frozen=True)
class Files:
    """The files of one case: `visits` in the order of time, each with its contrasts in the order of the layout.

    `part` is the number of the image in files that hold many, None otherwise.
    """

    name: str
    patient: str
    visits: tuple[tuple[Path, ...], ...]
    reference: Path | None
    brain: Path | None
    part: int | None = None

    def all(self) -> tuple[Path, ...]:
        """Every file that is there."""
        images = tuple(path for visit in self.visits for path in visit)
        return (*images, *(path for path in (self.reference, self.brain) if path is not None))


@dataclass(frozen=True)
class Incomplete:
    """A patient that can't be used, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Target:
    """What is to be found. `derive` takes a subject whose reference is the published mask and gives the mask sought."""

    name: str
    title: str
    derive: Callable[[Subject], Labels | None]


@dataclass(frozen=True)
class Found:
    """The cases of a folder, and what had to be left out."""

    cases: tuple[Files, ...]
    incomplete: tuple[Incomplete, ...]


@dataclass(frozen=True)
class LabelRule:
    """What the values of a reference file mean: class numbers for those of `classes`, 0 background, `ignored` neither.

    `values` maps a value in the file to a class number (1 is the first of `classes`).
    """

    classes: tuple[str, ...] = LESION
    values: tuple[tuple[int, int], ...] = ((1, 1),)
    ignored: tuple[int, ...] = ()


@dataclass(frozen=True)
class Raw:
    """What a layout's own reader gives: contrasts (C, *space) per visit, values of the reference as in the file."""

    visits: tuple[Image, ...]
    reference: npt.NDArray[np.int32] | None
    brain: Mask | None
    affine: Affine


@dataclass(frozen=True)
class Layout:
    """A folder layout. `looks_like` shows it in error messages; the first of `targets` is the default.

    `read` is None for NIfTI files, which are all read and checked alike.
    """

    name: str
    title: str
    looks_like: str
    recognise: Callable[[Path], bool]
    discover: Callable[[Path], Found]
    targets: tuple[Target, ...]
    contrasts: tuple[str, ...] = ("flair",)
    labels: LabelRule = LabelRule()
    read: Callable[[Files], Raw] | None = None


layouts: Catalogue[Layout] = Catalogue("dataset layout")


def published(subject: Subject) -> Labels | None:
    """The reference as it was published."""
    return subject.reference


def image_file(folder: Path, stem: str) -> Path | None:
    """`stem.nii.gz` or else `stem.nii` in a folder; None if there is neither."""
    candidates = (folder / f"{stem}.nii.gz", folder / f"{stem}.nii")
    return next((path for path in candidates if path.is_file()), None)


def discover_in(folders: list[Path], visits: tuple[str, ...], reference: str, brain: str, brain_needed: bool) -> Found:
    """One patient per folder, one case per patient; the texts are the stems of the files' names.

    A folder without a visit or a reference (or brain mask, where needed) is incomplete.
    """
    cases: list[Files] = []
    incomplete: list[Incomplete] = []
    for folder in folders:
        found = {stem: image_file(folder, stem) for stem in (*visits, reference, brain)}
        needed = (*visits, reference, brain) if brain_needed else (*visits, reference)
        missing = [f"{stem}.nii.gz" for stem in needed if found[stem] is None]
        if missing:
            incomplete.append(Incomplete(folder.name, f"no {', '.join(missing)}"))
            continue
        paths = tuple((path,) for stem in visits if (path := found[stem]) is not None)
        cases.append(Files(folder.name, folder.name, paths, found[reference], found[brain]))
    return Found(tuple(cases), tuple(incomplete))


def folders_in(root: Path) -> list[Path]:
    """The visible folders of a folder, by name."""
    return sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))

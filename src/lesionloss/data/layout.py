"""The records of a dataset on disk, and the catalogue of known folder layouts."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lesionloss.core.catalogue import Catalogue
from lesionloss.data.subject import LESION, Image, Labels, Mask, Subject
from lesionloss.data.volume import Affine

NIFTI_ENDINGS = (".nii.gz", ".nii")


@dataclass(frozen=True)
class Files:
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
class Found:
    """The cases of a folder, and what had to be left out; `masks` are those of incomplete patients.

    `labels` and `contrasts` replace those of the layout where the folder itself says what they are.
    """

    cases: tuple[Files, ...]
    incomplete: tuple[Incomplete, ...]
    labels: LabelRule | None = None
    contrasts: tuple[str, ...] | None = None
    masks: tuple[MasksOnly, ...] = ()


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

    `read` is None for NIfTI files, which are all read and checked alike. `file_ending` is that of the one file (".csv")
    that may be named in place of a folder; `recognise` is asked about folders only. All functions are those of modules,
    or partial ones of them, so that a layout travels between processes.
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
    file_ending: str | None = None


layouts: Catalogue[Layout] = Catalogue("dataset layout")


def published(subject: Subject) -> Labels | None:
    """The reference as it was published."""
    return subject.reference


def image_file(folder: Path, stem: str) -> Path | None:
    """`stem.nii.gz` or else `stem.nii` in a folder; None if there is neither."""
    candidates = (folder / f"{stem}{ending}" for ending in NIFTI_ENDINGS)
    return next((path for path in candidates if path.is_file()), None)


@dataclass(frozen=True)
class Wanted:
    """Where the files of one case should be: paths in `folder`, without the endings of their names.

    `brain` is None where the layout has no such mask; a case without one is incomplete only if `brain_needed`.
    """

    name: str
    patient: str
    folder: Path
    visits: tuple[tuple[str, ...], ...]
    reference: str
    brain: str | None = None
    brain_needed: bool = False


def collect(
    wanted: Iterable[Wanted], find: Callable[[Path, str], Path | None] = image_file, ending: str = ".nii.gz"
) -> Found:
    """The cases whose files are all there, by `find(folder, stem)`; the others are incomplete, with what they lack.

    `ending` completes a stem in that message.
    """
    cases: list[Files] = []
    incomplete: list[Incomplete] = []
    masks: list[MasksOnly] = []
    for case in wanted:
        stems = [*(stem for visit in case.visits for stem in visit), case.reference]
        found = {stem: find(case.folder, stem) for stem in stems}
        brain = None if case.brain is None else find(case.folder, case.brain)
        missing = [stem for stem in stems if found[stem] is None]
        if case.brain is not None and case.brain_needed and brain is None:
            missing.append(case.brain)
        if missing:
            names = ", ".join(f"{stem}{ending}" for stem in missing)
            incomplete.append(Incomplete(case.name, f"no {names}"))
            reference = found[case.reference]
            if reference is not None and brain is not None:
                masks.append(MasksOnly(case.name, case.patient, reference, brain))
            continue
        visits = tuple(tuple(path for stem in visit if (path := found[stem]) is not None) for visit in case.visits)
        cases.append(Files(case.name, case.patient, visits, found[case.reference], brain))
    return Found(tuple(cases), tuple(incomplete), masks=tuple(masks))


def discover_in(folders: list[Path], visits: tuple[str, ...], reference: str, brain: str, brain_needed: bool) -> Found:
    """One patient per folder, one case per patient, one contrast per visit; the texts are the stems of file names.

    A folder without a visit or a reference (or brain mask, where needed) is incomplete.
    """
    one_each = tuple((visit,) for visit in visits)
    return collect(
        Wanted(folder.name, folder.name, folder, one_each, reference, brain, brain_needed) for folder in folders
    )


def folders_in(root: Path) -> list[Path]:
    """The visible folders of a folder, by name; none if there is no such folder."""
    if not root.is_dir():
        return []
    return sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))


def stems_in(folder: Path) -> list[str]:
    """The names of the visible NIfTI files of a folder without their endings, in order; none if there is no folder."""
    if not folder.is_dir():
        return []
    names = [path.name for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")]
    return sorted({name.removesuffix(".gz").removesuffix(".nii") for name in names if name.endswith(NIFTI_ENDINGS)})

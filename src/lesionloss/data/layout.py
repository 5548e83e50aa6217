"""The records of a dataset on disk, and the catalogue of known folder layouts."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lesionloss.catalogue import Catalogue
from lesionloss.data.subject import Mask, Subject


@dataclass(frozen=True)
class Files:
    """The files of one case; `visits` in the order of time."""

    name: str
    patient: str
    visits: tuple[Path, ...]
    reference: Path | None
    brain: Path | None

    def all(self) -> tuple[Path, ...]:
        """Every file that is there."""
        return (*self.visits, *(path for path in (self.reference, self.brain) if path is not None))


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
    derive: Callable[[Subject], Mask | None]


@dataclass(frozen=True)
class Found:
    """The cases of a folder, and what had to be left out."""

    cases: tuple[Files, ...]
    incomplete: tuple[Incomplete, ...]


@dataclass(frozen=True)
class Layout:
    """A folder layout. `looks_like` shows it in error messages; the first of `targets` is the default."""

    name: str
    title: str
    looks_like: str
    recognise: Callable[[Path], bool]
    discover: Callable[[Path], Found]
    targets: tuple[Target, ...]


layouts: Catalogue[Layout] = Catalogue("dataset layout")


def published(subject: Subject) -> Mask | None:
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
        paths = tuple(path for stem in visits if (path := found[stem]) is not None)
        cases.append(Files(folder.name, folder.name, paths, found[reference], found[brain]))
    return Found(tuple(cases), tuple(incomplete))


def folders_in(root: Path) -> list[Path]:
    """The visible folders of a folder, by name."""
    return sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))

"""Which files of a case are there: what most layouts need to list their cases."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from lesionloss.data.layouts.records import CaseFiles, FoundCases, Incomplete, MasksOnly

NIFTI_ENDINGS = (".nii.gz", ".nii")


def image_file(folder: Path, stem: str) -> Path | None:
    """`stem.nii.gz` or else `stem.nii` in a folder; None if there is neither."""
    candidates = (folder / f"{stem}{ending}" for ending in NIFTI_ENDINGS)
    return next((path for path in candidates if path.is_file()), None)


@dataclass(frozen=True)
class ExpectedFiles:
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


def collect_cases(
    wanted: Iterable[ExpectedFiles], find: Callable[[Path, str], Path | None] = image_file, ending: str = ".nii.gz"
) -> FoundCases:
    """The cases whose files are all there, by `find(folder, stem)`; the others are incomplete, with what they lack.

    `ending` completes a stem in that message.
    """
    cases: list[CaseFiles] = []
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
        cases.append(CaseFiles(case.name, case.patient, visits, found[case.reference], brain))
    return FoundCases(tuple(cases), tuple(incomplete), masks=tuple(masks))


def discover_in(
    folders: list[Path], visits: tuple[str, ...], reference: str, brain: str, brain_needed: bool
) -> FoundCases:
    """One patient per folder, one case per patient, one contrast per visit; the texts are the stems of file names.

    A folder without a visit or a reference (or brain mask, where needed) is incomplete.
    """
    one_each = tuple((visit,) for visit in visits)
    return collect_cases(
        ExpectedFiles(folder.name, folder.name, folder, one_each, reference, brain, brain_needed) for folder in folders
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

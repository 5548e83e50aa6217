"""Which files of a case are there: what most layouts need to list their cases."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from lesionloss.core.errors import DataError
from lesionloss.data.layouts.records import CaseFiles, FoundCases, Incomplete, MasksOnly

NIFTI_ENDINGS = (".nii.gz", ".nii")


def image_file(folder: Path, stem: str) -> Path | None:
    """Find `stem.nii.gz` or `stem.nii` in a folder; None if there is neither.

    A link counts even if it leads nowhere: reading it says so.

    Raises:
        DataError: Both are there.
    """
    found = [path for ending in NIFTI_ENDINGS if _is_there(path := folder / f"{stem}{ending}")]
    if len(found) > 1:
        raise DataError(f"{found[0]} and {found[1]} have one name; keep one of them")
    return found[0] if found else None


def _is_there(path: Path) -> bool:
    return path.is_file() or (path.is_symlink() and not path.exists())


@dataclass(frozen=True)
class ExpectedFiles:
    """Where the files of one case should be: paths in `folder`, without the endings of their names.

    `brain` is None where the layout has no brain mask; a case without one is incomplete only if `brain_needed`.
    """

    name: str
    patient: str
    folder: Path
    visits: tuple[tuple[str, ...], ...]
    reference: str
    brain: str | None = None
    brain_needed: bool = False


def collect_cases(
    expected: Iterable[ExpectedFiles], find: Callable[[Path, str], Path | None] = image_file, ending: str = ".nii.gz"
) -> FoundCases:
    """Sort cases into complete ones, whose files are all there, and incomplete ones, with the files that are missing.

    Args:
        expected: The files of each case.
        find: Finds the file of a stem in a folder.
        ending: Completes a stem in the message about a missing file.

    Returns:
        The cases; the masks of incomplete patients that have both masks.
    """
    cases: list[CaseFiles] = []
    incomplete: list[Incomplete] = []
    masks: list[MasksOnly] = []
    for case in expected:
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
    """Collect one case per folder, with one contrast per visit.

    Args:
        folders: The patients' folders.
        visits: Stems of the visits' files, in the order of time.
        reference: Stem of the reference.
        brain: Stem of the brain mask.
        brain_needed: Whether a patient without a brain mask is incomplete.

    Returns:
        The cases.
    """
    one_each = tuple((visit,) for visit in visits)
    return collect_cases(
        ExpectedFiles(folder.name, folder.name, folder, one_each, reference, brain, brain_needed) for folder in folders
    )


def folders_in(root: Path) -> list[Path]:
    """List the visible folders of a folder, by name; none if there is no such folder."""
    if not root.is_dir():
        return []
    return sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))


def stems_in(folder: Path) -> list[str]:
    """List the names of the visible NIfTI files of a folder without their endings; none if there is no such folder."""
    if not folder.is_dir():
        return []
    names = [path.name for path in folder.iterdir() if _is_there(path) and not path.name.startswith(".")]
    return sorted({name.removesuffix(".gz").removesuffix(".nii") for name in names if name.endswith(NIFTI_ENDINGS)})

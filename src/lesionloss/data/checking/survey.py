"""A cohort read once and described: the figures of each case, every problem, and warnings."""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lesionloss.data.checking.case_summary import CaseSummary, summarise_cohort
from lesionloss.data.checking.check_case import CheckedCase, check_case
from lesionloss.data.checking.check_splits import ListedCase, SplitFold, split_problems
from lesionloss.data.checking.duplicates import image_numbers, same_images, same_names, shared_references
from lesionloss.data.cohort import Cohort
from lesionloss.data.layouts.records import CaseFiles, LayoutGroup

__all__ = ["CaseSummary", "Survey", "survey"]

# From this ratio of the longest to the shortest edge on, voxels are rods.
ANISOTROPIC = 2.5
NAMED = 6
HEADS = (LayoutGroup.LONGITUDINAL, LayoutGroup.CROSS_SECTIONAL)


@dataclass(frozen=True)
class Survey:
    """The figures of all cases that could be read; problems (exit code 1) and warnings (exit code 0), one line each.

    `pairings` has a line for each case of several visits: their files in the order of time.
    """

    layout: str
    title: str
    target: str
    cases: tuple[CaseSummary, ...]
    problems: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    pairings: tuple[str, ...] = ()

    @property
    def patients(self) -> int:
        """Number of different patients."""
        return len({case.patient for case in self.cases})

    @property
    def lesion_share(self) -> float:
        """Lesion voxels of all cases over all their voxels."""
        voxels = sum(case.voxels for case in self.cases)
        return sum(case.lesion_voxels for case in self.cases) / voxels if voxels else 0.0

    def sums(self) -> dict[str, Any]:
        """Compute the figures of the cohort: see `summarise_cohort`."""
        return summarise_cohort(self.cases)

    def as_record(self) -> dict[str, Any]:
        """Convert the survey to plain values for JSON, with the figures of the cohort."""
        return {**asdict(self), "sums": self.sums()}


def survey(
    cohort: Cohort,
    each: Callable[[tuple[CaseFiles, ...]], Iterable[CaseFiles]] = lambda cases: cases,
    splits: tuple[Path, tuple[SplitFold, ...]] | None = None,
) -> Survey:
    """Read every case of a cohort and list all problems; a case that can't be used is a problem, not an error.

    Args:
        cohort: The cases.
        each: Wraps the cases, e.g. in a progress bar.
        splits: A file and its folds, to be checked for patients and images on two sides.

    Returns:
        The survey.
    """
    checked = [check_case(cohort, files) for files in each(cohort.cases)]
    thumbnails = [one for case in checked for one in case.thumbnails]
    problems = [f"{cohort.root}: {patient.name} is left out: {patient.reason}" for patient in cohort.incomplete]
    twice, alike = same_images(thumbnails)
    problems += [*same_names(files.patient for files in cohort.cases), *twice]
    problems += shared_references([mask for case in checked for mask in case.masks])
    problems += [line for case in checked for line in case.problems]
    summaries = tuple(case.summary for case in checked if case.summary is not None)
    warnings = [*alike, *(line for case in checked for line in case.warnings)]
    warnings += _of_the_whole(summaries, cohort.layout.group)
    warnings += [*_orientations(summaries), *_unused_classes(cohort, summaries)]
    if splits is not None:
        found, open_ends = split_problems(*splits, _listed(cohort, checked))
        problems += found
        warnings += open_ends
    layout = cohort.layout
    return Survey(
        layout.name, layout.title, cohort.target.name, summaries, tuple(problems), tuple(warnings), _pairings(cohort)
    )


def _pairings(cohort: Cohort) -> tuple[str, ...]:
    def shown(path: Path) -> str:
        return str(path.relative_to(cohort.root) if path.is_relative_to(cohort.root) else path)

    return tuple(
        f"{files.name}: {' -> '.join(shown(visit[0]) for visit in files.visits)}"
        + (f" (by {files.ordered_by})" if files.ordered_by else "")
        for files in cohort.cases
        if len(files.visits) > 1
    )


def _listed(cohort: Cohort, checked: list[CheckedCase]) -> list[ListedCase]:
    thumbnails = [one for case in checked for one in case.thumbnails]
    contents: dict[str, list[str]] = {files.name: [] for files in cohort.cases}
    for one, number in zip(thumbnails, image_numbers(thumbnails), strict=True):
        contents[one.case].append(f"image {number}")
    for case in checked:
        for name, _, _, digest in case.masks:
            contents[name].append(f"mask {digest.hex()}")
    return [ListedCase(files.name, files.patient, tuple(contents[files.name])) for files in cohort.cases]


def _of_the_whole(cases: tuple[CaseSummary, ...], group: LayoutGroup) -> list[str]:
    """Write one line for each warning that many cases may share; only heads have a skull."""
    of_heads = "" if group in HEADS else " (if these are heads)"
    may_be_heads = group in (*HEADS, LayoutGroup.GENERAL)
    flat = [case for case in cases if max(case.spacing_mm) / min(case.spacing_mm) >= ANISOTROPIC]
    worst = max((max(case.spacing_mm) / min(case.spacing_mm) for case in flat), default=0.0)
    tiny = [case for case in cases if case.tiny_lesions]
    return [
        line
        for line, concerned in (
            ("no reference: nothing to train on or to score", [case for case in cases if not case.reference]),
            (f"no brain mask{of_heads}: prepare makes a simple one that keeps parts of the skull; supply masks or name "
             "a tool", [case for case in cases if may_be_heads and not case.brain_mask and len(case.shape) == 3]),
            (f"anisotropic voxels, edges differ up to {worst:.1f} times: choose patches in mm", flat),
            (f"{sum(case.tiny_lesions for case in tiny)} lesions are no larger than a cube of the longest edge: plain "
             "resampling would lose some; prepare keeps one voxel of each", tiny),
        )
        if concerned
        for line in [f"{_names(concerned, len(cases))}: {line}"]
    ]  # fmt: skip


def _orientations(cases: tuple[CaseSummary, ...]) -> list[str]:
    """Write a line on cases without an orientation in the header, and one on cases of several orientations."""
    lines: list[str] = []
    unknown = [case for case in cases if "" in case.orientations]
    if unknown:
        lines.append(
            f"{_names(unknown, len(cases))}: no orientation in the header (qform and sform codes are 0): which side is "
            "left is a guess; copy qform and sform from the images that these were made from"
        )
    groups: dict[str, list[str]] = {}
    for case in cases:
        known = " and ".join(axes for axes in case.orientations if axes)
        groups.setdefault(known, []).append(case.name)
    groups.pop("", None)
    if len(groups) > 1 or any(" and " in axes for axes in groups):
        shown = "; ".join(f"{axes}: {_few(names)}" for axes, names in sorted(groups.items()))
        lines.append(f"orientations differ ({shown}): the step orient of prepare brings all to one, RAS by default")
    return lines


def _unused_classes(cohort: Cohort, cases: tuple[CaseSummary, ...]) -> list[str]:
    """Write a line for the declared classes that no case holds."""
    held = {number for case in cases for number in case.labels}
    classes = cohort.layout.labels.classes
    absent = [name for number, name in enumerate(classes, start=1) if number not in held]
    if not absent or not any(case.reference for case in cases):
        return []
    return [f"{', '.join(absent)}: declared, but no case holds a voxel of it; check the labels' values"]


def _few(names: list[str]) -> str:
    return ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")


def _names(cases: list[CaseSummary], total: int) -> str:
    return f"{len(cases)} of {total} cases ({_few([case.name for case in cases])})"

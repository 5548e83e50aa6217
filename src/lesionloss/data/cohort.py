"""A dataset's folder opened: which cases it holds, and one case read and checked."""

import itertools
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lesionloss.catalogue import nearest
from lesionloss.data.datasets import layouts
from lesionloss.data.layout import Files, Incomplete, Layout, Target
from lesionloss.data.nifti import Volume, read_mask, read_volume, same_grid
from lesionloss.data.subject import Subject
from lesionloss.errors import DataError, UsageError

__all__ = ["Cohort", "Files", "Incomplete", "load_subject", "open_cohort"]


@dataclass(frozen=True)
class Cohort:
    """The cases found under `root`, and the patients left out."""

    layout: Layout
    target: Target
    root: Path
    cases: tuple[Files, ...]
    incomplete: tuple[Incomplete, ...]


def open_cohort(text: str | Path, target: str | None = None) -> Cohort:
    """Open `PATH` (the layout is recognised by its files), `lit:PATH` or `msseg2:PATH`. Reads no image yet.

    `target` is the name of one of the layout's targets; None takes its first. Raises UsageError for an unknown layout,
    target or path, DataError where no complete case is found.
    """
    layout, root = _layout_and_root(str(text))
    found = layout.discover(root)
    if not found.cases:
        reason = f"; {found.incomplete[0].name}: {found.incomplete[0].reason}" if found.incomplete else ""
        raise DataError(f"{root}: no complete case; {layout.name} looks like {layout.looks_like}{reason}")
    return Cohort(layout, _target(layout, target), root, found.cases, found.incomplete)


def _layout_and_root(text: str) -> tuple[Layout, Path]:
    name, colon, rest = text.partition(":")
    if colon and (name in layouts or not Path(text).exists()):
        layout, root = layouts.get(name), Path(rest).expanduser()
        _check_folder(root)
        return layout, root
    root = Path(text).expanduser()
    _check_folder(root)
    matching = [layout for layout in layouts if layout.recognise(root)]
    if not matching:
        known = "; ".join(f"{layout.name}: {layout.looks_like}" for layout in layouts)
        raise DataError(f"{root}: not a known dataset layout; known: {known}")
    if len(matching) > 1:
        ways = " or ".join(f"{layout.name}:{root}" for layout in matching)
        raise UsageError(f"{root}: files of more than one layout; say {ways}")
    return matching[0], root


def _check_folder(root: Path) -> None:
    if not root.is_dir():
        what = "is a file, not a folder; name the folder" if root.exists() else "no such folder; name the folder"
        raise UsageError(f"{root}: {what} that holds the patients")


def _target(layout: Layout, name: str | None) -> Target:
    if name is None:
        return layout.targets[0]
    for target in layout.targets:
        if target.name == name:
            return target
    names = [target.name for target in layout.targets]
    raise UsageError(f"the layout {layout.name} has no target named {name!r}; {nearest(name, names)}")


def load_subject(cohort: Cohort, files: Files) -> Subject:
    """Read and check the files of one case; its reference is the cohort's target.

    Raises DataError for a file that can't be believed, files on different grids, or the same image as both visits.
    """
    visits = [read_volume(path) for path in files.visits]
    reference = None if files.reference is None else read_mask(files.reference)
    brain = None if files.brain is None else read_mask(files.brain)
    others: list[Volume[Any]] = [*visits[1:], *(mask for mask in (reference, brain) if mask is not None)]
    for other in others:
        same_grid(visits[0], other)
    if brain is not None and not brain.array.any():
        raise DataError(f"{files.brain}: the brain mask is empty; make it again or remove the file")
    for earlier, later in itertools.pairwise(visits):
        if np.array_equal(earlier.array, later.array):
            raise DataError(f"{earlier.path} and {later.path} hold the same image; supply two different visits")
    subject = Subject(
        name=files.name,
        patient=files.patient,
        visits=tuple(visit.array for visit in visits),
        reference=None if reference is None else reference.array,
        brain=None if brain is None else brain.array,
        affine=visits[0].affine,
    )
    return replace(subject, reference=cohort.target.derive(subject))

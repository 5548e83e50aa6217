"""The folder of a data set opened: which cases it holds, and one case read and checked."""

import itertools
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lesionloss.core.catalogue import nearest
from lesionloss.core.errors import DataError, UsageError
from lesionloss.data.cohort_index import INDEX
from lesionloss.data.dicom_headers import dicom_files, is_series, split_series
from lesionloss.data.layouts import layouts
from lesionloss.data.layouts.records import CaseArrays, CaseFiles, Incomplete, LabelRule, Layout, MasksOnly, Target
from lesionloss.data.nifti import read_labels, read_mask, read_volume
from lesionloss.data.resampling.turn import turned
from lesionloss.data.subject import Labels, Mask, Subject
from lesionloss.data.volume import Volume, Voxel, orientation, same_grid

# File systems take 255; endings and the prefix of unfinished files need the others.
LONGEST_NAME_BYTES = 180
SHOWN_CHARACTERS = 40
DICOM = "dicom"  # the layout that takes PATH#SERIES

__all__ = ["CaseFiles", "Cohort", "Incomplete", "UnknownTarget", "load_subject", "open_cohort"]


class UnknownTarget(UsageError):
    """A layout has no target of a name."""


@dataclass(frozen=True)
class Cohort:
    """The cases found under the folder `root`, the incomplete patients, and the masks of those that have some."""

    layout: Layout
    target: Target
    root: Path
    cases: tuple[CaseFiles, ...]
    incomplete: tuple[Incomplete, ...]
    masks: tuple[MasksOnly, ...] = ()


def open_cohort(text: str | Path, target: str | None = None) -> Cohort:
    """List the cases of a data set's folder; no image is read yet.

    Args:
        text: `PATH`, whose layout is recognised by its files, or `LAYOUT:PATH`, e.g. `lit:PATH`.
        target: Name of one of the layout's targets; None takes the first.

    Returns:
        The cohort; its layout has the label rule and contrasts of this folder and target.

    Raises:
        UsageError: The layout, target or path is unknown, or the folder fits several layouts.
        DataError: No complete case is found, or two cases have one name.
    """
    layout, root = _layout_and_root(str(text))
    chosen = _target(layout, target)
    found = layout.discover(root)
    if not found.cases:
        reason = f"; {found.incomplete[0].name}: {found.incomplete[0].reason}" if found.incomplete else ""
        raise DataError(f"{root}: no complete case; {layout.name} looks like {layout.looks_like}{reason}")
    _check_names(root, found.cases)
    labels = chosen.labels or found.labels or layout.labels
    here = replace(layout, labels=labels, contrasts=found.contrasts or layout.contrasts)
    folder = split_series(root)[0] if is_series(root) else root.parent
    return Cohort(here, chosen, folder, found.cases, found.incomplete, found.masks)


def _check_names(root: Path, cases: tuple[CaseFiles, ...]) -> None:
    """Raise DataError if a name can't be that of a file, or is that of two cases: one would overwrite the other."""
    firsts: dict[str, CaseFiles] = {}
    for files in cases:
        wrong = _wrong_in(files.name)
        if wrong:
            shown = files.name if len(files.name) <= SHOWN_CHARACTERS else f"{files.name[:SHOWN_CHARACTERS]}..."
            raise DataError(f"{root}: a case is named {shown!r}: {wrong}; rename it, cases are names of files")
        first = firsts.setdefault(files.name, files)
        if first is not files:
            places = f"{first.visits[0][0]} and {files.visits[0][0]}"
            raise DataError(
                f"{root}: two cases are named {files.name}: {places}; rename one or name a folder further in"
            )


def _wrong_in(name: str) -> str:
    """Say why a name can't be that of files beside others of ours; empty if it can."""
    if Path(name).name != name or "\\" in name:
        return "empty or with a slash"
    if name.startswith("."):
        return "it would be a hidden file"
    if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in name):
        return "it holds a control character or a broken one"
    if len(name.encode()) > LONGEST_NAME_BYTES:
        return f"longer than {LONGEST_NAME_BYTES} bytes"
    return f"{INDEX} is a file of every prepared cohort" if f"{name}.json".casefold() == INDEX else ""


def split_layout(text: str) -> tuple[str, Path]:
    """Split `LAYOUT:PATH` into its two parts; the layout is "" for a mere path.

    Raises:
        UsageError: The layout is unknown.
    """
    name, colon, rest = text.partition(":")
    if colon and (name in layouts or not Path(text).exists()):
        return layouts.get(name).name, Path(rest).expanduser()
    return "", Path(text).expanduser()


def _layout_and_root(text: str) -> tuple[Layout, Path]:
    name, root = split_layout(text)
    if name:
        layout = layouts.get(name)
        _check_path(root, (layout,))
        return layout, root
    _check_path(root, tuple(layouts))
    if split_series(root)[1]:
        return layouts.get(DICOM), root
    matching = [layout for layout in layouts if _is_file_of(root, layout) or (root.is_dir() and layout.recognise(root))]
    if len(matching) > 1:
        matching = [layout for layout in matching if layout.name != DICOM]  # such as the sources of a BIDS data set
    if not matching and next(dicom_files(root), None):
        raise DataError(
            f"{root}: DICOM files outside a patient's folder; name the folder that holds PATIENT/VISIT "
            "(lesionloss layouts dicom); predict takes the folder of one visit"
        )
    if not matching:
        raise DataError(
            f"{root}: not a known dataset layout; known: {', '.join(layouts.names())}. "
            f"If it is one of these, name it ({layouts.names()[0]}:{root}), and the error says which files are missing"
        )
    if len(matching) > 1:
        choices = " or ".join(f"{layout.name}:{root}" for layout in matching)
        raise UsageError(f"{root}: files of more than one layout; name one: {choices}")
    return matching[0], root


def _is_file_of(path: Path, layout: Layout) -> bool:
    return path.is_file() and layout.file_ending is not None and path.name.lower().endswith(layout.file_ending)


def _check_path(root: Path, candidates: tuple[Layout, ...]) -> None:
    if is_series(root) or any(_is_file_of(root, layout) for layout in candidates):
        return
    what = "is a file, not a folder; name the folder" if root.exists() else "no such folder; name the folder"
    endings = [layout.file_ending for layout in candidates if layout.file_ending is not None]
    files = f" (or a file that ends in {' or '.join(endings)})" if endings else ""
    raise UsageError(f"{root}: {what} that holds the patients{files}")


def _target(layout: Layout, name: str | None) -> Target:
    if name is None:
        return layout.targets[0]
    for target in layout.targets:
        if target.name == name:
            return target
    names = [target.name for target in layout.targets]
    raise UnknownTarget(f"the layout {layout.name} has no target named {name!r}; {nearest(name, names)}")


def load_subject(cohort: Cohort, files: CaseFiles) -> Subject:
    """Read and check the files of one case; its reference is the cohort's target.

    Args:
        cohort: The cohort.
        files: One of its cases.

    Returns:
        The subject.

    Raises:
        DataError: A file is damaged or implausible, files lie on different grids (other than visits whose axes run
            otherwise, which are turned as the last one's), the layout does not know a label value, or two visits are
            the same image.
    """
    layout = cohort.layout
    raw = (layout.read or _read_nifti(layout))(files)
    for (earlier, later), paths in zip(itertools.pairwise(raw.visits), itertools.pairwise(files.visits), strict=True):
        if np.array_equal(earlier, later):
            first, second = (", ".join(map(str, visit)) for visit in paths)
            raise DataError(f"{first} and {second} hold the same image; supply two different visits")
    if raw.brain is not None and not raw.brain.any():
        raise DataError(f"{files.brain}: the brain mask is empty; make it again or remove the file")
    reference, ignore = (None, None) if raw.reference is None else class_numbers(raw.reference, layout.labels, files)
    subject = Subject(
        name=files.name,
        patient=files.patient,
        visits=raw.visits,
        reference=reference,
        brain=raw.brain,
        affine=raw.affine,
        ignore=ignore,
        classes=layout.labels.classes,
    )
    return replace(subject, reference=cohort.target.derive(subject))


def class_numbers(values: npt.NDArray[Any], rule: LabelRule, files: CaseFiles) -> tuple[Labels, Mask | None]:
    """Translate the values of a reference file into class numbers.

    Args:
        values: Values of the file (*space), integers or bool.
        rule: What they mean.
        files: The case, for the error message.

    Returns:
        Class numbers (*space), 0 background, and the mask (*space) of ignored voxels (None for none).

    Raises:
        DataError: The rule does not know a value; names the reference file.
    """
    known = {0: 0, **dict(rule.values), **dict.fromkeys(rule.ignored, 0)}
    found = np.unique(values)
    strange = [int(value) for value in found if int(value) not in known]
    if strange:
        allowed = ", ".join(str(value) for value in sorted(known))
        shown = ", ".join(map(str, strange[:5])) + (", ..." if len(strange) > 5 else "")
        raise DataError(f"{files.reference}: label values are {allowed}; found {shown} too: map or remove them")
    reference = np.zeros(values.shape, dtype=np.uint8)
    for value, number in rule.values:
        reference[values == value] = number
    ignore = np.isin(values, rule.ignored)
    return reference, ignore if ignore.any() else None


def like_series(mask: Volume[Voxel], image: Volume[Any]) -> Volume[Voxel]:
    """Turn the axes of a mask as those of a DICOM series run; programs that convert series turn them otherwise."""
    return turned(mask, orientation(image.affine)) if is_series(image.path) else mask


def _like_last(mask: Volume[Voxel], visits: Sequence[Volume[Any]]) -> Volume[Voxel]:
    """Turn the axes of a brain mask as the last visit's run, where it is stored as another visit is."""
    *earlier, last = visits
    stored_as_earlier = orientation(mask.affine) in {orientation(visit.affine) for visit in earlier}
    return turned(mask, orientation(last.affine)) if stored_as_earlier else like_series(mask, last)


def _read_nifti(layout: Layout) -> Callable[[CaseFiles], CaseArrays]:
    def read(files: CaseFiles) -> CaseArrays:
        visits = [[read_volume(path) for path in visit] for visit in files.visits]
        stored = [visit[0] for visit in visits]
        last = stored[-1]
        visits = [[turned(contrast, orientation(last.affine)) for contrast in visit] for visit in visits]
        reference: Volume[Any] | None = None
        if files.reference is not None:
            binary = layout.labels == LabelRule()
            reference = like_series(read_mask(files.reference) if binary else read_labels(files.reference), last)
        brain = None if files.brain is None else _like_last(read_mask(files.brain), stored)
        images = [volume for visit in visits for volume in visit]
        others: list[Volume[Any]] = [*images[1:], *(mask for mask in (reference, brain) if mask is not None)]
        for other in others:
            same_grid(images[0], other)
        return CaseArrays(
            visits=tuple(np.stack([volume.array for volume in visit]) for visit in visits),
            reference=None if reference is None else reference.array,
            brain=None if brain is None else brain.array,
            affine=last.affine,
        )

    return read

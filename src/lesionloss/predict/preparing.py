"""The stored preparation replayed on a new case. The only module that knows how visits come onto one grid."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesionloss.bundle import Record
from lesionloss.data.cases import case_of, work_of
from lesionloss.data.cohort import Cohort, Files, load_subject
from lesionloss.data.nifti import Affine
from lesionloss.data.prepare import Preparation, PreparedCase, load_prepared, to_original_grid
from lesionloss.data.reading import read_case, reading_of
from lesionloss.data.recipe import Crop, Recipe, make_recipe
from lesionloss.data.steps import carry_out
from lesionloss.data.subject import Labels, Subject
from lesionloss.errors import DataError
from lesionloss.predict.sources import Source


@dataclass(frozen=True, eq=False)
class Ready:
    """A prepared case, and the grid of its follow-up, where results go; `note` says what was made up on the way."""

    case: PreparedCase
    shape: tuple[int, ...]
    affine: Affine
    reference: Labels | None
    note: str = ""

    def home(self, array: NDArray[Any]) -> NDArray[Any]:
        """An array (*space) on the case's grid, on that of the follow-up."""
        return to_original_grid(array, self.case)


def make_ready(source: Source, record: Record) -> Ready:
    """Read a case and prepare it as the model's training cases were.

    Raises DataError for files that can't be believed, visits on different grids, settings of preparation that are not
    known here, and channels other than the model's.
    """
    ready = _loaded(source) if source.prepared is not None else _prepared(source, _settings(record.preparation))
    if ready.case.channels != record.channels:
        raise DataError(
            f"{source.name}: the model was trained on {_listed(record.channels)}, these files give "
            f"{_listed(ready.case.channels)}; give the visits and contrasts that it was trained on"
        )
    return ready


def _settings(stored: Mapping[str, Any]) -> Recipe:
    """All steps of a preparation, or the margin of the usual ones."""
    try:
        if "steps" in stored:
            return make_recipe(stored, "its preparation")
        return Recipe(crop=Crop(margin_voxels=Preparation(**stored).margin_voxels))
    except (TypeError, ValueError) as error:
        raise DataError(
            f"the model's preparation {dict(stored)!r} is not known to this lesionloss ({error}); "
            "install the version it was trained with, or give cases that are prepared already"
        ) from error


def _prepared(source: Source, recipe: Recipe) -> Ready:
    assert source.cohort is not None
    assert source.files is not None
    registered = "register" in recipe.steps
    reading = (
        read_case(source.cohort, source.files, recipe.register_)
        if registered
        else reading_of(_subject(source.cohort, source.files))
    )
    subject = reading.subject
    case = case_of(carry_out(work_of(reading), recipe))
    of_nifti = source.cohort.layout.read is None
    affine = _affine_in(source.files.visits[-1][0]) if of_nifti else reading.original.affine
    made_up = subject.brain is None and len(subject.space) == 3
    note = "no brain mask given: a simple one was made from the images; a real one (--brain) is better"
    shape = case.original_shape if case.origin is None else case.origin.shape
    return Ready(case, shape, affine, None if registered else subject.reference, note if made_up else "")


def _subject(cohort: Cohort, files: Files) -> Subject:
    """The visits on one grid, as files without a step of registration have to be."""
    try:
        return load_subject(cohort, files)
    except DataError as error:
        if "not on one grid" not in str(error):
            raise
        raise DataError(
            f"{error}; a baseline of another session is registered to the follow-up first "
            "(rigid, e.g. with ANTs, FSL FLIRT or elastix)"
        ) from error


def _affine_in(path: Path) -> Affine:
    """The grid of a file that was read and checked before; visits may differ by a thousandth of a millimetre."""
    from nibabel.loadsave import load

    image: Any = load(path)
    return np.asarray(image.affine, dtype=np.float64)


def _loaded(source: Source) -> Ready:
    assert source.prepared is not None
    case = load_prepared(Path(source.prepared))
    affine = case.affine.copy()
    affine[:3, 3] -= case.affine[:3, : len(case.offset)] @ np.array(case.offset, dtype=np.float64)
    reference = to_original_grid(case.reference, case) if case.reference.any() else None
    return Ready(case, case.original_shape, affine, reference)


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names)

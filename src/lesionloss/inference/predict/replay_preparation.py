"""The stored preparation replayed on a new case. The only module that knows how visits come onto one grid."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesionloss.core.errors import DataError, UsageError
from lesionloss.data.layouts.records import CaseFiles
from lesionloss.data.preparation.case_state import finish_preparation, start_preparation
from lesionloss.data.preparation.read_case import on_one_grid, read_case
from lesionloss.data.preparation.recipe import CropSettings, PreparationRecipe, RegisterSettings, make_recipe
from lesionloss.data.preparation.steps import run_steps
from lesionloss.data.prepared import PreparedCase, load_prepared, load_record, to_original_grid
from lesionloss.data.volume import Affine
from lesionloss.inference.predict.predict_inputs import Source
from lesionloss.inference.predict.remarks import of_grid, of_prepared, of_steps
from lesionloss.networks.bundle import BundleRecord


@dataclass(frozen=True, eq=False)
class Ready:
    """A prepared case, and the grid of its follow-up, where results go.

    `steps` says what each step of the preparation did, `notes` what somebody who looks at the result should know.
    """

    case: PreparedCase
    shape: tuple[int, ...]
    affine: Affine
    has_reference: bool
    steps: Mapping[str, Any]
    notes: tuple[str, ...] = ()

    def home(self, array: NDArray[Any]) -> NDArray[Any]:
        """An array (*space) on the case's grid, on that of the follow-up."""
        return to_original_grid(array, self.case)


def make_ready(source: Source, record: BundleRecord, register: bool | None = None) -> Ready:
    """Read a case and prepare it as the model's training cases were.

    Visits on different grids are registered, the baseline to the follow-up; `register` True does so on one grid too,
    False never. Raises DataError for files that can't be believed, settings of preparation that are not known here, and
    channels other than the model's.
    """
    recipe = recipe_of(record.preparation)
    ready = _loaded(source, recipe) if source.prepared is not None else _prepared(source, recipe, record, register)
    if ready.case.channels != record.channels:
        raise DataError(
            f"{source.name}: the model was trained on {_listed(record.channels)}, these files give "
            f"{_listed(ready.case.channels)}; give the visits and contrasts that it was trained on"
        )
    return ready


def recipe_of(stored: Mapping[str, Any]) -> PreparationRecipe:
    """The steps that a bundle's `preparation` names; with a margin alone (or nothing) the usual ones.

    Raises DataError for settings that this version does not know.
    """
    plain = set(stored) <= {"margin_voxels"}
    settings = {"crop": stored} if plain and stored else stored
    try:
        return make_recipe(settings, "preparation") if settings else PreparationRecipe(crop=CropSettings())
    except UsageError as error:
        raise DataError(
            f"the model's preparation {dict(stored)!r} is not known to this lesionloss ({error}); "
            "install the version it was trained with, or give cases that are prepared already"
        ) from error


def _prepared(source: Source, recipe: PreparationRecipe, record: BundleRecord, register: bool | None) -> Ready:
    assert source.cohort is not None
    assert source.files is not None
    of_nifti = source.cohort.layout.read is None
    registration, why = _registration(source.files, recipe, register) if of_nifti else (None, "")
    try:
        reading = read_case(source.cohort, source.files, registration)
    except DataError as error:
        if register is not False or not of_nifti or on_one_grid(source.files):
            raise
        raise DataError(f"{error}; or leave out --no-register, then the baseline is registered first") from error
    work = run_steps(start_preparation(reading), recipe)
    case = finish_preparation(work)
    affine = _affine_in(source.files.visits[-1][0]) if of_nifti else reading.original.affine
    shape = case.original_shape if case.origin is None else case.origin.shape
    notes = (*of_steps(work, why), *of_grid(case, record.training))
    return Ready(case, shape, affine, reading.subject.reference is not None, work.record, notes)


def _registration(
    files: CaseFiles, recipe: PreparationRecipe, asked: bool | None
) -> tuple[RegisterSettings | None, str]:
    """Whether and how two visits are registered, and why."""
    if asked is False or len(files.visits) != 2:
        return None, ""
    if "register" in recipe.steps:
        return recipe.register_, "as the model's training cases were"
    if asked:
        return RegisterSettings(to="followup"), "as asked"
    if on_one_grid(files):
        return None, ""
    return RegisterSettings(to="followup"), "their grids differ"


def _affine_in(path: Path) -> Affine:
    """The grid of a file that was read and checked before; visits may differ by a thousandth of a millimetre."""
    from nibabel.loadsave import load

    image: Any = load(path)
    return np.asarray(image.affine, dtype=np.float64)


def _loaded(source: Source, recipe: PreparationRecipe) -> Ready:
    assert source.prepared is not None
    path = Path(source.prepared)
    case = load_prepared(path)
    notes = of_prepared(load_record(path), recipe)
    if case.origin is not None:
        return Ready(case, case.origin.shape, case.origin.affine, bool(case.reference.any()), {}, notes)
    affine = case.affine.copy()
    affine[:3, 3] -= case.affine[:3, : len(case.offset)] @ np.array(case.offset, dtype=np.float64)
    return Ready(case, case.original_shape, affine, bool(case.reference.any()), {}, notes)


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names)

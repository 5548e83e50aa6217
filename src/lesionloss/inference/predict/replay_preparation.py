"""Replay the stored preparation on a new case; the only module that knows how visits are brought to one grid."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesionloss.core.errors import DataError, UsageError, shown
from lesionloss.data.layouts.records import CaseFiles
from lesionloss.data.nifti import header_orientation, read_grid
from lesionloss.data.preparation.brain_mask import find_program
from lesionloss.data.preparation.case_state import finish_preparation, start_preparation
from lesionloss.data.preparation.read_case import on_one_grid, read_case
from lesionloss.data.preparation.recipe import (
    BRAIN_TOOLS,
    DEEPBET,
    BrainSettings,
    CropSettings,
    PreparationRecipe,
    RegisterSettings,
    make_recipe,
)
from lesionloss.data.preparation.steps import run_steps
from lesionloss.data.prepared import PreparedCase, load_prepared, load_record, to_original_grid
from lesionloss.data.resampling.grid import VoxelGrid
from lesionloss.data.subject import Subject
from lesionloss.data.volume import Affine
from lesionloss.inference.only_deep import deep_voxels
from lesionloss.inference.predict.plausibility import Finding, of_visits
from lesionloss.inference.predict.predict_inputs import CaseSource
from lesionloss.inference.predict.remarks import of_grid, of_headers, of_prepared, of_steps
from lesionloss.networks.bundle import BundleRecord


@dataclass(frozen=True, eq=False)
class ReadyCase:
    """A prepared case, and the follow-up's own grid, on which results are written.

    Args:
        case: The prepared case.
        shape: Of the follow-up's own grid.
        affine: Of the same grid, from voxel indices to mm.
        has_reference: Whether the case has a reference mask.
        steps: What each step of the preparation did.
        notes: What was done to the images, one line each.
        edges_mm: Edges of the voxels of either visit as stored; empty where not known.
        findings: What makes the pair, or the prediction, plausible or not.
        headers: Those of the notes that say which headers have no orientation.
    """

    case: PreparedCase
    shape: tuple[int, ...]
    affine: Affine
    has_reference: bool
    steps: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    edges_mm: tuple[tuple[float, ...], ...] = ()
    findings: tuple[Finding, ...] = ()
    headers: tuple[str, ...] = ()

    @property
    def remarks(self) -> tuple[str, ...]:
        """What somebody who looks at the result should know, what is implausible first; one line each."""
        return (*(found.words for found in self.findings if found.words), *self.notes)

    @property
    def refusal(self) -> str:
        """Why these are not two visits of one head; empty where they may be."""
        refused = next((found.words for found in self.findings if found.refused), "")
        return "; ".join((refused, *self.headers)) if refused else ""

    def on_own_grid(self, array: NDArray[Any]) -> NDArray[Any]:
        """An array (*space) of the case's grid, on the follow-up's own."""
        return to_original_grid(array, self.case)

    @property
    def voxel_mm3(self) -> float:
        """Volume of a voxel of the follow-up's own grid in mm3 (area in mm2 in 2-D)."""
        axes = len(self.shape)
        if axes == 3:
            return abs(float(np.linalg.det(self.affine[:3, :3])))
        return float(np.prod(np.linalg.norm(self.affine[:3, :axes], axis=0)))

    @property
    def is_pair(self) -> bool:
        """Whether the case has two visits."""
        return any(name.startswith("baseline") for name in self.case.channels)


def make_ready(
    source: CaseSource, record: BundleRecord, register: bool | None = None, raw: bool | None = None
) -> ReadyCase:
    """Read a case and prepare it as the model's training cases were, and compare its visits.

    Args:
        source: The case.
        record: Of the model.
        register: Whether the baseline is registered to the follow-up; None: where their grids differ.
        raw: Whether the files come from the scanner: then they are also registered, bias fields are removed, and what
            one visit does not show is left out, if the model's preparation does not do so by itself; None: where
            their grids differ.

    Raises:
        DataError: for files that are invalid, a preparation that this version does not know, and other channels than
            the model's.
    """
    recipe = recipe_of(record.preparation)
    ready = _loaded(source, recipe) if source.prepared is not None else _prepared(source, recipe, record, register, raw)
    if ready.case.channels != record.channels:
        raise DataError(
            f"{source.name}: the model was trained on {_listed(record.channels)}, these files give "
            f"{_listed(ready.case.channels)}; give the visits and contrasts that it was trained on"
        )
    if record.depth_mm:
        deep_voxels(ready.case, record.depth_mm)  # before minutes of work
    return replace(ready, findings=of_visits(ready.case, ready.steps, ready.edges_mm))


def recipe_of(stored: Mapping[str, Any]) -> PreparationRecipe:
    """The steps that a bundle's `preparation` names; with a margin alone (or nothing) the usual ones.

    Raises:
        DataError: for settings that this version does not know, and for a program that is not known here.
    """
    plain = set(stored) <= {"margin_voxels"}
    settings = {"crop": stored} if plain and stored else stored
    try:
        recipe = make_recipe(settings, "preparation") if settings else PreparationRecipe(crop=CropSettings())
    except UsageError as error:
        raise DataError(
            f"the model's preparation {dict(stored)!r} is not known to this lesionloss ({error}); "
            "install the version it was trained with, or give cases that are prepared already"
        ) from error
    if recipe.brain.source == "tool" and recipe.brain not in BRAIN_TOOLS.values():
        raise DataError(
            f"the model's preparation names a program to run ({shown(recipe.brain.command)}), and models may come from "
            "strangers, so it is not run; prepare the cases with a plan of your own and give those (--cohort)"
        )
    return recipe


def _prepared(
    source: CaseSource, recipe: PreparationRecipe, record: BundleRecord, register: bool | None, raw: bool | None
) -> ReadyCase:
    assert source.cohort is not None
    assert source.files is not None
    of_nifti = source.cohort.layout.read is None
    pair = of_nifti and len(source.files.visits) == 2
    if pair and (raw or (raw is None and not on_one_grid(source.files))):
        recipe, register = for_raw_files(recipe), True if register is None and raw else register
    registration, why = _registration(source.files, recipe, register) if of_nifti else (None, "")
    try:
        reading = read_case(source.cohort, source.files, registration, recipe.axes)
    except DataError as error:
        if register is not False or not of_nifti or on_one_grid(source.files):
            raise
        raise DataError(f"{error}; or leave out --no-register, then the baseline is registered first") from error
    work = run_steps(start_preparation(reading), with_best_brain(recipe, reading.subject))
    case = finish_preparation(work)
    affine = read_grid(source.files.visits[-1][0]).affine if of_nifti else reading.original.affine
    shape = case.original_shape if case.origin is None else case.origin.shape
    unplaced = [path for visit in source.files.visits for path in visit if of_nifti and not header_orientation(path)]
    headers = tuple(of_headers(unplaced))
    notes = (*of_steps(work, why), *of_grid(case, record.training), *headers)
    grids = [read_grid(visit[0]) for visit in source.files.visits] if pair else []
    edges = tuple(VoxelGrid(shape, grid.affine).spacing_mm for grid in grids)
    return ReadyCase(
        case, shape, affine, reading.subject.reference is not None, work.record, notes, edges, headers=headers
    )


def for_raw_files(recipe: PreparationRecipe) -> PreparationRecipe:
    """The recipe with the steps that files from a scanner need besides registration, where it lacks them."""
    steps = list(recipe.steps)
    if "brain" not in steps:
        return recipe
    if "n4" not in steps:
        steps.insert(steps.index("brain"), "n4")
    if "field_of_view" not in steps:
        steps.insert(steps.index("brain") + 1, "field_of_view")
    return recipe.model_copy(update={"steps": tuple(steps)})


def with_best_brain(recipe: PreparationRecipe, subject: Subject) -> PreparationRecipe:
    """The recipe, with deepbet for a head without a brain mask where it is installed and the recipe leaves the choice.

    Without deepbet the simple mask is taken, which keeps parts of the skull, and a network marks lesions there. A
    recipe whose masks were given leaves the choice, too: a head from the scanner has none.
    """
    choose = recipe.brain.source in ("auto", "given") and subject.brain is None and len(subject.space) == 3
    if not choose:
        return recipe
    installed = find_program(DEEPBET.command[0]) is not None
    return recipe.model_copy(update={"brain": DEEPBET if installed else BrainSettings()})


def _registration(
    files: CaseFiles, recipe: PreparationRecipe, asked: bool | None
) -> tuple[RegisterSettings | None, str]:
    """Whether and how two visits are registered, and why."""
    if asked is False or len(files.visits) != 2:
        return None, ""
    if "register" in recipe.steps:
        return recipe.register_, "as the model's training cases were"
    if asked:
        return RegisterSettings(to="followup"), "as requested"
    if on_one_grid(files):
        return None, ""
    return RegisterSettings(to="followup"), "their grids differ"


def _loaded(source: CaseSource, recipe: PreparationRecipe) -> ReadyCase:
    assert source.prepared is not None
    path = Path(source.prepared)
    case = load_prepared(path)
    notes = of_prepared(load_record(path), recipe)
    if case.origin is not None:
        return ReadyCase(case, case.origin.shape, case.origin.affine, bool(case.reference.any()), {}, notes)
    affine = case.affine.copy()
    affine[:3, 3] -= case.affine[:3, : len(case.offset)] @ np.array(case.offset, dtype=np.float64)
    return ReadyCase(case, case.original_shape, affine, bool(case.reference.any()), {}, notes)


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names)

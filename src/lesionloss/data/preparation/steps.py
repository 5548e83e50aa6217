"""The steps of a preparation that work on visits of one grid, each from one `PreparationState` to the next."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np

from lesionloss.core.components import bounding_box
from lesionloss.core.errors import DataError
from lesionloss.data.preparation.bias_field import correct_bias
from lesionloss.data.preparation.brain_mask import take_brain
from lesionloss.data.preparation.case_state import PreparationState
from lesionloss.data.preparation.field_of_view import field_of_view
from lesionloss.data.preparation.recipe import (
    ClipSettings,
    CropSettings,
    MatchVisitsSettings,
    N4Settings,
    NormaliseSettings,
    PreparationRecipe,
    ResampleSettings,
)
from lesionloss.data.resampling.along_axes import resample_image, resample_labels, resample_nearest
from lesionloss.data.resampling.grid import VoxelGrid, crop_grid, grid_with_spacing
from lesionloss.data.subject import Image, Mask
from lesionloss.data.visit_matching import MatchSettings, correlation, match_visits
from lesionloss.data.z_score import robust_z_score, unit_range, z_score


def run_steps(state: PreparationState, recipe: PreparationRecipe) -> PreparationState:
    """Run all steps of a recipe in their order, except registration, which comes before there is a state.

    Raises:
        DataError: A step can't be done on this case.
    """
    for step, following in pairwise((*recipe.steps, "")):
        if step == "n4":
            state = n4(state, recipe.n4)
        elif step == "brain":
            state = take_brain(state, recipe.brain)
        elif step == "field_of_view":
            state = field_of_view(state)
        elif step == "resample":
            state = resample(state, recipe.resample, recipe.crop if following == "crop" else None)
        elif step == "crop":
            state = state if state.cropped else crop(state, recipe.crop)
        elif step == "clip":
            state = clip(state, recipe.clip)
        elif step == "normalise":
            state = normalise(state, recipe.normalise)
        elif step == "scale_to_unit":
            state = scale_to_unit(state)
        elif step == "match":
            state = match(state, recipe.match)
        elif step == "subtract":
            state = subtract(state)
    return state


def _named(state: PreparationState, visit: int) -> str:
    return f"{state.name}, visit {visit + 1}"


def n4(state: PreparationState, settings: N4Settings) -> PreparationState:
    """Divide each contrast of each visit by its bias field.

    Raises:
        DataError: The images are two-dimensional, or N4 finds no field.
    """
    if len(state.grid.shape) != 3:
        raise DataError(
            f"{state.name}: N4 needs three axes, the image has {len(state.grid.shape)}; leave out the step n4"
        )
    visits: list[Image] = []
    spreads: list[list[float]] = []
    for index, visit in enumerate(state.visits):
        done = [
            correct_bias(
                contrast, state.grid.affine, state.brain, _named(state, index),
                voxel_mm=settings.voxel_mm, iterations=settings.iterations,
            )
            for contrast in visit
        ]  # fmt: skip
        visits.append(np.stack([image for image, _ in done]))
        spreads.append([round(spread, 4) for _, spread in done])
    return replace(state, visits=tuple(visits)).noted("n4", {"field_spread": spreads})


def resample(state: PreparationState, settings: ResampleSettings, then: CropSettings | None = None) -> PreparationState:
    """Resample images as the settings say, masks by nearest neighbour, labels so that no lesion vanishes.

    Args:
        state: The case.
        settings: New spacing or size; a size of two numbers is that of the slices of a volume.
        then: The crop that follows, if it does: images are then made inside its box only, which gives the same numbers
            in less time.

    Returns:
        The resampled case, cropped if `then` is given.

    Raises:
        DataError: The settings have another number of axes than the image.
    """
    size = (*settings.size, *state.grid.shape[len(settings.size) :]) if settings.size else ()
    given, key = (size, "size") if size else (settings.spacing_mm, "spacing_mm")
    if len(given) != len(state.grid.shape):
        raise DataError(
            f"{state.name}: resample.{key} has {len(given)} numbers, "
            f"the image {len(state.grid.shape)} axes; give one for each"
        )
    edges = zip(state.grid.spacing_mm, state.grid.shape, size, strict=False)
    target = grid_with_spacing(
        state.grid, tuple(edge * n / wanted for edge, n, wanted in edges) if size else settings.spacing_mm
    )
    facts: dict[str, object] = {"from_mm": [round(edge, 6) for edge in state.grid.spacing_mm]}
    facts["to_mm"] = [round(edge, 6) for edge in target.spacing_mm]
    reference, repairs = state.reference, []
    if state.reference is not None:
        reference, count = resample_labels(state.reference, state.grid, target)
        facts |= {"lesions_before": count.before, "lesions_after": count.after, "kept_by_centre": count.kept_by_centre}
        if count.kept_by_centre:
            repairs.append(f"{state.name}: {count.kept_by_centre} lesions kept by their centre voxel in resampling")
    made = replace(
        state,
        visits=(),
        reference=reference,
        brain=_nearest(state.brain, state.grid, target),
        ignore=_nearest(state.ignore, state.grid, target),
        grid=target,
        uncut=target.shape,
    ).noted("resample", facts, *repairs)
    made = made if then is None else crop(made, then)
    visits = tuple(
        np.stack([resample_image(contrast, state.grid, made.grid, settings.interpolation) for contrast in visit])
        for visit in state.visits
    )
    return replace(made, visits=visits)


def _nearest(mask: Mask | None, source: VoxelGrid, target: VoxelGrid) -> Mask | None:
    return None if mask is None else np.asarray(resample_nearest(mask, source, target), dtype=np.bool_)


def crop(state: PreparationState, settings: CropSettings) -> PreparationState:
    """Crop to the smallest box around brain and reference, with a margin; without a brain mask, crop nothing."""
    if state.brain is None:
        return state
    keep = state.brain if state.reference is None else state.brain | (state.reference > 0)
    box = bounding_box(keep, settings.margin_voxels)
    cut = tuple(int(side.start) for side in box)
    return replace(
        state,
        visits=tuple(visit[(slice(None), *box)] for visit in state.visits),
        reference=None if state.reference is None else state.reference[box],
        brain=state.brain[box],
        ignore=None if state.ignore is None else state.ignore[box],
        grid=crop_grid(state.grid, box),
        cut=cut,
        cropped=True,
        uncut=state.grid.shape,
    ).noted("crop", {"offset": list(cut)})


def clip(state: PreparationState, settings: ClipSettings) -> PreparationState:
    """Replace intensities beyond the lowest and the highest value by these."""
    low, high = (np.float32(value) for value in settings.between)
    return replace(state, visits=tuple(visit.clip(low, high) for visit in state.visits))


def normalise(state: PreparationState, settings: NormaliseSettings) -> PreparationState:
    """Z-score each contrast of each visit inside the brain, 0 outside; without a mask, over the whole image.

    Raises:
        DataError: A visit is constant inside the brain.
    """
    return _rescaled(state, robust_z_score if settings.robust else z_score, "normalise")


def scale_to_unit(state: PreparationState) -> PreparationState:
    """Scale each contrast of each visit to [0, 1] inside the brain, 0 outside; without a mask, over the whole image.

    Raises:
        DataError: A visit is constant inside the brain.
    """
    return _rescaled(state, unit_range, "scale_to_unit")


def _rescaled(state: PreparationState, scale: Callable[[Image, Mask, str], Image], step: str) -> PreparationState:
    inside = state.brain if state.brain is not None else np.ones(state.grid.shape, dtype=np.bool_)
    visits = tuple(
        np.stack([np.where(inside, scale(image, inside, _named(state, index)), np.float32(0)) for image in visit])
        for index, visit in enumerate(state.visits)
    )
    return replace(state, visits=visits).noted(step, {"inside": "brain" if state.brain is not None else "image"})


def match(state: PreparationState, settings: MatchVisitsSettings) -> PreparationState:
    """Match each contrast of the baseline to the follow-up's inside the brain, 0 outside; one visit stays as it is.

    Raises:
        DataError: A contrast of the baseline is constant inside the brain.
    """
    if len(state.visits) != 2 or state.brain is None:
        return state
    how, grid = MatchSettings(settings.outliers, settings.local_mm), state.grid
    matched = [
        match_visits(before, after, state.brain, grid.spacing_mm, how, state.name)
        for before, after in zip(*state.visits, strict=True)
    ]
    facts = {"to": "followup", "correlation_before": correlation(*(visit[0][state.brain] for visit in state.visits))}
    return replace(state, visits=(np.stack(matched), state.visits[1])).noted("match", facts)


def subtract(state: PreparationState) -> PreparationState:
    """Add a channel follow-up minus baseline, of the first contrast; a single visit stays as it is."""
    return replace(state, subtracted=len(state.visits) == 2)

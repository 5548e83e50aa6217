"""The steps of a preparation that work on visits of one grid, each from a `PreparationState` to the next."""

from dataclasses import replace
from itertools import pairwise

import numpy as np

from lesionloss.core.errors import DataError
from lesionloss.data.preparation.bias_field import correct_bias
from lesionloss.data.preparation.brain_mask import simple_brain, tool_brain
from lesionloss.data.preparation.case_state import PreparationState
from lesionloss.data.preparation.recipe import (
    BrainSettings,
    CropSettings,
    N4Settings,
    PreparationRecipe,
    ResampleSettings,
)
from lesionloss.data.resampling.along_axes import resample_image, resample_labels, resample_nearest
from lesionloss.data.resampling.grid import VoxelGrid, crop_grid, grid_with_spacing
from lesionloss.data.subject import Image, Mask
from lesionloss.data.z_score import z_score


def run_steps(work: PreparationState, recipe: PreparationRecipe) -> PreparationState:
    """All steps of a recipe in their order, but registration, which comes before there is a `PreparationState`."""
    for step, following in pairwise((*recipe.steps, "")):
        if step == "n4":
            work = n4(work, recipe.n4)
        elif step == "brain":
            work = brain(work, recipe.brain)
        elif step == "resample":
            work = resample(work, recipe.resample, recipe.crop if following == "crop" else None)
        elif step == "crop":
            work = work if work.cropped else crop(work, recipe.crop)
        elif step == "normalise":
            work = normalise(work)
        elif step == "subtract":
            work = subtract(work)
    return work


def _named(work: PreparationState, visit: int) -> str:
    return f"{work.name}, visit {visit + 1}"


def n4(work: PreparationState, settings: N4Settings) -> PreparationState:
    """Each contrast of each visit divided by its bias field. DataError for two-dimensional images."""
    if len(work.grid.shape) != 3:
        raise DataError(
            f"{work.name}: N4 needs three axes, the image has {len(work.grid.shape)}; leave out the step n4"
        )
    visits: list[Image] = []
    spreads: list[list[float]] = []
    for index, visit in enumerate(work.visits):
        done = [
            correct_bias(
                contrast, work.grid.affine, work.brain, _named(work, index),
                voxel_mm=settings.voxel_mm, iterations=settings.iterations,
            )
            for contrast in visit
        ]  # fmt: skip
        visits.append(np.stack([image for image, _ in done]))
        spreads.append([round(spread, 4) for _, spread in done])
    return replace(work, visits=tuple(visits)).noted("n4", {"field_spread": spreads})


def brain(work: PreparationState, settings: BrainSettings) -> PreparationState:
    """A brain mask from where the settings say. DataError where one must be given and is not, or the tool fails."""
    given = work.brain is not None
    if settings.source == "given" and not given:
        raise DataError(f"{work.name}: no brain mask beside the images; add one, or choose builtin or a tool")
    if given and settings.source in ("auto", "given"):
        return replace(work, brain_from="file").noted("brain", {"from": "file"})
    if settings.source == "tool":
        masks = [tool_brain(visit[0], work.grid.affine, settings.command, settings.mask) for visit in work.visits]
        name = f"tool {settings.command[0]}"
        mask = np.logical_and.reduce(masks)
        if not mask.any():
            raise DataError(
                f"{work.name}: {settings.command[0]} marks no brain that both visits share; check the images"
            )
        return replace(work, brain=mask, brain_from=name).noted("brain", {"from": name})
    if len(work.grid.shape) != 3:
        everywhere = np.ones(work.grid.shape, dtype=np.bool_)
        return replace(work, brain=everywhere, brain_from="whole image").noted("brain", {"from": "whole image"})
    repair = f"{work.name}: no brain mask; a simple one was made by threshold, which keeps parts of the skull"
    made = replace(work, brain=_simple(work), brain_from="threshold")
    return made.noted("brain", {"from": "threshold"}, *(() if given else (repair,)))


def _simple(work: PreparationState) -> Mask:
    everywhere = np.ones(work.grid.shape, dtype=np.bool_)
    total, *others = (z_score(visit[0], everywhere, work.name) for visit in work.visits)
    for other in others:
        total = total + other
    x, y, z = work.grid.spacing_mm
    return simple_brain(total / np.float32(len(work.visits)), (x, y, z), work.name)


def resample(work: PreparationState, settings: ResampleSettings, then: CropSettings | None = None) -> PreparationState:
    """Images by cubic B-splines, masks by nearest neighbour, labels so that no lesion vanishes.

    Where a crop is to follow, `then`, the images are made inside its box only: the same numbers, sooner.
    """
    given, key = (settings.size, "size") if settings.size else (settings.spacing_mm, "spacing_mm")
    if len(given) != len(work.grid.shape):
        raise DataError(
            f"{work.name}: resample.{key} has {len(given)} numbers, "
            f"the image {len(work.grid.shape)} axes; give one for each"
        )
    edges = zip(work.grid.spacing_mm, work.grid.shape, settings.size, strict=False)
    target = grid_with_spacing(
        work.grid, tuple(edge * n / wanted for edge, n, wanted in edges) if settings.size else settings.spacing_mm
    )
    facts: dict[str, object] = {"from_mm": [round(edge, 6) for edge in work.grid.spacing_mm]}
    facts["to_mm"] = [round(edge, 6) for edge in target.spacing_mm]
    reference, repairs = work.reference, []
    if work.reference is not None:
        reference, count = resample_labels(work.reference, work.grid, target)
        facts |= {"lesions_before": count.before, "lesions_after": count.after, "kept_by_centre": count.kept_by_centre}
        if count.kept_by_centre:
            repairs.append(f"{work.name}: {count.kept_by_centre} lesions kept by their centre voxel in resampling")
    made = replace(
        work,
        visits=(),
        reference=reference,
        brain=_nearest(work.brain, work.grid, target),
        ignore=_nearest(work.ignore, work.grid, target),
        grid=target,
        uncut=target.shape,
    ).noted("resample", facts, *repairs)
    made = made if then is None else crop(made, then)
    visits = tuple(
        np.stack([resample_image(contrast, work.grid, made.grid) for contrast in visit]) for visit in work.visits
    )
    return replace(made, visits=visits)


def _nearest(mask: Mask | None, source: VoxelGrid, target: VoxelGrid) -> Mask | None:
    return None if mask is None else np.asarray(resample_nearest(mask, source, target), dtype=np.bool_)


def crop(work: PreparationState, settings: CropSettings) -> PreparationState:
    """The smallest box around brain and reference, with a margin; nothing is cut where there is no brain mask."""
    if work.brain is None:
        return work
    keep = work.brain if work.reference is None else work.brain | (work.reference > 0)
    box = _box(keep, settings.margin_voxels)
    cut = tuple(int(side.start) for side in box)
    return replace(
        work,
        visits=tuple(visit[(slice(None), *box)] for visit in work.visits),
        reference=None if work.reference is None else work.reference[box],
        brain=work.brain[box],
        ignore=None if work.ignore is None else work.ignore[box],
        grid=crop_grid(work.grid, box),
        cut=cut,
        cropped=True,
        uncut=work.grid.shape,
    ).noted("crop", {"offset": list(cut)})


def _box(mask: Mask, margin: int) -> tuple[slice, ...]:
    def extent(axis: int) -> slice:
        used = np.flatnonzero(mask.any(axis=tuple(other for other in range(mask.ndim) if other != axis)))
        return slice(max(int(used[0]) - margin, 0), min(int(used[-1]) + 1 + margin, mask.shape[axis]))

    return tuple(extent(axis) for axis in range(mask.ndim))


def normalise(work: PreparationState) -> PreparationState:
    """Each contrast of each visit z-scored inside the brain and 0 outside; without a mask, over the whole image."""
    inside = work.brain if work.brain is not None else np.ones(work.grid.shape, dtype=np.bool_)
    visits = tuple(
        np.stack([np.where(inside, z_score(image, inside, _named(work, index)), np.float32(0)) for image in visit])
        for index, visit in enumerate(work.visits)
    )
    return replace(work, visits=visits).noted("normalise", {"inside": "brain" if work.brain is not None else "image"})


def subtract(work: PreparationState) -> PreparationState:
    """Append follow-up minus baseline of the first contrast as a channel; a single visit stays as it is."""
    return replace(work, subtracted=len(work.visits) == 2)

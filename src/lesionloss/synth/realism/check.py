"""A real and a synthetic cohort compared: measured case by case, put side by side, written as tables and pictures."""

import csv
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lesionloss.core.files import write_text
from lesionloss.data.cohort import Cohort
from lesionloss.synth.realism.classifier import (
    CasePatches,
    ClassifierResult,
    ClassifierSettings,
    cross_validate,
    draw_patches,
)
from lesionloss.synth.realism.compared_cases import complete_cases, masks_of, masks_only
from lesionloss.synth.realism.distances import QuantityDistance, compare
from lesionloss.synth.realism.figures import write_distributions, write_patches
from lesionloss.synth.realism.measures import Measured, measure_images, measure_masks
from lesionloss.synth.realism.slice_sheet import SHOWN, Slice, shuffled, slice_of, write_slices

Progress = Callable[[str], None]


@dataclass(frozen=True)
class CheckRequest:
    """Which cohorts, how many complete cases of each at most (0: all), and how patches are told apart (None: not)."""

    real: Cohort
    synthetic: Cohort
    most: int = 0
    telling: ClassifierSettings | None = None


@dataclass(frozen=True, eq=False)
class CheckedCohort:
    """What was measured of one cohort; `masks_only` counts the patients of whom only masks are there."""

    measured: tuple[Measured, ...]
    patches: tuple[CasePatches, ...]
    spacings_mm: tuple[tuple[float, ...], ...]
    complete: int
    masks_only: int
    slices: tuple[Slice, ...] = ()


@dataclass(frozen=True, eq=False)
class RealismCheck:
    """The comparison: rows of distances, and how well patches are told apart."""

    rows: tuple[QuantityDistance, ...]
    tellings: tuple[ClassifierResult, ...]
    real: CheckedCohort
    synthetic: CheckedCohort


def check_realism(asked: CheckRequest, progress: Progress = lambda name: None) -> RealismCheck:
    """Measure both cohorts and compare; `progress` is told of each case and each view.

    Raises DataError for files that can't be believed or cases that are not pairs, UsageError for too few patients.
    """
    real, synthetic = (
        _measured(cohort, asked, progress, real=kind) for cohort, kind in ((asked.real, True), (asked.synthetic, False))
    )
    tellings = []
    if asked.telling is not None:
        for telling in cross_validate((*real.patches, *synthetic.patches), asked.telling):
            progress(telling.view)
            tellings.append(telling)
    return RealismCheck(compare(real.measured, synthetic.measured), tuple(tellings), real, synthetic)


def _measured(cohort: Cohort, asked: CheckRequest, progress: Progress, *, real: bool) -> CheckedCohort:
    measured: list[Measured] = []
    patches: list[CasePatches] = []
    spacings: list[tuple[float, ...]] = []
    slices: list[Slice] = []
    for case in complete_cases(cohort, asked.most):
        measured.append({**measure_images(case), **measure_masks(masks_of(case))})
        spacings.append(case.spacing_mm)
        if len(slices) < SHOWN:
            slices.append(slice_of(case, real=real))
        if asked.telling is not None:
            patches.append(draw_patches(case, real=real, settings=asked.telling))
        progress(case.name)
    complete = len(measured)
    for masks in masks_only(cohort):
        measured.append(measure_masks(masks))
        progress(masks.name)
    return CheckedCohort(
        tuple(measured), tuple(patches), tuple(spacings), complete, len(measured) - complete, tuple(slices)
    )


def as_record(found: RealismCheck) -> dict[str, Any]:
    """Plain numbers, for JSON."""

    def side(which: CheckedCohort) -> dict[str, Any]:
        spacings = [[round(edge, 4) for edge in spacing] for spacing in which.spacings_mm]
        return {"complete_cases": which.complete, "masks_only": which.masks_only, "spacings_mm": spacings}

    return {
        "real": side(found.real),
        "synthetic": side(found.synthetic),
        "slices": [{"case": shown.case, "real": shown.real} for shown in _side_by_side(found)],
        "distances": [_flat(row) for row in found.rows],
        "told_apart": [
            {"view": telling.view, "auc": telling.auc, "auc_by_fold": list(telling.folds),
             "real_patches": telling.patches[0], "synthetic_patches": telling.patches[1]}
            for telling in found.tellings
        ],
    }  # fmt: skip


def _side_by_side(found: RealismCheck) -> list[Slice]:
    return shuffled((*found.real.slices, *found.synthetic.slices))


def _flat(row: QuantityDistance) -> dict[str, Any]:
    record: dict[str, Any] = {"quantity": row.quantity.name, "unit": row.quantity.unit}
    for name, quartiles in (("real", row.real), ("synthetic", row.synthetic)):
        record |= {f"{name}_{word}": value for word, value in zip(("p25", "median", "p75"), quartiles, strict=True)}
    relative = row.relative if row.relative == row.relative else None
    record |= {"wasserstein": row.wasserstein, "wasserstein_over_real_iqr": relative, "ks": row.ks}
    record |= {"real_values": row.values[0], "synthetic_values": row.values[1]}
    return record | {"real_cases": row.cases[0], "synthetic_cases": row.cases[1]}


def write_check(found: RealismCheck, folder: Path) -> None:
    """realism.json, distances.csv, distributions.png and .svg, slices.png, and patches.png where patches were drawn."""
    write_text(folder / "realism.json", json.dumps(as_record(found), indent=2, allow_nan=False) + "\n")
    table = io.StringIO()
    flat = [_flat(row) for row in found.rows]
    writer = csv.DictWriter(table, list(flat[0]) if flat else ["quantity"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    write_text(folder / "distances.csv", table.getvalue())
    files = [folder / "distributions.png", folder / "distributions.svg"]
    write_distributions(found.rows, found.real.measured, found.synthetic.measured, files)
    write_slices(_side_by_side(found), folder / "slices.png")
    patches = (*found.real.patches, *found.synthetic.patches)
    if patches:
        write_patches(patches, folder / "patches.png")

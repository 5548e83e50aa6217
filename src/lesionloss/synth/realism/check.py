"""A real and a synthetic cohort compared: measured case by case, and written as tables and pictures."""

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
    """What to compare.

    Attributes:
        real: The real cohort.
        synthetic: The synthetic cohort.
        most: How many complete cases of each at most; 0 takes all.
        classifier: Settings of the classifier; None for no classifier.
    """

    real: Cohort
    synthetic: Cohort
    most: int = 0
    classifier: ClassifierSettings | None = None


@dataclass(frozen=True, eq=False)
class CheckedCohort:
    """The measurements of one cohort; `masks_only` counts the patients of whom only masks are there."""

    measured: tuple[Measured, ...]
    patches: tuple[CasePatches, ...]
    spacings_mm: tuple[tuple[float, ...], ...]
    complete: int
    masks_only: int
    slices: tuple[Slice, ...] = ()


@dataclass(frozen=True, eq=False)
class RealismCheck:
    """The comparison: distances by quantity, and how well patches are classified."""

    rows: tuple[QuantityDistance, ...]
    classifier_results: tuple[ClassifierResult, ...]
    real: CheckedCohort
    synthetic: CheckedCohort


def check_realism(request: CheckRequest, progress: Progress = lambda name: None) -> RealismCheck:
    """Measure both cohorts and compare them.

    Args:
        request: What to compare.
        progress: Called with the name of each case and each view.

    Returns:
        The comparison.

    Raises:
        DataError: A file is damaged, or a case is not a pair of visits.
        UsageError: There are too few patients.
    """
    real, synthetic = (
        _measured(cohort, request, progress, real=kind)
        for cohort, kind in ((request.real, True), (request.synthetic, False))
    )
    classifier_results = []
    if request.classifier is not None:
        for result in cross_validate((*real.patches, *synthetic.patches), request.classifier):
            progress(result.view)
            classifier_results.append(result)
    return RealismCheck(compare(real.measured, synthetic.measured), tuple(classifier_results), real, synthetic)


def _measured(cohort: Cohort, request: CheckRequest, progress: Progress, *, real: bool) -> CheckedCohort:
    measured: list[Measured] = []
    patches: list[CasePatches] = []
    spacings: list[tuple[float, ...]] = []
    slices: list[Slice] = []
    for case in complete_cases(cohort, request.most):
        measured.append({**measure_images(case), **measure_masks(masks_of(case))})
        spacings.append(case.spacing_mm)
        if len(slices) < SHOWN:
            slices.append(slice_of(case, real=real))
        if request.classifier is not None:
            patches.append(draw_patches(case, real=real, settings=request.classifier))
        progress(case.name)
    complete = len(measured)
    for masks in masks_only(cohort):
        measured.append(measure_masks(masks))
        progress(masks.name)
    return CheckedCohort(
        tuple(measured), tuple(patches), tuple(spacings), complete, len(measured) - complete, tuple(slices)
    )


def as_record(found: RealismCheck) -> dict[str, Any]:
    """Convert a comparison to plain values for JSON."""

    def side(which: CheckedCohort) -> dict[str, Any]:
        spacings = [[round(edge, 4) for edge in spacing] for spacing in which.spacings_mm]
        return {"complete_cases": which.complete, "masks_only": which.masks_only, "spacings_mm": spacings}

    return {
        "real": side(found.real),
        "synthetic": side(found.synthetic),
        "slices": [{"case": shown.case, "real": shown.real} for shown in _side_by_side(found)],
        "distances": [_flat(row) for row in found.rows],
        "classifier": [
            {"view": result.view, "auc": result.auc, "auc_by_fold": list(result.folds),
             "real_patches": result.patches[0], "synthetic_patches": result.patches[1]}
            for result in found.classifier_results
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
    """Write the tables and pictures of a comparison into a folder.

    The files are realism.json, distances.csv, distributions.png and .svg, slices.png, and patches.png if there are
    patches.
    """
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

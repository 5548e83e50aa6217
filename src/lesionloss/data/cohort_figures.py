"""The figures by which papers describe a data set (cf. Cabezas & Diez 2024, Table 1), from its cases."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from lesionloss.data.checks import CaseSummary


def spread(values: Sequence[float]) -> dict[str, float] | None:
    """Mean, standard deviation (n - 1), median, smallest and largest; None without values."""
    if not values:
        return None
    array = np.asarray(values, dtype=np.float64)
    return {
        "mean": float(array.mean()),
        "sd": float(array.std(ddof=1)) if len(array) > 1 else 0.0,
        "median": float(np.median(array)),
        "min": float(array.min()),
        "max": float(array.max()),
    }


def sums_of(cases: Sequence["CaseSummary"]) -> dict[str, Any]:
    """Counts, and the spread over cases or lesions of what is counted.

    `positive_cases` hold at least one lesion voxel. Shares are of all voxels (`lesion_share`: of all cases together)
    and of the brain mask's, where there is one.
    """
    voxels = sum(case.voxels for case in cases)
    lesion_voxels = sum(case.lesion_voxels for case in cases)
    return {
        "cases": len(cases),
        "patients": len({case.patient for case in cases}),
        "positive_cases": sum(case.lesion_voxels > 0 for case in cases),
        "lesions": sum(case.lesions for case in cases),
        "lesion_mm3": sum(case.lesion_mm3 for case in cases),
        "lesion_voxels": lesion_voxels,
        "lesion_share": lesion_voxels / voxels if voxels else 0.0,
        "lesions_per_case": spread([float(case.lesions) for case in cases]),
        "lesion_mm3_per_case": spread([case.lesion_mm3 for case in cases]),
        "lesion_size_mm3": spread([size for case in cases for size in case.lesion_sizes_mm3]),
        "lesion_share_of_image": spread([case.lesion_share for case in cases]),
        "lesion_share_of_brain": spread(
            [case.lesion_voxels / case.brain_voxels for case in cases if case.brain_voxels]
        ),
    }

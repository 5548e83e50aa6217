"""The figures by which papers describe a data set (cf. Cabezas & Diez 2024, Table 1), of a case and of a cohort."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lesionloss.core.components import label_components
from lesionloss.data.subject import Subject


@dataclass(frozen=True)
class CaseSummary:
    """The figures of one case.

    `lesions` counts the reference's components (26-connected; 8-connected in pictures), `lesion_share` is the share of
    all voxels, and `tiny_lesions` are no larger than a cube of the longest edge. `orientations` are those of the images
    (RAS, ...; empty for a file whose header tells none), each once; `labels` are the class numbers in the reference.
    """

    name: str
    patient: str
    visits: int
    shape: tuple[int, ...]
    spacing_mm: tuple[float, ...]
    lesions: int
    lesion_voxels: int
    lesion_mm3: float
    lesion_share: float
    brain_mask: bool
    reference: bool = True
    voxels: int = 0
    brain_voxels: int = 0
    tiny_lesions: int = 0
    lesion_sizes_mm3: tuple[float, ...] = ()
    orientations: tuple[str, ...] = ()
    labels: tuple[int, ...] = ()


def summarise_case(subject: Subject) -> CaseSummary:
    """Compute the figures of a case."""
    lesion = subject.lesion if subject.lesion is not None else np.zeros(subject.space, np.bool_)
    labels, total = label_components(lesion, 26)
    sizes = np.bincount(labels[lesion].astype(np.int64), minlength=total + 1)[1:]
    voxel = math.prod(subject.spacing_mm)
    edge = max(subject.spacing_mm) ** len(subject.space)
    voxels = int(lesion.sum())
    return CaseSummary(
        name=subject.name,
        patient=subject.patient,
        visits=len(subject.visits),
        shape=subject.space,
        spacing_mm=subject.spacing_mm,
        lesions=total,
        lesion_voxels=voxels,
        lesion_mm3=voxels * voxel,
        lesion_share=voxels / lesion.size,
        brain_mask=subject.brain is not None,
        reference=subject.reference is not None,
        voxels=lesion.size,
        brain_voxels=0 if subject.brain is None else int(subject.brain.sum()),
        tiny_lesions=int((sizes * voxel <= edge * (1 + 1e-6)).sum()),
        lesion_sizes_mm3=tuple(float(size * voxel) for size in sizes),
    )


def summarise_cohort(cases: Sequence[CaseSummary]) -> dict[str, Any]:
    """Compute counts, and the spread over cases or lesions.

    `positive_cases` hold at least one lesion voxel. Shares are of all voxels (`lesion_share`: of all cases together),
    and of the brain mask's voxels where there is a mask (`lesion_share_of_all_brains`: lesion voxels of these
    `cases_with_brain` over their brain voxels, None without any).

    Args:
        cases: The figures of each case.

    Returns:
        Plain values by name, for JSON.
    """
    voxels = sum(case.voxels for case in cases)
    with_brain = [case for case in cases if case.brain_voxels]
    brain_voxels = sum(case.brain_voxels for case in with_brain)
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
        "lesion_size_voxels": spread(
            [size / math.prod(case.spacing_mm) for case in cases for size in case.lesion_sizes_mm3]
        ),
        "lesion_share_of_image": spread([case.lesion_share for case in cases]),
        "lesion_share_of_brain": spread([case.lesion_voxels / case.brain_voxels for case in with_brain]),
        "lesion_share_of_all_brains": (
            sum(case.lesion_voxels for case in with_brain) / brain_voxels if brain_voxels else None
        ),
        "cases_with_brain": len(with_brain),
    }


def spread(values: Sequence[float]) -> dict[str, float] | None:
    """Compute mean, standard deviation (n - 1), median, smallest and largest value; None without values."""
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

"""What is decided about a patient before a voxel is drawn. Cheap: thousands of plans take seconds."""

from dataclasses import dataclass

import numpy as np

from lesionloss.errors import UsageError
from lesionloss.randomness import numpy_generator

# Where lesions of multiple sclerosis lie, as shares of the draws.
PLACES = ("periventricular", "deep", "juxtacortical", "infratentorial")
_PLACE_SHARE = (0.45, 0.28, 0.22, 0.05)


@dataclass(frozen=True)
class SynthSettings:
    """What a whole cohort shares. Spacing in mm, volumes in mm3."""

    spacing_mm: float = 2.0
    stable_share: float = 0.2  # patients without a new lesion
    mean_new_lesions: float = 9.0  # of the patients that have any
    median_new_mm3: float = 125.0
    largest_new_mm3: float = 350.0
    mean_old_lesions: float = 18.0

    def __post_init__(self) -> None:
        if not 0.7 <= self.spacing_mm <= 3.0:
            raise UsageError(f"spacing is {self.spacing_mm:g} mm; choose one between 0.7 and 3 mm")
        if not 0 <= self.stable_share <= 1:
            raise UsageError(f"stable_share is {self.stable_share:g}; it is a share, between 0 and 1")


@dataclass(frozen=True)
class LesionPlan:
    """One lesion to be grown. Contrasts are in units of the normal white-matter signal."""

    kind: str  # "old" or "new"
    place: str
    volume_mm3: float
    elongation: float
    contrast: float  # at the follow-up
    baseline_contrast: float  # 0 for a new lesion


@dataclass(frozen=True)
class VisitPlan:
    """How one visit is measured: the scanner's part."""

    scale: float  # signal of normal white matter
    gamma: float  # exponent of the signal: the contrast between tissues differs from visit to visit
    noise: float  # sd of each channel, in units of white matter
    bias: float  # sd of the log of the bias field
    through_plane_mm: float  # sd of the blur along z
    flow_artefacts: int


@dataclass(frozen=True)
class PatientPlan:
    """All counts, sizes and scanner numbers of a patient. Everything else is geometry."""

    lesions: tuple[LesionPlan, ...]
    bright_spots: int
    misregistration_mm: float
    baseline: VisitPlan
    followup: VisitPlan

    def of_kind(self, kind: str) -> tuple[LesionPlan, ...]:
        return tuple(lesion for lesion in self.lesions if lesion.kind == kind)


def plan_patient(seed: int, index: int, settings: SynthSettings) -> PatientPlan:
    """The plan of patient `index` (from 0) of the cohort `seed`; it depends on nothing else."""
    draw = numpy_generator(seed, "patient", index, "plan")
    news = (
        0
        if is_stable(seed, index, settings)
        else 1 + int(draw.poisson(draw.gamma(2.0, (settings.mean_new_lesions - 1) / 2)))
    )
    olds = 3 + int(draw.poisson(draw.gamma(2.5, (settings.mean_old_lesions - 3) / 2.5)))
    lesions = [_old_lesion(draw) for _ in range(min(olds, 60))]
    lesions += [_new_lesion(draw, settings) for _ in range(min(news, 25))]
    return PatientPlan(
        lesions=tuple(lesions),
        bright_spots=int(draw.integers(3, 10)),
        misregistration_mm=float(draw.uniform(0.25, 0.5)),
        baseline=_visit(draw, int(draw.integers(0, 3))),
        followup=_visit(draw, int(draw.integers(6, 13))),
    )


def is_stable(seed: int, index: int, settings: SynthSettings) -> bool:
    """Whether a patient has no new lesion: evenly spread from a random start, so that small cohorts keep the share."""
    start = numpy_generator(seed, "stable").random()
    before, after = (np.floor(start + settings.stable_share * count) for count in (index, index + 1))
    return bool(after > before)


def _place(draw: np.random.Generator) -> str:
    return PLACES[int(draw.choice(len(PLACES), p=_PLACE_SHARE))]


def _old_lesion(draw: np.random.Generator) -> LesionPlan:
    contrast = float(draw.uniform(0.25, 0.55))
    return LesionPlan(
        kind="old",
        place=_place(draw),
        volume_mm3=float(np.clip(180 * np.exp(draw.normal(0, 1.0)), 12, 3000)),
        elongation=float(draw.uniform(1.0, 2.2)),
        contrast=contrast * float(np.clip(draw.normal(1, 0.12), 0.75, 1.3)),
        baseline_contrast=contrast,
    )


def _new_lesion(draw: np.random.Generator, settings: SynthSettings) -> LesionPlan:
    smallest = max(3.0, 2 * settings.spacing_mm**3)
    volume = settings.median_new_mm3 * np.exp(draw.normal(0, 0.6))
    return LesionPlan(
        kind="new",
        place=_place(draw),
        volume_mm3=float(np.clip(volume, smallest, settings.largest_new_mm3)),
        elongation=float(draw.uniform(1.0, 1.8)),
        contrast=float(draw.uniform(0.33, 0.56)),
        baseline_contrast=0.0,
    )


def _visit(draw: np.random.Generator, flow_artefacts: int) -> VisitPlan:
    return VisitPlan(
        scale=float(draw.uniform(180, 520)),
        gamma=float(np.exp(draw.normal(0, 0.06))),
        noise=float(draw.uniform(0.035, 0.055)),
        bias=float(draw.uniform(0.03, 0.055)),
        through_plane_mm=float(draw.uniform(0.7, 1.1)),
        flow_artefacts=flow_artefacts,
    )

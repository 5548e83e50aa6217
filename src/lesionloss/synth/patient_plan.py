"""The plan of a patient, drawn before any voxel. Cheap: thousands of plans take seconds."""

from dataclasses import dataclass, replace

import numpy as np

from lesionloss.core.randomness import numpy_generator
from lesionloss.synth.settings import ContrastSettings, LesionSettings, Range, SynthSettings

PLACES = ("periventricular", "deep", "juxtacortical", "infratentorial")
KINDS = ("unchanged", "new", "enlarging", "shrinking", "vanishing")
PLANES = ("axial", "sagittal", "coronal")


@dataclass(frozen=True)
class LesionPlan:
    """One lesion to be grown: its volume (0: absent) and the signal its core adds, at baseline and at follow-up.

    Contrasts are in units of normal white matter's signal.
    """

    kind: str  # one of KINDS
    place: str  # one of PLACES
    volumes_mm3: tuple[float, float]
    contrasts: tuple[float, float]  # in units of the normal white-matter signal
    elongation: float
    roughness: float
    softness: float


@dataclass(frozen=True)
class Protocol:
    """A sequence on a scanner; signals are in units of normal white matter's."""

    grey: float
    deep_grey: float
    fluid: float
    rim: float
    caps: float
    septum: float
    surroundings: float
    lesion: float  # factor on every lesion's signal
    plane: str  # of the slices, one of PLANES
    in_plane_mm: float
    slice_mm: float
    profile: float
    kept: float
    noise: float
    gamma: float
    window: float  # where high values are cut off; 0: nowhere


@dataclass(frozen=True)
class VisitPlan:
    """How one visit is measured."""

    protocol: Protocol
    scale: float
    bias: float
    fluid_shading: float
    tilt_deg: float
    own_grid: bool  # the image is not resampled: the common grid is the scanner's
    motion_mm: float  # 0: none
    cut_mm: float  # lacking at the top (positive) or bottom (negative); 0: nothing
    passing: int
    flow: int


@dataclass(frozen=True)
class PatientPlan:
    """All counts, sizes and scanner numbers of a patient; everything else is geometry."""

    lesions: tuple[LesionPlan, ...]
    spots: int
    vessels: int
    plexus: float
    shading: float
    texture: float
    atrophy_mm: float
    misregistration_mm: float
    other_protocol: bool
    baseline: VisitPlan
    followup: VisitPlan

    def of_kind(self, kind: str) -> tuple[LesionPlan, ...]:
        """List the planned lesions of one kind."""
        return tuple(lesion for lesion in self.lesions if lesion.kind == kind)


def plan_patient(seed: int, index: int, settings: SynthSettings) -> PatientPlan:
    """Plan a patient; the plan depends on nothing but the arguments.

    Args:
        seed: Seed of the cohort.
        index: Number of the patient, from 0.
        settings: The ranges.

    Returns:
        The plan.
    """
    draw = numpy_generator(seed, "patient", index, "plan")
    lesions = _lesions(draw, settings.lesions, is_stable(seed, index, settings))
    protocol = _protocol(draw, settings)
    other = bool(draw.random() < settings.followup.other_protocol_share)
    second = _protocol(draw, settings) if other else _again(draw, protocol, settings.contrast)
    own_grid = bool(draw.random() < settings.followup.own_grid_share)
    return PatientPlan(
        lesions=lesions,
        spots=_count(draw, settings.look_alikes.spots),
        vessels=_count(draw, settings.look_alikes.vessels),
        plexus=_uniform(draw, settings.look_alikes.plexus),
        shading=_uniform(draw, settings.contrast.shading),
        texture=_uniform(draw, settings.contrast.texture),
        atrophy_mm=_uniform(draw, settings.anatomy.atrophy_mm),
        misregistration_mm=_uniform(draw, settings.followup.misregistration_mm),
        other_protocol=other,
        baseline=_visit(draw, settings, protocol, False),
        followup=_visit(draw, settings, second, own_grid),
    )


def is_stable(seed: int, index: int, settings: SynthSettings) -> bool:
    """Whether a patient has no new lesion; evenly spread from a random start, so small cohorts keep the share."""
    start = numpy_generator(seed, "stable").random()
    before, after = (np.floor(start + settings.lesions.stable_share * count) for count in (index, index + 1))
    return bool(after > before)


def _uniform(draw: np.random.Generator, span: Range) -> float:
    return float(draw.uniform(*span))


def _log_uniform(draw: np.random.Generator, span: Range) -> float:
    return float(np.exp(draw.uniform(*np.log(span))))


def _count(draw: np.random.Generator, span: tuple[int, int]) -> int:
    return int(draw.integers(span[0], span[1] + 1))


def _log_count(draw: np.random.Generator, span: tuple[int, int]) -> int:
    """Draw a whole number from `span`, with equal ratios equally likely."""
    low, high = span
    return min(high, int(_log_uniform(draw, (low + 1.0, high + 2.0))) - 1)


def _lesions(draw: np.random.Generator, settings: LesionSettings, stable: bool) -> tuple[LesionPlan, ...]:
    news = _log_count(draw, settings.new_count)
    olds = _log_count(draw, settings.old_count)
    medians = {"new": _log_uniform(draw, settings.new_volume_mm3), "old": _log_uniform(draw, settings.old_volume_mm3)}
    spread = _uniform(draw, settings.volume_spread)
    changes = [_uniform(draw, share) for share in (settings.enlarging, settings.shrinking, settings.vanishing)]
    changes = [share / max(1.0, sum(changes)) for share in changes]
    kinds = draw.choice(
        ["enlarging", "shrinking", "vanishing", "unchanged"], size=olds, p=[*changes, max(0.0, 1 - sum(changes))]
    )

    def volume(kind: str) -> float:
        return float(np.clip(medians[kind] * np.exp(draw.normal(0, spread)), *settings.volume_limits_mm3))

    lesions = [_lesion(draw, settings, str(kind), volume("old")) for kind in kinds]
    lesions += [_lesion(draw, settings, "new", volume("new")) for _ in range(0 if stable else news)]
    return tuple(lesions)


def _lesion(draw: np.random.Generator, settings: LesionSettings, kind: str, volume_mm3: float) -> LesionPlan:
    contrast = _uniform(draw, settings.contrast)
    drift = contrast * max(0.75, 1 + draw.normal(0, _uniform(draw, settings.contrast_jitter)))
    growth, shrinkage = _log_uniform(draw, settings.growth), _log_uniform(draw, settings.shrinkage)
    faded = contrast * (1 - _uniform(draw, settings.fading))
    volumes, contrasts = {
        "unchanged": ((volume_mm3, volume_mm3), (contrast, drift)),
        "new": ((0.0, volume_mm3), (0.0, contrast)),
        "enlarging": ((volume_mm3, volume_mm3 * growth), (contrast, contrast)),
        "shrinking": ((volume_mm3, volume_mm3 / shrinkage), (contrast, faded)),
        "vanishing": ((volume_mm3, 0.0), (contrast, 0.0)),
    }[kind]
    places = np.array(settings.places)
    return LesionPlan(
        kind=kind,
        place=PLACES[int(draw.choice(len(PLACES), p=places / places.sum()))],
        volumes_mm3=volumes,
        contrasts=contrasts,
        elongation=_uniform(draw, settings.elongation),
        roughness=_uniform(draw, settings.roughness),
        softness=_uniform(draw, settings.softness),
    )


def _protocol(draw: np.random.Generator, settings: SynthSettings) -> Protocol:
    contrast, scanner = settings.contrast, settings.scanner
    in_plane_mm = _uniform(draw, scanner.in_plane_mm)
    isotropic = draw.random() < scanner.isotropic_share
    slice_mm = max(in_plane_mm, _uniform(draw, scanner.slice_mm))
    windowed = draw.random() < scanner.window_share
    window = _uniform(draw, scanner.window)
    return Protocol(
        grey=_uniform(draw, contrast.grey),
        deep_grey=_uniform(draw, contrast.deep_grey),
        fluid=_uniform(draw, contrast.fluid),
        rim=_uniform(draw, contrast.rim),
        caps=_uniform(draw, contrast.caps),
        septum=_uniform(draw, contrast.septum),
        surroundings=_uniform(draw, contrast.surroundings),
        lesion=float(draw.uniform(0.8, 1.25)),
        plane=PLANES[int(draw.choice(3, p=np.array(scanner.planes) / sum(scanner.planes)))],
        in_plane_mm=in_plane_mm,
        slice_mm=in_plane_mm if isotropic else slice_mm,
        profile=_uniform(draw, scanner.profile),
        kept=_uniform(draw, scanner.kept),
        noise=_uniform(draw, scanner.noise),
        gamma=_uniform(draw, scanner.gamma),
        window=window if windowed else 0.0,
    )


def _again(draw: np.random.Generator, protocol: Protocol, contrast: ContrastSettings) -> Protocol:
    """Draw the same protocol as it turns out at another visit."""
    jitter = _uniform(draw, contrast.jitter)
    factors = np.exp(draw.normal(0, jitter, 9)).tolist()
    fields = ("grey", "deep_grey", "fluid", "rim", "caps", "septum", "surroundings", "lesion", "noise")
    values = {name: getattr(protocol, name) * factor for name, factor in zip(fields, factors, strict=True)}
    return replace(protocol, **values)


def _visit(draw: np.random.Generator, settings: SynthSettings, protocol: Protocol, own_grid: bool) -> VisitPlan:
    scanner, between = settings.scanner, settings.followup
    moved, cut = draw.random() < scanner.motion_share, draw.random() < between.cut_share
    motion_mm, cut_mm = _uniform(draw, scanner.motion_mm), _uniform(draw, between.cut_mm)
    return VisitPlan(
        protocol=protocol,
        scale=_log_uniform(draw, scanner.scale),
        bias=_uniform(draw, scanner.bias),
        fluid_shading=_uniform(draw, settings.look_alikes.fluid_shading),
        tilt_deg=_uniform(draw, scanner.tilt_deg),
        own_grid=own_grid,
        motion_mm=motion_mm if moved else 0.0,
        cut_mm=(cut_mm if draw.random() < 0.5 else -cut_mm) if cut else 0.0,
        passing=_count(draw, settings.look_alikes.passing),
        flow=_count(draw, settings.look_alikes.flow),
    )

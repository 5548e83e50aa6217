"""Look-alikes: what looks like a lesion or like change and is neither (spots, vessels, flow, the choroid plexus)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lesionloss.synth.anatomy import Anatomy
from lesionloss.synth.fields import Float
from lesionloss.synth.patient_plan import PatientPlan
from lesionloss.synth.settings import LookAlikeSettings, Range

Point = tuple[float, float, float]

_BEAD_MM = 0.8  # distance of the beads that a vessel is drawn with
_PLEXUS_MM = ((-24.0, -40.0, 6.0), (24.0, -40.0, 6.0))  # the trigones in MNI space


@dataclass(frozen=True)
class LookAlike:
    """A structure that is no lesion; world mm; `visit` is "both", "baseline" or "followup"."""

    kind: str
    visit: str
    centre_mm: Point
    radius_mm: float
    contrast: float


@dataclass(frozen=True, eq=False)
class LookAlikes:
    """All look-alikes of a patient, and what they add to the signal at each visit (X, Y, Z)."""

    found: tuple[LookAlike, ...]
    signals: tuple[Float, Float]


def draw_look_alikes(
    generator: np.random.Generator, anatomy: Anatomy, plan: PatientPlan, settings: LookAlikeSettings
) -> LookAlikes:
    """Draw all look-alikes.

    None lies deep in white matter at one visit only, because there only a lesion would.

    Args:
        generator: Draws them.
        anatomy: The person's tissue.
        plan: How many of each kind.
        settings: The ranges of their signals.

    Returns:
        The look-alikes and their signals.
    """
    maps = anatomy.maps
    signals = tuple(np.zeros(anatomy.brain.shape, np.float32) for _ in range(2))
    border = maps["gm"] + 0.15 * maps["wm"]
    outer = (maps["gm"] * (1 - maps["wm"]) + 0.5 * maps["csf"]) * (maps["wm"] < 0.1)
    fluid = maps["csf"] ** 2
    spots = _spots(generator, anatomy, "spot", border, plan.spots, (0.8, 1.9), settings.spot_contrast)
    vessels = _vessels(generator, anatomy, plan.vessels, settings.vessel_contrast)
    plexus = _plexus(generator, anatomy, plan.plexus)
    extras = tuple(np.zeros_like(signal) for signal in signals)  # what differs from visit to visit
    for thing in (*spots, *plexus):
        _add_blob(generator, signals, anatomy, thing)
    for extra in extras:
        for course, vessel in vessels:
            _add_vessel(generator, extra, anatomy, course, vessel)
    found = [*spots, *plexus, *(vessel for _, vessel in vessels)]
    within = 1 - anatomy.spread(maps["wm"])  # it keeps out of white matter
    for signal, extra, visit, planned in zip(
        signals, extras, ("baseline", "followup"), (plan.baseline, plan.followup), strict=True
    ):
        passing = _spots(generator, anatomy, "passing", outer, planned.passing, (0.7, 2.2), settings.passing_contrast)
        flow = _spots(generator, anatomy, "flow", fluid, planned.flow, (1.2, 3.5), settings.flow_contrast)
        for thing in (*passing, *flow):
            _add_blob(generator, (extra,), anatomy, thing)
        signal += extra * within
        found += [
            LookAlike(thing.kind, visit, thing.centre_mm, thing.radius_mm, thing.contrast)
            for thing in (*passing, *flow)
        ]
    return LookAlikes(tuple(found), (signals[0], signals[1]))


def _spots(
    generator: np.random.Generator,
    anatomy: Anatomy,
    kind: str,
    weight: Float,
    count: int,
    radius_mm: Range,
    contrast: Range,
) -> list[LookAlike]:
    return [
        LookAlike(kind, "both", centre, float(generator.uniform(*radius_mm)), float(generator.uniform(*contrast)))
        for centre in _centres(generator, anatomy, weight, count)
    ]


def _centres(generator: np.random.Generator, anatomy: Anatomy, weight: Float, count: int) -> list[Point]:
    if count == 0 or not weight.any():
        return []
    cumulated = np.cumsum(weight, dtype=np.float64)
    drawn = np.searchsorted(cumulated, generator.random(count) * cumulated[-1], side="right")
    flat = np.flatnonzero(anatomy.brain)[drawn.clip(0, len(weight) - 1)]
    voxels = np.array(np.unravel_index(flat, anatomy.brain.shape), dtype=np.float64).T
    return [anatomy.axes.world_mm(voxel) for voxel in voxels]


def _plexus(generator: np.random.Generator, anatomy: Anatomy, contrast: float) -> list[LookAlike]:
    """Draw a few bright clumps in the fluid next to each trigone."""
    x, y, z = anatomy.points_mm
    found: list[LookAlike] = []
    if contrast == 0:
        return found
    for px, py, pz in _PLEXUS_MM:
        near = np.exp(-((x - px) ** 2 + (y - py) ** 2 + (z - pz) ** 2) / (2 * 7.0**2)) * anatomy.maps["csf"]
        near *= anatomy.maps["ventricle_mm"] < 0
        found += _spots(generator, anatomy, "plexus", near, 4, (1.2, 2.6), (0.6 * contrast, contrast))
    return found


def _vessels(
    generator: np.random.Generator, anatomy: Anatomy, count: int, contrast: Range
) -> list[tuple[NDArray[np.float64], LookAlike]]:
    """Draw curves of 8 to 30 mm that start in sulci and cisterns: (beads, 3) world mm each."""
    weight = anatomy.maps["csf"] * (anatomy.maps["ventricle_mm"] > 2)
    vessels = []
    for start in _centres(generator, anatomy, weight, count):
        beads = int(generator.uniform(8, 30) / _BEAD_MM)
        steps = generator.standard_normal(3) + 0.35 * np.cumsum(generator.standard_normal((beads, 3)), axis=0)
        steps *= _BEAD_MM / np.linalg.norm(steps, axis=1, keepdims=True)
        radius, strength = float(generator.uniform(0.4, 0.9)), float(generator.uniform(*contrast))
        vessels.append(
            (np.array(start) + np.cumsum(steps, axis=0), LookAlike("vessel", "both", start, radius, strength))
        )
    return vessels


def _add_vessel(
    generator: np.random.Generator, volume: Float, anatomy: Anatomy, course: NDArray[np.float64], vessel: LookAlike
) -> None:
    """Add beads along a vessel's course; its brightness differs between the visits."""
    strength = vessel.contrast * float(generator.uniform(0.5, 1.2))
    for bead in course:
        x, y, z = (float(c) for c in bead)
        _add(volume, anatomy, (x, y, z), vessel.radius_mm, 0.5 * strength, np.zeros(3))


def _add_blob(generator: np.random.Generator, volumes: tuple[Float, ...], anatomy: Anatomy, spot: LookAlike) -> None:
    """Add one Gaussian ellipsoid to each volume: sd `radius_mm`, up to 2.5 times as long in one random direction."""
    axis = generator.standard_normal(3)
    axis *= np.sqrt(1 - generator.uniform(1.0, 2.5) ** -2) / np.linalg.norm(axis)
    for volume in volumes:
        _add(volume, anatomy, spot.centre_mm, spot.radius_mm, spot.contrast, axis)


def _add(
    volume: Float, anatomy: Anatomy, centre: Point, radius_mm: float, contrast: float, axis: NDArray[np.float64]
) -> None:
    """Add a Gaussian whose squared distance is shortened along `axis` by the square of its length."""
    window = anatomy.axes.window(centre, 5 * radius_mm if axis.any() else 3 * radius_mm)
    grids = np.meshgrid(
        *(values - c for values, c in zip(anatomy.axes.cropped(window), centre, strict=True)),
        indexing="ij",
        sparse=True,
    )
    along = axis[0] * grids[0] + axis[1] * grids[1] + axis[2] * grids[2]
    distance2 = grids[0] ** 2 + grids[1] ** 2 + grids[2] ** 2 - along**2
    # no narrower than the voxels it is drawn on, or it would fall between them
    width2 = radius_mm**2 + (max(anatomy.axes.spacing_mm) / 4) ** 2
    volume[window] += (contrast * np.exp(-distance2 / (2 * width2))).astype(np.float32)

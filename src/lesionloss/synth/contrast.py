"""FLAIR contrast: the noise-free signal of an anatomy under a protocol. Normal white matter is about 1."""

from dataclasses import dataclass

import numpy as np

from lesionloss.synth.anatomy import Anatomy
from lesionloss.synth.fields import Float, smooth_field
from lesionloss.synth.patient_plan import PatientPlan, Protocol, VisitPlan

_LINING_MM = 1.2  # width of the bright lining of the ventricles
_WALL = 0.8  # share of the septum's middle that is tissue


@dataclass(frozen=True, eq=False)
class Person:
    """The variation of a person's tissue, the same under every protocol, and the signal around the brain.

    Attributes:
        brightness: Factor of the tissue's signal (n,), about 1.
        lining: How much of the ventricles' lining there is (n,), about 1.
        around: Signal beyond the brain's surface (X, Y, Z), 0 to about 1.
    """

    brightness: Float
    lining: Float
    around: Float


def draw_person(generator: np.random.Generator, anatomy: Anatomy, plan: PatientPlan) -> Person:
    """Draw the variation within tissue that stays from visit to visit."""
    slow, fine = (smooth_field(generator, anatomy.axes, knot_mm)[anatomy.brain] for knot_mm in (22.0, 5.0))
    lining = smooth_field(generator, anatomy.axes, 14.0)[anatomy.brain]
    clumps = smooth_field(generator, anatomy.axes, 9.0)
    depth = (-1.5 - anatomy.surface_mm).clip(0, 1.5) / np.float32(1.5)  # a film of fluid lies between
    return Person(
        brightness=1 + np.float32(plan.shading) * slow + np.float32(plan.texture) * fine,
        lining=(1 + np.float32(0.6) * lining).clip(0),
        around=depth * (np.float32(0.4) + np.float32(0.4) * clumps).clip(0),
    )


def tissue_signal(
    generator: np.random.Generator, anatomy: Anatomy, person: Person, visit: VisitPlan, atrophy_mm: float
) -> Float:
    """Compute the signal of healthy tissue at a visit.

    Args:
        generator: Draws the variation of the fluid's signal.
        anatomy: The person's tissue.
        person: The person's variation.
        visit: The visit, with its protocol.
        atrophy_mm: By how much the ventricles are wider than the anatomy's.

    Returns:
        Signal float32 (X, Y, Z); normal white matter is about 1.
    """
    maps, protocol = anatomy.maps, visit.protocol
    gm, wm, csf = _aged(anatomy, atrophy_mm)
    flow = np.exp(np.float32(visit.fluid_shading) * smooth_field(generator, anatomy.axes, 13.0)[anatomy.brain])
    grey = np.float32(protocol.grey) + np.float32(protocol.deep_grey - protocol.grey) * maps["deep"]
    signal = (wm + grey * gm) * person.brightness + (np.float32(protocol.fluid) * flow).clip(0, 1.2) * csf
    signal += (1 - csf) * _linings(anatomy, person, protocol, atrophy_mm)
    return np.asarray(
        np.where(
            anatomy.brain,
            anatomy.spread(signal),
            np.float32(protocol.fluid) + np.float32(protocol.surroundings) * person.around,
        ),
        dtype=np.float32,
    )


def _aged(anatomy: Anatomy, atrophy_mm: float) -> tuple[Float, Float, Float]:
    """Compute the fractions of grey and white matter and fluid after ventricles and sulci have widened."""
    maps = anatomy.maps
    wall = np.float32(_WALL) * maps["septum"] * maps["csf"]
    csf = maps["csf"] - wall
    distance = maps["ventricle_mm"]
    gained = (0.5 - (distance - np.float32(atrophy_mm))).clip(0, 1) - (0.5 - distance).clip(0, 1)
    ratio = np.float32(1 + atrophy_mm)
    later = (csf * ratio / (1 + csf * (ratio - 1)) + gained).clip(0, 1)
    left = (1 - later) / np.maximum(1 - csf, np.float32(1e-3))
    return maps["gm"] * left, (maps["wm"] + wall) * left, later


def _linings(anatomy: Anatomy, person: Person, protocol: Protocol, atrophy_mm: float) -> Float:
    maps = anatomy.maps
    distance = maps["ventricle_mm"] - np.float32(atrophy_mm)
    rim = np.exp(-(((distance - 1) / np.float32(_LINING_MM)) ** 2)) * person.lining
    return np.asarray(
        np.float32(protocol.rim) * rim
        + np.float32(protocol.caps) * maps["caps"]
        + np.float32(protocol.septum) * maps["septum"],
        dtype=np.float32,
    )

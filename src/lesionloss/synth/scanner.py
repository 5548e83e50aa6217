"""What a FLAIR scanner makes of an anatomy: contrast, look-alikes of lesions, blur, bias, noise."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lesionloss.synth.anatomy import Anatomy
from lesionloss.synth.fields import Axes, Float, smooth_field
from lesionloss.synth.plan import PatientPlan, VisitPlan

_IN_PLANE_MM = 0.5  # sd of the blur within a slice


@dataclass(frozen=True)
class LookAlike:
    """A bright spot that is no lesion. World mm; `visit` is "both", "baseline" or "followup"."""

    kind: str
    visit: str
    centre_mm: tuple[float, float, float]
    radius_mm: float
    contrast: float


@dataclass(frozen=True, eq=False)
class Scene:
    """The noise-free signal of healthy tissue and look-alikes at either visit; normal white matter is about 1."""

    baseline: Float
    followup: Float
    look_alikes: tuple[LookAlike, ...]


def draw_scene(generator: np.random.Generator, anatomy: Anatomy, plan: PatientPlan) -> Scene:
    """FLAIR contrast of the anatomy, then spots that stay and flow artefacts that come and go."""
    tissue = _tissue_signal(generator, anatomy)
    spots = _spots(generator, anatomy, plan.bright_spots)
    passing = {
        visit: _flow_artefacts(generator, anatomy, visit, plan_of.flow_artefacts)
        for visit, plan_of in (("baseline", plan.baseline), ("followup", plan.followup))
    }
    for spot in spots:
        _add_blob(generator, tissue, anatomy, spot)
    visits = {}
    for visit, artefacts in passing.items():
        extra = np.zeros_like(tissue)
        for artefact in artefacts:
            _add_blob(generator, extra, anatomy, artefact)
        visits[visit] = tissue + extra * (1 - anatomy.wm)  # flow is outside white matter
    look_alikes = (*spots, *passing["baseline"], *passing["followup"])
    return Scene(visits["baseline"], visits["followup"], look_alikes)


def acquire(generator: np.random.Generator, signal: Float, anatomy: Anatomy, visit: VisitPlan) -> NDArray[np.int16]:
    """One visit's image (X, Y, Z), skull-stripped: blur, contrast, bias field, Rician noise, the scanner's units.

    Rician noise: Gudbjartsson & Patz 1995, the modulus of a signal with independent normal noise in two channels.
    """
    from scipy import ndimage

    spacing = anatomy.axes.spacing_mm
    widths = [width / spacing for width in (_IN_PLANE_MM, _IN_PLANE_MM, visit.through_plane_mm)]
    blurred = ndimage.gaussian_filter(signal, widths)
    bias = np.exp(np.float32(visit.bias) * smooth_field(generator, anatomy.axes, 70.0))
    measured = bias * np.maximum(blurred, 0) ** np.float32(visit.gamma)
    noise = np.float32(visit.noise) * generator.standard_normal((2, *signal.shape), dtype=np.float32)
    image = np.hypot(measured + noise[0], noise[1]) * np.float32(visit.scale)
    return np.where(anatomy.brain, np.rint(image), 0).astype(np.int16)


def misplaced(generator: np.random.Generator, signal: Float, anatomy: Anatomy, mean_mm: float) -> Float:
    """The signal after a rigid error whose displacement over the brain is `mean_mm` on average (cubic resampling)."""
    from scipy import ndimage

    middle = (np.array(signal.shape) - 1) / 2
    turn = generator.normal(0, 1, 3)
    shift = generator.normal(0, 1, 3)
    voxels = np.argwhere(anatomy.brain)[::50] - middle
    # radians and millimetres of one common size: a rotation moves the brain's outside by about 60 mm times its angle
    moves = np.cross(turn / 60, voxels * anatomy.axes.spacing_mm) + shift
    size = mean_mm / float(np.linalg.norm(moves, axis=1).mean())
    x, y, z = size * turn / 60
    matrix = np.array([[1, -z, y], [z, 1, -x], [-y, x, 1]])
    offset = middle - matrix @ middle + size * shift / anatomy.axes.spacing_mm
    moved: Float = ndimage.affine_transform(signal, matrix, offset, order=3, mode="nearest", output=np.float32)
    return moved


def _tissue_signal(generator: np.random.Generator, anatomy: Anatomy) -> Float:
    grey, fluid = generator.uniform(1.12, 1.21), generator.uniform(0.12, 0.22)
    rim, caps = generator.uniform(0.15, 0.35), generator.uniform(0.1, 0.35)
    signal = anatomy.wm + np.float32(grey) * anatomy.gm + np.float32(fluid) * anatomy.csf
    lining = np.float32(rim) * np.exp(-(((anatomy.ventricle_mm - 1) / 1.2) ** 2))
    signal += (1 - anatomy.csf) * (lining + np.float32(caps) * anatomy.caps)
    coarse, fine = (smooth_field(generator, anatomy.axes, knot_mm) for knot_mm in (22.0, 5.0))
    signal *= 1 + np.float32(0.025) * coarse + np.float32(0.02) * fine
    return np.asarray(signal * anatomy.brain, dtype=np.float32)


def _spots(generator: np.random.Generator, anatomy: Anatomy, count: int) -> list[LookAlike]:
    """Small bright things anywhere in tissue that are there at both visits: vessels, perivascular spaces' rims."""
    centres = _centres(generator, anatomy.gm + 0.3 * anatomy.wm, anatomy.axes, count)
    return [
        LookAlike(
            "bright_spot", "both", centre, float(generator.uniform(1.0, 1.8)), float(generator.uniform(0.2, 0.45))
        )
        for centre in centres
    ]


def _flow_artefacts(generator: np.random.Generator, anatomy: Anatomy, visit: str, count: int) -> list[LookAlike]:
    """Inflow of fluid at one visit: brighter and blurrier than a lesion, in ventricles, cisterns and sulci."""
    centres = _centres(generator, anatomy.csf**2, anatomy.axes, count)
    return [
        LookAlike("flow", visit, centre, float(generator.uniform(2.0, 3.5)), float(generator.uniform(0.4, 0.9)))
        for centre in centres
    ]


def _centres(generator: np.random.Generator, weight: Float, axes: Axes, count: int) -> list[tuple[float, float, float]]:
    cumulated = np.cumsum(weight.ravel(), dtype=np.float64)
    drawn = np.searchsorted(cumulated, generator.random(count) * cumulated[-1], side="right")
    voxels = np.array(np.unravel_index(drawn, weight.shape), dtype=np.float64).reshape(3, count).T
    return [axes.world_mm(voxel) for voxel in voxels]


def _add_blob(generator: np.random.Generator, volume: Float, anatomy: Anatomy, spot: LookAlike) -> None:
    """A Gaussian ellipsoid with sd `radius_mm`, up to twice as long in one random direction."""
    axis = generator.standard_normal(3)
    axis /= np.linalg.norm(axis)
    squeeze = 1 - 1 / generator.uniform(1.0, 2.0)
    reach = 5 * spot.radius_mm
    spans = [np.searchsorted(a, (c - reach, c + reach)) for a, c in zip(anatomy.axes, spot.centre_mm, strict=True)]
    window = tuple(slice(int(first), int(last)) for first, last in spans)
    offsets = np.stack(
        np.meshgrid(*(a[w] - c for a, w, c in zip(anatomy.axes, window, spot.centre_mm, strict=True)), indexing="ij")
    )
    along = np.einsum("i,ixyz->xyz", axis, offsets)
    distance2 = (offsets**2).sum(axis=0) - (1 - (1 - squeeze) ** 2) * along**2
    volume[window] += (spot.contrast * np.exp(-distance2 / (2 * spot.radius_mm**2))).astype(np.float32)

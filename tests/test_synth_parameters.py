"""Every key of the synthetic settings moves what its description says, and nothing is left untried."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lesionloss.randomness import numpy_generator
from lesionloss.synth import PatientPlan, SynthSettings, plan_patient, profile_settings
from lesionloss.synth.anatomy import Anatomy, Sampling, draw_anatomy
from lesionloss.synth.contrast import draw_person, visible
from lesionloss.synth.growth import Seed, grown
from lesionloss.synth.looks import LookAlikes, draw_look_alikes
from lesionloss.synth.scanner import acquire, covered, no_error, registration_error, sampling_of
from lesionloss.synth.settings import known_keys

# Nothing varies but what a test varies.
QUIET: dict[str, Any] = {
    "spacing_mm": 4.0,
    "anatomy": {
        "scale": (0.9, 0.9),
        "rotation_deg": (0, 0),
        "deformation_mm": (0, 0),
        "ventricle_mm": (1, 1),
        "sulcus": (2, 2),
        "sharpness": (2, 2),
        "atrophy_mm": (0, 0),
    },
    "contrast": {
        "grey": (1.2, 1.2),
        "deep_grey": (1, 1),
        "fluid": (0.2, 0.2),
        "rim": (0, 0),
        "caps": (0, 0),
        "septum": (0, 0),
        "shading": (0, 0),
        "texture": (0, 0),
        "surroundings": (0, 0),
        "jitter": (0, 0),
    },
    "look_alikes": {
        "spots": (0, 0),
        "passing": (0, 0),
        "vessels": (0, 0),
        "flow": (0, 0),
        "plexus": (0, 0),
        "fluid_shading": (0, 0),
    },
    "lesions": {"volume_spread": (0, 0), "contrast": (0.5, 0.5), "contrast_jitter": (0, 0), "old_count": (30, 30)},
    "scanner": {
        "in_plane_mm": (1, 1),
        "slice_mm": (3, 3),
        "isotropic_share": 0,
        "planes": (1, 0, 0),
        "profile": (1, 1),
        "kept": (1, 1),
        "noise": (0, 0),
        "gamma": (1, 1),
        "scale": (1000, 1000),
        "bias": (0, 0),
        "window_share": 0,
        "tilt_deg": (0, 0),
        "motion_share": 0,
        "motion_mm": (5, 5),
    },
    "followup": {
        "other_protocol_share": 0,
        "misregistration_mm": (0, 0),
        "cut_share": 0,
        "cut_mm": (30, 30),
        "own_grid_share": 0,
    },
}


def settings_with(table: str, changes: dict[str, Any]) -> SynthSettings:
    return profile_settings("mixed", QUIET | {table: QUIET[table] | changes})


def plans(settings: SynthSettings, count: int = 40) -> list[PatientPlan]:
    return [plan_patient(8, index, settings) for index in range(count)]


def anatomy_of(settings: SynthSettings) -> Anatomy:
    return draw_anatomy(numpy_generator("anatomy"), Sampling((4.0, 4.0, 4.0), (1, 1, 1)), settings.anatomy)


@cache
def quiet_anatomy() -> Anatomy:
    return anatomy_of(profile_settings("mixed", QUIET))


def signal_of(settings: SynthSettings, followup: bool = False) -> tuple[Anatomy, NDArray[Any]]:
    """The noise-free signal of a visit of one person, over the whole grid."""
    anatomy, plan = quiet_anatomy(), plan_patient(8, 0, settings)
    person = draw_person(numpy_generator("person"), anatomy, plan)
    visit = plan.followup if followup else plan.baseline
    return anatomy, visible(numpy_generator("tissue"), anatomy, person, visit, plan.atrophy_mm if followup else 0.0)


def signal_where(map_name: str, least: float) -> Callable[[SynthSettings], float]:
    def measure(settings: SynthSettings) -> float:
        anatomy, signal = signal_of(settings)
        return float(signal[anatomy.brain][anatomy.maps[map_name] > least].mean())

    return measure


def variation_in_white_matter(settings: SynthSettings) -> float:
    anatomy, signal = signal_of(settings)
    return float(signal[anatomy.brain][anatomy.maps["wm"] > 0.97].std())


def rim(settings: SynthSettings) -> float:
    anatomy, signal = signal_of(settings)
    return float(signal[anatomy.brain][np.abs(anatomy.maps["ventricle_mm"] - 1) < 0.8].mean())


def deep_grey(settings: SynthSettings) -> float:
    anatomy, signal = signal_of(settings)
    return float(signal[anatomy.brain][anatomy.maps["gm"] * anatomy.maps["deep"] > 0.6].mean())


def septum(settings: SynthSettings) -> float:
    anatomy, signal = signal_of(settings)
    return float((signal[anatomy.brain] * anatomy.maps["septum"]).sum())


def surroundings(settings: SynthSettings) -> float:
    anatomy, signal = signal_of(settings)
    return float(signal[~anatomy.brain].mean())


def fluid_variation(settings: SynthSettings) -> float:
    anatomy, signal = signal_of(settings)
    return float(signal[anatomy.brain][anatomy.maps["csf"] > 0.9].std())


def fluid_gained(settings: SynthSettings) -> float:
    anatomy, before = signal_of(settings)
    _, after = signal_of(settings, followup=True)
    return float((before - after)[anatomy.brain].mean())


def turn(settings: SynthSettings) -> float:
    anatomy = anatomy_of(settings)
    voxels = np.argwhere(anatomy.brain).astype(float)
    matrix = np.linalg.lstsq(voxels - voxels.mean(axis=0), anatomy.points_mm.T, rcond=None)[0]
    return float(abs(matrix[1, 0] - matrix[0, 1]))


def bending(settings: SynthSettings) -> float:
    anatomy = anatomy_of(settings)
    voxels = np.argwhere(anatomy.brain).astype(float)
    known = np.column_stack([voxels, np.ones(len(voxels))])
    left = anatomy.points_mm.T - known @ np.linalg.lstsq(known, anatomy.points_mm.T, rcond=None)[0]
    return float(left.std())


def purity(settings: SynthSettings) -> float:
    maps = anatomy_of(settings).maps
    return float(np.maximum.reduce([maps["gm"], maps["wm"], maps["csf"]]).mean())


def looks_of(settings: SynthSettings) -> LookAlikes:
    plan = plan_patient(8, 0, settings)
    return draw_look_alikes(numpy_generator("looks"), quiet_anatomy(), plan, settings.look_alikes)


def number_of(kind: str) -> Callable[[SynthSettings], float]:
    return lambda settings: float(sum(thing.kind == kind for thing in looks_of(settings).found))


def contrast_of(kind: str, count_key: str) -> Callable[[SynthSettings], float]:
    def measure(settings: SynthSettings) -> float:
        some = settings.model_copy(
            update={"look_alikes": settings.look_alikes.model_copy(update={count_key: (6, 6)})}
        )  # fmt: skip
        looks = looks_of(some)
        assert {thing.kind for thing in looks.found} == {kind}
        return float(sum(signal.sum() for signal in looks.signals))

    return measure


def mean_lesion(value: Callable[[Any], float], kind: str) -> Callable[[SynthSettings], float]:
    def measure(settings: SynthSettings) -> float:
        return float(np.mean([value(lesion) for plan in plans(settings) for lesion in plan.of_kind(kind)]))

    return measure


def share_of(kind: str) -> Callable[[SynthSettings], float]:
    def measure(settings: SynthSettings) -> float:
        old = [lesion.kind for plan in plans(settings) for lesion in plan.lesions if lesion.kind != "new"]
        return old.count(kind) / max(1, len(old))

    return measure


def body_of(settings: SynthSettings) -> tuple[NDArray[Any], NDArray[Any]]:
    """Share and signal of one lesion of the first plan in ground without end."""
    lesion = next(lesion for lesion in plan_patient(8, 0, settings).lesions if lesion.kind == "unchanged")
    axis = np.arange(-20.0, 21.0)
    from lesionloss.synth.fields import Axes

    metric = np.diag([1 / lesion.elongation, 1.0, 1.0])
    found = grown(
        numpy_generator("lesion"),
        Seed((0.0, 0.0, 0.0), metric, lesion.roughness),
        (800.0,),
        lesion.softness,
        np.ones((41, 41, 41), bool),
        Axes(axis, axis, axis),
        (1, 1, 1),
    )
    assert found is not None
    return found[1][0].share, found[1][0].signal


def inner_signal(settings: SynthSettings) -> float:
    share, signal = body_of(settings)
    return float(signal[share > 0.95].mean())


def length(settings: SynthSettings) -> float:
    share, _ = body_of(settings)
    sds = np.argwhere(share > 0.5).std(axis=0)
    return float(sds[0] / sds[1])


def surface(settings: SynthSettings) -> float:
    share, _ = body_of(settings)
    return float(np.abs(np.diff(share, axis=0)).sum() / share.sum())


def image_of(settings: SynthSettings, error_mm: float = 0.0) -> NDArray[Any]:
    """The baseline's image of the quiet signal: brain voxels in units of white matter, on the grid."""
    plan = plan_patient(8, 0, settings)
    anatomy, signal = signal_of(profile_settings("mixed", QUIET))
    error = registration_error(numpy_generator("error"), anatomy, error_mm) if error_mm else no_error()
    image = acquire(numpy_generator("visit"), signal, anatomy, anatomy.axes, anatomy.brain, plan.baseline, error)
    return image / 1000


@cache
def quiet_image() -> NDArray[Any]:
    return image_of(profile_settings("mixed", QUIET))


def departure(settings: SynthSettings) -> float:
    """How much an image differs from the quiet one."""
    return float(np.abs(image_of(settings) - quiet_image()).mean())


def misplaced(settings: SynthSettings) -> float:
    moved = image_of(settings, plan_patient(8, 0, settings).misregistration_mm)
    return float(np.abs(moved - quiet_image()).mean())


def roughness_along(axis: int) -> Callable[[SynthSettings], float]:
    return lambda settings: float(np.abs(np.diff(image_of(settings), axis=axis)).mean())


def in_shares(test: Callable[[PatientPlan], bool]) -> Callable[[SynthSettings], float]:
    return lambda settings: float(np.mean([test(plan) for plan in plans(settings)]))


def missing(settings: SynthSettings) -> float:
    anatomy = quiet_anatomy()
    visit = plan_patient(8, 0, settings.model_copy(update={"followup": settings.followup.model_copy(
        update={"cut_share": 1.0})})).baseline  # fmt: skip
    return float(anatomy.brain.sum() - covered(anatomy.axes, anatomy.brain, visit).sum())


Measure = Callable[[SynthSettings], float]

# table.key: (value, other value, what is larger with the second)
CASES: dict[str, tuple[Any, Any, Measure]] = {
    "anatomy.scale": ((0.85, 0.85), (1, 1), lambda s: float(anatomy_of(s).brain.sum())),
    "anatomy.rotation_deg": ((0, 0), (8, 8), turn),
    "anatomy.deformation_mm": ((0, 0), (4, 4), bending),
    "anatomy.ventricle_mm": ((-1, -1), (4, 4), lambda s: float((anatomy_of(s).maps["ventricle_mm"] < 0).sum())),
    "anatomy.sulcus": ((0, 0), (4, 4), lambda s: float(anatomy_of(s).maps["csf"].sum())),
    "anatomy.sharpness": ((1, 1), (3, 3), purity),
    "anatomy.atrophy_mm": ((0, 0), (1, 1), fluid_gained),
    "contrast.grey": ((1, 1), (1.3, 1.3), signal_where("gm", 0.9)),
    "contrast.deep_grey": ((0.9, 0.9), (1.2, 1.2), deep_grey),
    "contrast.fluid": ((0.05, 0.05), (0.5, 0.5), signal_where("csf", 0.9)),
    "contrast.rim": ((0, 0), (0.5, 0.5), rim),
    "contrast.caps": ((0, 0), (0.5, 0.5), signal_where("caps", 0.6)),
    "contrast.septum": ((0, 0), (0.6, 0.6), septum),
    "contrast.shading": ((0, 0), (0.1, 0.1), variation_in_white_matter),
    "contrast.texture": ((0, 0), (0.1, 0.1), variation_in_white_matter),
    "contrast.surroundings": ((0, 0), (1, 1), surroundings),
    "contrast.jitter": (
        (0, 0),
        (0.1, 0.1),
        lambda s: float(np.mean([abs(p.baseline.protocol.grey - p.followup.protocol.grey) for p in plans(s)])),
    ),
    "look_alikes.spots": ((1, 1), (9, 9), number_of("spot")),
    "look_alikes.passing": ((1, 1), (9, 9), number_of("passing")),
    "look_alikes.vessels": ((1, 1), (9, 9), number_of("vessel")),
    "look_alikes.flow": ((1, 1), (9, 9), number_of("flow")),
    "look_alikes.spot_contrast": ((0.1, 0.1), (0.5, 0.5), contrast_of("spot", "spots")),
    "look_alikes.passing_contrast": ((-0.3, -0.3), (0.3, 0.3), contrast_of("passing", "passing")),
    "look_alikes.vessel_contrast": ((-0.4, -0.4), (0.4, 0.4), contrast_of("vessel", "vessels")),
    "look_alikes.flow_contrast": ((0.1, 0.1), (0.9, 0.9), contrast_of("flow", "flow")),
    "look_alikes.plexus": ((0.1, 0.1), (0.9, 0.9), lambda s: float(looks_of(s).signals[0].sum())),
    "look_alikes.fluid_shading": ((0, 0), (0.6, 0.6), fluid_variation),
    "lesions.stable_share": (0.1, 0.8, in_shares(lambda p: not p.of_kind("new"))),
    "lesions.new_count": ((2, 4), (20, 30), lambda s: float(np.mean([len(p.of_kind("new")) for p in plans(s)]))),
    "lesions.old_count": ((2, 4), (20, 30), lambda s: float(np.mean([len(p.lesions) for p in plans(s)]))),
    "lesions.enlarging": ((0, 0.1), (0.5, 0.9), share_of("enlarging")),
    "lesions.shrinking": ((0, 0.1), (0.5, 0.9), share_of("shrinking")),
    "lesions.vanishing": ((0, 0.1), (0.5, 0.9), share_of("vanishing")),
    "lesions.new_volume_mm3": ((20, 30), (200, 300), mean_lesion(lambda x: x.volumes_mm3[1], "new")),
    "lesions.old_volume_mm3": ((20, 30), (200, 300), mean_lesion(lambda x: x.volumes_mm3[0], "unchanged")),
    "lesions.volume_spread": (
        (0.1, 0.1),
        (1.0, 1.0),
        lambda s: float(np.std([np.log(x.volumes_mm3[0]) for x in plans(s, 1)[0].of_kind("unchanged")])),
    ),
    "lesions.volume_limits_mm3": ((4, 10), (500, 600), mean_lesion(lambda x: x.volumes_mm3[1], "new")),
    "lesions.contrast": ((0.1, 0.2), (0.5, 0.6), mean_lesion(lambda x: x.contrasts[1], "new")),
    "lesions.contrast_jitter": (
        (0, 0),
        (0.2, 0.2),
        mean_lesion(lambda x: abs(x.contrasts[1] - x.contrasts[0]), "unchanged"),
    ),
    "lesions.softness": ((0.8, 0.8), (0.1, 0.1), inner_signal),
    "lesions.elongation": ((1, 1), (2, 2), length),
    "lesions.roughness": ((0, 0), (0.8, 0.8), surface),
    "lesions.growth": ((1.1, 1.2), (3, 4), mean_lesion(lambda x: x.volumes_mm3[1] / x.volumes_mm3[0], "enlarging")),
    "lesions.shrinkage": ((1.1, 1.2), (3, 4), mean_lesion(lambda x: x.volumes_mm3[0] / x.volumes_mm3[1], "shrinking")),
    "lesions.fading": ((0, 0.1), (0.6, 0.7), mean_lesion(lambda x: x.contrasts[0] - x.contrasts[1], "shrinking")),
    "lesions.places": ((0, 1, 0, 0), (1, 0, 0, 0), mean_lesion(lambda x: x.place == "periventricular", "new")),
    "scanner.in_plane_mm": (
        (0.5, 0.6),
        (1, 1.2),
        lambda s: sampling_of("scanner", plans(s)[0].followup.protocol).spacing_mm[0],
    ),
    "scanner.slice_mm": (
        (1, 1.1),
        (3, 3.3),
        lambda s: float(sampling_of("scanner", plans(s)[0].followup.protocol).pool[2]),
    ),
    "scanner.isotropic_share": (
        0.1,
        0.9,
        in_shares(lambda p: p.baseline.protocol.slice_mm == p.baseline.protocol.in_plane_mm),
    ),
    "scanner.planes": ((1, 0, 0), (0, 1, 0), in_shares(lambda p: p.baseline.protocol.plane == "sagittal")),
    "scanner.profile": ((1.5, 1.5), (0.4, 0.4), roughness_along(2)),
    "scanner.kept": ((0.4, 0.4), (0.9, 0.9), roughness_along(0)),
    "scanner.noise": ((0.01, 0.01), (0.1, 0.1), departure),
    "scanner.gamma": ((1, 1), (1.5, 1.5), lambda s: float(image_of(s).max())),
    "scanner.scale": ((500, 500), (900, 900), lambda s: float(image_of(s).max())),
    "scanner.bias": ((0, 0), (0.2, 0.2), departure),
    "scanner.window_share": (0.1, 0.9, in_shares(lambda p: p.baseline.protocol.window > 0)),
    "scanner.window": ((1.1, 1.1), (2, 2), lambda s: float(image_of(s).max())),
    "scanner.tilt_deg": ((0, 0), (15, 15), departure),
    "scanner.motion_share": (0.1, 0.9, in_shares(lambda p: p.baseline.motion_mm > 0)),
    "scanner.motion_mm": ((0, 0), (8, 8), departure),
    "followup.other_protocol_share": (0.1, 0.9, in_shares(lambda p: p.other_protocol)),
    "followup.misregistration_mm": ((0.1, 0.1), (2, 2), misplaced),
    "followup.cut_share": (0.1, 0.9, in_shares(lambda p: p.baseline.cut_mm != 0)),
    "followup.cut_mm": ((5, 5), (40, 40), missing),
    "followup.own_grid_share": (0.1, 0.9, in_shares(lambda p: p.followup.own_grid)),
}
# What else must be on for a key to be seen.
ALSO: dict[str, dict[str, Any]] = {
    "lesions.volume_limits_mm3": {"volume_spread": (1, 1)},
    "lesions.growth": {"enlarging": (0.5, 0.5)},
    "lesions.shrinkage": {"shrinking": (0.5, 0.5)},
    "lesions.fading": {"shrinking": (0.5, 0.5)},
    "lesions.softness": {"roughness": (0, 0), "elongation": (1, 1)},
    "lesions.elongation": {"roughness": (0, 0)},
    "lesions.roughness": {"elongation": (1, 1)},
    "scanner.profile": {"slice_mm": (6, 6)},
    "scanner.window": {"window_share": 1, "gamma": (2, 2)},
    "scanner.motion_mm": {"motion_share": 1},
}


def test_every_key_is_tried() -> None:
    tables = [name for name in known_keys() if name not in ("spacing_mm", "ground_truth", "axes")]
    assert set(CASES) == {f"{table}.{key}" for table in tables for key in known_keys([table])}


@pytest.mark.parametrize("name", CASES)
def test_key_moves_what_it_says(name: str) -> None:
    table, key = name.split(".")
    first, second, measure = CASES[name]
    low, high = (measure(settings_with(table, ALSO.get(name, {}) | {key: value})) for value in (first, second))
    assert np.isfinite([low, high]).all()
    assert low < high, f"{name}: {low} with {first}, {high} with {second}"

"""What a key of the synthetic settings moves, as a number: of anatomy, signal, lesions, image or plan."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesionloss.core.randomness import numpy_generator
from lesionloss.synth import PatientPlan, SynthSettings, plan_patient, profile_settings
from lesionloss.synth.anatomy import Anatomy, Sampling, draw_anatomy
from lesionloss.synth.contrast import draw_person, tissue_signal
from lesionloss.synth.growth import LesionSeed, grow_lesion
from lesionloss.synth.look_alikes import LookAlikes, draw_look_alikes
from lesionloss.synth.scanner import acquire, in_field_of_view, no_error, registration_error
from synth_quiet import QUIET


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
    return anatomy, tissue_signal(
        numpy_generator("tissue"), anatomy, person, visit, plan.atrophy_mm if followup else 0.0
    )


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
    found = grow_lesion(
        numpy_generator("lesion"),
        LesionSeed((0.0, 0.0, 0.0), metric, lesion.roughness),
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
    return float(anatomy.brain.sum() - in_field_of_view(anatomy.axes, anatomy.brain, visit).sum())


Measure = Callable[[SynthSettings], float]

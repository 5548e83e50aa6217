"""The drawn anatomy is human, smooth and unfolded, and lesions grow in it where they were sent."""

import numpy as np
import pytest

from lesionloss.core.randomness import numpy_generator
from lesionloss.synth import plan_patient, profile_settings
from lesionloss.synth.anatomy import draw_anatomy, smallest_jacobian
from lesionloss.synth.fields import BOX_MM, Axes, box_axes, smooth_field, upsampled
from lesionloss.synth.lesions import grow_lesions
from lesionloss.synth.patient_plan import PLACES
from synth_cases import ONE, SETTINGS, isotropic


def test_other_seed_or_index_another_person() -> None:
    brains = [
        draw_anatomy(numpy_generator(s, "patient", k, "anatomy"), isotropic(4.0), SETTINGS.anatomy).brain
        for s, k in ((1, 0), (1, 1), (2, 0))
    ]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert brains[one].shape != brains[other].shape or (brains[one] != brains[other]).mean() > 0.01


def test_brain_volume_is_human() -> None:
    """LIT's masks hold 1.19 to 1.55 litres."""
    litres = []
    for index in range(6):
        anatomy = draw_anatomy(numpy_generator(index), isotropic(4.0), SETTINGS.anatomy)
        litres.append(anatomy.brain.sum() * 64e-6)
        for fraction, (low, high) in {"gm": (0.3, 0.6), "wm": (0.28, 0.5), "csf": (0.05, 0.3)}.items():
            assert low < anatomy.maps[fraction].mean() < high
    assert all(1.05 < volume < 1.95 for volume in litres)
    assert max(litres) - min(litres) > 0.02


def test_both_hemispheres_cerebellum_and_brain_stem_are_there() -> None:
    anatomy = draw_anatomy(numpy_generator("whole"), isotropic(4.0), SETTINGS.anatomy)
    x, y, z = anatomy.points_mm
    parts = {
        "left": x < -20,
        "right": x > 20,
        "cerebellum": (z < -30) & (y < -50),
        "stem": (z < -40) & (np.abs(x) < 6) & (y > -45) & (y < -20),
    }
    assert all(part.sum() > 20 for part in parts.values()), {name: part.sum() for name, part in parts.items()}


def test_person_is_the_same_at_another_spacing() -> None:
    coarse, fine = (
        draw_anatomy(numpy_generator(5, "anatomy"), isotropic(spacing), SETTINGS.anatomy) for spacing in (4.0, 2.0)
    )
    assert fine.brain.sum() / coarse.brain.sum() == pytest.approx(8, rel=0.02)
    assert fine.maps["wm"].sum() / coarse.maps["wm"].sum() == pytest.approx(8, rel=0.03)


def test_deformations_do_not_fold() -> None:
    wild = profile_settings("mixed", {"anatomy": {"deformation_mm": (6, 6), "ventricle_mm": (8, 8)}})
    for index, settings in enumerate((SETTINGS, SETTINGS, wild)):
        anatomy = draw_anatomy(numpy_generator(index, "anatomy"), isotropic(4.0), settings.anatomy)
        assert 0.2 < anatomy.smallest_jacobian < 1.5


def test_jacobian_of_known_maps() -> None:
    axes = Axes(*(np.arange(0.0, 2.0 * n, 2.0) for n in (9, 10, 11)))
    grid = np.stack(np.meshgrid(*axes, indexing="ij")).astype(np.float32)
    assert smallest_jacobian(grid, axes) == pytest.approx(1)
    assert smallest_jacobian(grid * np.array([2, 1, 0.5], np.float32).reshape(3, 1, 1, 1), axes) == pytest.approx(1)
    mirrored = grid.copy()
    mirrored[0] *= -1
    assert smallest_jacobian(mirrored, axes) == pytest.approx(-1)
    folded = grid.copy()
    folded[0] += 4 * np.sin(grid[0])
    assert smallest_jacobian(folded, axes) < 0


def test_smooth_fields_are_standard_and_smooth() -> None:
    axes = box_axes(4.0)
    fields = np.stack([smooth_field(numpy_generator("field", k), axes, 20.0) for k in range(10)])
    assert fields.std() == pytest.approx(1, abs=0.1)
    assert abs(fields.mean()) < 0.1
    assert np.abs(np.diff(fields, axis=1)).mean() < 0.25
    assert all(axis[0] == low and axis[-1] <= high + 4 for axis, (low, high) in zip(axes, BOX_MM, strict=True))
    fine = smooth_field(numpy_generator("field", 0), box_axes(2.0), 20.0)
    seen = fine[::2, ::2, ::2]
    common = tuple(slice(min(sizes)) for sizes in zip(seen.shape, fields[0].shape, strict=True))
    assert np.corrcoef(seen[common].ravel(), fields[0][common].ravel())[0, 1] > 0.999


def test_upsampling_is_linear() -> None:
    coarse, fine = (Axes(*(np.arange(0, 12.1, step) for _ in range(3))) for step in (4.0, 1.0))
    x, y, z = np.meshgrid(*coarse, indexing="ij")
    values = upsampled((2 * x - y + 0.5 * z).astype(np.float32), coarse, fine)
    x, y, z = np.meshgrid(*fine, indexing="ij")
    np.testing.assert_allclose(values, 2 * x - y + 0.5 * z, atol=1e-4)


def test_lesions_lie_in_white_matter_and_where_they_were_sent() -> None:
    anatomy = draw_anatomy(numpy_generator(3, "anatomy"), isotropic(2.5), SETTINGS.anatomy)
    plan = plan_patient(3, 0, profile_settings("mixed", {"lesions": {"old_count": (90, 90)}}))
    lesions = grow_lesions(numpy_generator(3, "lesions"), anatomy, plan.lesions, ONE, anatomy.brain)
    wm, near, depth = (anatomy.spread(anatomy.maps[name]) for name in ("wm", "ventricle_mm", "cortex"))
    below = anatomy.spread(anatomy.infratentorial().astype(np.float32)) > 0
    found: dict[str, list[tuple[float, float, float]]] = {place: [] for place in PLACES}
    for lesion in lesions.found:
        own = lesions.either() == lesion.number
        assert wm[own].mean() > 0.5
        found[lesion.place].append((float(near[own].mean()), float(depth[own].mean()), float(below[own].mean())))
    mean = {place: np.mean(values, axis=0) for place, values in found.items()}
    assert mean["periventricular"][0] < mean["deep"][0]
    assert mean["juxtacortical"][1] > mean["deep"][1]
    assert mean["infratentorial"][2] > 0.9
    assert len(found["periventricular"]) > len(found["infratentorial"])


def test_lesions_are_not_balls() -> None:
    anatomy = draw_anatomy(numpy_generator(4, "anatomy"), isotropic(2.0), SETTINGS.anatomy)
    wanted = {"lesions": {"old_count": (30, 30), "old_volume_mm3": (300, 400), "stable_share": 1.0}}
    plans = plan_patient(4, 1, profile_settings("mixed", wanted)).lesions
    lesions = grow_lesions(numpy_generator(4, "lesions"), anatomy, plans, ONE, anatomy.brain)
    filled = []
    for lesion in lesions.found:
        if lesion.volume_mm3 > 150:
            voxels = np.argwhere(lesions.either() == lesion.number)
            radius = np.linalg.norm(voxels - voxels.mean(axis=0), axis=1).max() + 0.5
            filled.append(lesion.volume_mm3 / 8 / (4 / 3 * np.pi * radius**3))
    assert len(filled) >= 5
    assert np.median(filled) < 0.6

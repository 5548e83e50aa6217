"""Every key of the synthetic settings moves what its description says, and nothing is left untried."""

from typing import Any

import numpy as np
import pytest

from lesionloss.core.validation_errors import keys_of
from lesionloss.synth import SynthSettings
from lesionloss.synth.scanner import sampling_of
from synth_measures import (
    Measure,
    anatomy_of,
    bending,
    contrast_of,
    deep_grey,
    departure,
    fluid_gained,
    fluid_variation,
    image_of,
    in_shares,
    inner_signal,
    length,
    looks_of,
    mean_lesion,
    misplaced,
    missing,
    number_of,
    plans,
    purity,
    rim,
    roughness_along,
    septum,
    share_of,
    signal_where,
    surface,
    surroundings,
    turn,
    variation_in_white_matter,
)
from synth_quiet import settings_with

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
    tables = [name for name in keys_of(SynthSettings) if name not in ("spacing_mm", "ground_truth", "axes")]
    assert set(CASES) == {
        f"{table}.{key}" for table in tables for key in keys_of(type(getattr(SynthSettings(), table)))
    }


@pytest.mark.parametrize("name", CASES)
def test_key_moves_what_it_says(name: str) -> None:
    table, key = name.split(".")
    first, second, measure = CASES[name]
    low, high = (measure(settings_with(table, ALSO.get(name, {}) | {key: value})) for value in (first, second))
    assert np.isfinite([low, high]).all()
    assert low < high, f"{name}: {low} with {first}, {high} with {second}"

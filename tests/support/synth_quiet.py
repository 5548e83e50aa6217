"""Settings of synthetic patients in which nothing varies, and the same with a change."""

from typing import Any

from lesionloss.synth import SynthSettings, profile_settings

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

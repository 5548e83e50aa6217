"""Settings by name, and settings as TOML files."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from lesionloss.core.catalogue import nearest
from lesionloss.core.errors import UsageError
from lesionloss.synth.settings import SynthSettings

_MIXED: dict[str, Any] = {}

# Lesion change as in the masks of the LIT set, and its scanners' slices: little bias left, both visits resampled.
_LIT: dict[str, Any] = {
    "anatomy": {"sharpness": (1.8, 2.8)},
    "contrast": {"grey": (1.04, 1.22), "fluid": (0.02, 0.25), "shading": (0.005, 0.03)},
    "look_alikes": {"passing": (0, 12), "flow": (0, 8), "fluid_shading": (0.05, 0.35)},
    "lesions": {
        "stable_share": 0.0,
        "new_count": (2, 45),
        "old_count": (20, 160),
        "enlarging": (0.05, 0.3),
        "shrinking": (0.05, 0.3),
        "vanishing": (0.0, 0.15),
        "new_volume_mm3": (40, 200),
        "old_volume_mm3": (40, 220),
        "contrast": (0.18, 0.75),
        "growth": (1.6, 4.0),
        "shrinkage": (1.6, 4.0),
        "places": (0.45, 0.25, 0.24, 0.06),
    },
    "scanner": {
        "in_plane_mm": (0.55, 0.8),
        "slice_mm": (3.0, 3.3),
        "isotropic_share": 0.0,
        "planes": (1, 0, 0),
        "kept": (0.5, 0.8),
        "noise": (0.035, 0.085),
        "bias": (0.005, 0.03),
    },
    "followup": {"own_grid_share": 0.2},
}

# Few new lesions, none in many patients, mostly 3-D sequences.
_MSSEG2: dict[str, Any] = {
    "lesions": {
        "stable_share": 0.3,
        "new_count": (1, 20),
        "new_volume_mm3": (25, 120),
        "enlarging": (0.0, 0.1),
        "shrinking": (0.0, 0.1),
        "vanishing": (0.0, 0.05),
    },
    "scanner": {"slice_mm": (1.0, 3.0), "isotropic_share": 0.6, "planes": (0.4, 0.5, 0.1)},
    "followup": {"other_protocol_share": 0.05},
}

# Learnable in a minute on a laptop: one protocol, clear new lesions, hardly anything that misleads.
_DEMO: dict[str, Any] = {
    "anatomy": {"deformation_mm": (2.0, 3.0), "ventricle_mm": (-1.0, 2.5), "atrophy_mm": (0.0, 0.1)},
    "contrast": {
        "grey": (1.1, 1.2),
        "deep_grey": (1.0, 1.1),
        "fluid": (0.1, 0.25),
        "rim": (0.05, 0.3),
        "caps": (0.1, 0.3),
        "septum": (0.0, 0.3),
        "shading": (0.015, 0.03),
        "texture": (0.015, 0.025),
        "surroundings": (0.0, 0.2),
        "jitter": (0.0, 0.01),
    },
    "look_alikes": {
        "spots": (3, 10),
        "spot_contrast": (0.2, 0.45),
        "passing": (0, 0),
        "vessels": (0, 5),
        "flow": (1, 8),
        "flow_contrast": (0.4, 0.9),
        "plexus": (0.0, 0.3),
        "fluid_shading": (0.05, 0.2),
    },
    "lesions": {
        "new_count": (3, 22),
        "old_count": (5, 40),
        "enlarging": (0.0, 0.1),
        "shrinking": (0.0, 0.1),
        "vanishing": (0.0, 0.05),
        "new_volume_mm3": (100, 150),
        "old_volume_mm3": (100, 250),
        "volume_spread": (0.5, 0.7),
        "volume_limits_mm3": (16, 600),
        "contrast": (0.33, 0.56),
        "contrast_jitter": (0.0, 0.05),
        "softness": (0.2, 0.5),
        "elongation": (1.0, 1.8),
    },
    "scanner": {
        "in_plane_mm": (0.8, 1.0),
        "slice_mm": (1.0, 2.0),
        "planes": (1, 0, 0),
        "kept": (0.85, 1.0),
        "noise": (0.03, 0.05),
        "gamma": (0.95, 1.05),
        "bias": (0.02, 0.05),
        "window_share": 0.0,
        "tilt_deg": (0.0, 4.0),
        "motion_share": 0.0,
    },
    "followup": {"other_protocol_share": 0.0, "misregistration_mm": (0.2, 0.5), "cut_share": 0.0},
}

PROFILES: Mapping[str, Mapping[str, Any]] = {"mixed": _MIXED, "lit": _LIT, "msseg2": _MSSEG2, "demo": _DEMO}


def profile_settings(name: str, changes: Mapping[str, Any] | None = None) -> SynthSettings:
    """Make the settings of a profile: `profile_settings("demo", {"spacing_mm": 2.0})`.

    Args:
        name: mixed, lit, msseg2 or demo.
        changes: Keys to replace, tables as mappings.

    Returns:
        The settings.

    Raises:
        UsageError: The profile or a key is unknown, or a value is out of its limits.
    """
    if name not in PROFILES:
        raise UsageError(f"no synth profile is named {name!r}; {nearest(name, list(PROFILES))}")
    return SynthSettings(**_merged(PROFILES[name], changes or {}))


def load_settings(path: Path, changes: Mapping[str, Any] | None = None) -> SynthSettings:
    """Read settings from a TOML file, which may name a `profile` that its keys change (default: mixed).

    Args:
        path: The file.
        changes: Keys to replace, tables as mappings.

    Returns:
        The settings.

    Raises:
        UsageError: The file can't be read, or a key or value is wrong.
    """
    if not path.is_file():
        raise UsageError(f"{path}: no such file; `lesionloss synth --print-config` writes one to begin with")
    try:
        record = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{path} is not valid TOML: {error}") from error
    name = record.pop("profile", "mixed")
    try:
        return profile_settings(str(name), _merged(record, changes or {}))
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error


def as_toml(settings: SynthSettings) -> str:
    """Write the whole settings as TOML, every key with its meaning; `load_settings` reads it back.

    Args:
        settings: The settings.

    Returns:
        The text.
    """
    lines: list[str] = []
    tables: list[str] = []
    _write_part(settings, lines, tables)
    return "\n".join(lines + tables) + "\n"


def _write_part(part: BaseModel, lines: list[str], tables: list[str]) -> None:
    for name, field in type(part).model_fields.items():
        value = getattr(part, name)
        if isinstance(value, BaseModel):
            tables += ["", f"[{name}]  # {type(value).__doc__}"]
            _write_part(value, tables, tables)
        else:
            lines += [f"# {field.description}", f"{name} = {_toml_value(value)}"]


def _toml_value(value: Any) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml_value(item) for item in value) + "]"
    return f'"{value}"' if isinstance(value, str) else repr(value)


def _merged(record: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Merge nested tables; the second's keys replace the first's."""
    result = dict(record)
    for key, value in changes.items():
        held = result.get(key)
        if isinstance(held, Mapping) and isinstance(value, Mapping):
            result[key] = _merged(held, value)
        else:
            result[key] = value
    return result

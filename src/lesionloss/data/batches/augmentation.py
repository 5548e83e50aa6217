"""Augmentation: steps named in a plan, the papers' presets, what they draw for a patch, and how it is made of that.

Every patch has its own generator, named by stream, step and place in the batch. Transforms of points come first, then
those of voxels, then those of intensity, each kind in the given order; at the end the difference is computed again.
"""

import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from lesionloss.core.call_text import format_call, parse_call
from lesionloss.core.catalogue import nearest
from lesionloss.core.errors import DataError, UsageError
from lesionloss.core.parameters import Parameter, check_keywords, parameter
from lesionloss.data.batches.augmentation_presets import PRESETS, Step, Steps
from lesionloss.data.batches.intensity import (
    BiasField,
    Blur,
    Brightness,
    Contrast,
    Gamma,
    IntensityTransform,
    Noise,
    Rescale,
)
from lesionloss.data.batches.intensity_changes import IntensityChange
from lesionloss.data.batches.motions import Motion, Turn, turn_patch
from lesionloss.data.batches.patch_samplers import Window
from lesionloss.data.batches.patches import Patch, Size
from lesionloss.data.batches.transformed_patch import cut_moved
from lesionloss.data.batches.transforms import (
    Elastic,
    Flip,
    PointTransform,
    Rotate,
    Rotate90,
    Scale,
    VoxelTransform,
)
from lesionloss.data.prepared import PreparedCase

Images = npt.NDArray[np.float32]

KINDS: Mapping[str, type[Any]] = {
    "flip": Flip,
    "rotate90": Rotate90,
    "rotate": Rotate,
    "scale": Scale,
    "elastic": Elastic,
    "rescale": Rescale,
    "brightness": Brightness,
    "contrast": Contrast,
    "gamma": Gamma,
    "noise": Noise,
    "blur": Blur,
    "bias_field": BiasField,
}
CHEAP: Steps = (Flip(), Rescale())


def parse_augmentation(texts: Sequence[str]) -> Steps:
    """Read steps from texts such as `flip`, `rotate(degrees=15)` or the name of a preset, in their order.

    Raises:
        UsageError: A step or a setting is unknown (with the nearest known name), or a value is out of its range.
    """
    steps: list[Step] = []
    for text in texts:
        if text in PRESETS:
            steps += PRESETS[text]()
        else:
            steps.append(_parse_step(text))
    return tuple(steps)


def format_augmentation(steps: Steps) -> tuple[str, ...]:
    """Write texts that `parse_augmentation` reads back, with the settings that differ from the defaults."""
    names = {kind: name for name, kind in KINDS.items()}
    return tuple(format_call(names[type(step)], _changed(step)) for step in steps)


@dataclass(frozen=True, eq=False)
class DrawnPatch:
    """All that was drawn for one patch: where it lies and how it is augmented.

    Attributes:
        window: Where it lies.
        motions: For each transform of points, in its order, how points move; None: not at all.
        turns: How whole voxels are turned, after the flips of the window.
        changes: For each intensity transform, in its order, what it changes; None: nothing.
        subtracted: Whether differences are computed again, because intensities or points may have changed.
    """

    window: Window
    motions: tuple[Motion | None, ...] = ()
    turns: tuple[Turn, ...] = ()
    changes: tuple[IntensityChange | None, ...] = ()
    subtracted: bool = False


def draw_patch(window: Window, size: Size, case: PreparedCase, steps: Steps, rng: np.random.Generator) -> DrawnPatch:
    """Draw the augmentation of a patch: transforms of points first, then those of voxels, then those of intensity.

    Args:
        window: Where the patch lies.
        size: Voxels along each axis.
        case: Its case, of which only spacing and channels are read.
        steps: The augmentation.
        rng: The generator that draws.
    """
    points = [step for step in steps if isinstance(step, PointTransform)]
    intensities = [step for step in steps if isinstance(step, IntensityTransform)]
    motions = tuple(step.draw_motion(size, case.spacing_mm, rng) for step in points)
    turns = [step.draw_turn(size, rng) for step in steps if isinstance(step, VoxelTransform)]
    visits = len(visit_channels(case.channels)) if intensities else 0
    return DrawnPatch(
        window,
        motions,
        (Turn(window.flipped), *turns) if window.flipped else tuple(turns),
        tuple(step.draw_change(visits, size, rng) for step in intensities),
        subtracted=bool(points or intensities),
    )


def make_patch(case: PreparedCase, drawn: DrawnPatch, size: Size, *, padding_counts: bool = True) -> Patch:
    """Cut and augment a patch in main memory: one geometry for all channels, reference and valid voxels.

    Args:
        case: The case.
        drawn: What was drawn.
        size: Voxels along each axis.
        padding_counts: Whether voxels outside the image are valid background.

    Returns:
        The patch.
    """
    motions = [motion for motion in drawn.motions if motion is not None]
    patch = cut_moved(case, drawn.window.start, size, motions, padding_counts=padding_counts)
    for turn in drawn.turns:
        patch = turn_patch(patch, turn)
    if not drawn.subtracted:
        return patch
    return Patch(change_intensities(patch.image, case.channels, drawn.changes), patch.reference, patch.valid)


def change_intensities(image: Images, channels: Sequence[str], changes: Sequence[IntensityChange | None]) -> Images:
    """Change the intensities of all visits, and subtract them again.

    Args:
        image: Channels float32 (C, *size).
        channels: Names of the channels.
        changes: The changes, in their order.

    Returns:
        A new image (C, *size), 0 where all visits were 0.
    """
    visits = visit_channels(tuple(channels))
    values = image[visits]
    inside = (values != 0).any(axis=0)
    for change in changes:
        values = values if change is None else change.change(values, inside)
    out = np.empty_like(image)
    out[visits] = values if not changes else values * inside
    for index, (followup, baseline) in difference_channels(tuple(channels)).items():
        np.subtract(out[followup], out[baseline], out=out[index])
    return out


def visit_channels(channels: tuple[str, ...]) -> list[int]:
    """List the channels that are no differences.

    Raises:
        DataError: As `difference_channels`.
    """
    differences = difference_channels(channels)
    return [index for index in range(len(channels)) if index not in differences]


def difference_channels(channels: tuple[str, ...]) -> dict[int, tuple[int, int]]:
    """Find the channels of follow-up and baseline that each difference channel is made of.

    `difference` is that of the first contrasts, `flair:difference` that of `flair:followup` and `flair:baseline`.

    Raises:
        DataError: There is no such follow-up or baseline.
    """
    found = {}
    for index, name in enumerate(channels):
        if name != "difference" and not name.endswith(":difference"):
            continue
        contrast = name.removesuffix("difference")
        options = [(f"{contrast}{visit}", f"{contrast}{visit}:1") for visit in ("followup", "baseline")]
        visits = [next((channels.index(o) for o in option if o in channels), None) for option in options]
        followup, baseline = visits
        if followup is None or baseline is None:
            raise DataError(f"channel {name!r} needs a followup and a baseline, but there are only {channels}")
        found[index] = (followup, baseline)
    return found


def _parse_step(text: str) -> Step:
    name, keywords = parse_call(text, "augment")
    if name not in KINDS:
        raise UsageError(f"augment: no step is named {name!r}; {nearest(name, [*KINDS, *PRESETS])}")
    kind = KINDS[name]
    check_keywords(keywords, _settings(kind), f"augment: {name}", "setting")
    if keywords.get("axes") is not None:
        _check_axes(keywords["axes"], name)
    step: Step = kind(**keywords)
    return step


def _changed(step: Any) -> dict[str, object]:
    """Collect the settings of a step that differ from the defaults."""
    values = {field.name: (getattr(step, field.name), field.default) for field in fields(step)}
    return {name: value for name, (value, default) in values.items() if value != default}


def _check_axes(axes: Any, name: str) -> None:
    known = isinstance(axes, tuple) and all(isinstance(axis, int) and 0 <= axis <= 2 for axis in axes)
    if not known or len(set(axes)) != len(axes) or len(axes) not in ((1, 2, 3) if name == "flip" else (2,)):
        many = "different numbers" if name == "flip" else "two different numbers"
        raise UsageError(f"augment: {name}: axes are {many} from 0 to 2, such as (0, 1), got {axes!r}")


def _settings(kind: type[Any]) -> dict[str, Parameter | None]:
    """Describe what each keyword of a step may be; None for axes, which are checked separately."""
    hints = typing.get_type_hints(kind, include_extras=True)
    defaults: dict[str, Any] = {field.name: field.default for field in fields(kind)}
    return {
        name: None if name == "axes" else parameter(name, hints[name], default) for name, default in defaults.items()
    }

"""Augmentation: steps named in a plan, the papers' presets, and how a patch goes through them.

Every patch has a generator of its own, named by stream, step and place in the batch. Bends come first, then turns, then
tones, each kind in the order given; afterwards the difference is followup - baseline again.
"""

import typing
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import numpy.typing as npt

from lesionloss.core.call_text import format_call, parse_call
from lesionloss.core.catalogue import nearest
from lesionloss.core.errors import DataError, UsageError
from lesionloss.core.parameters import Parameter, check_keywords, parameter
from lesionloss.core.randomness import numpy_generator
from lesionloss.data.intensity import BiasField, Brightness, Contrast, Gamma, Noise, Rescale, Tone
from lesionloss.data.patch_sampling import Window
from lesionloss.data.patches import Patch, Size, Stream
from lesionloss.data.prepared import PreparedCase
from lesionloss.data.transforms import Bend, Elastic, Flip, Rotate, Rotate90, Scale, Turn, bent, flipped

Step = Bend | Turn | Tone
Steps = tuple[Step, ...]
Images = npt.NDArray[np.float32]
References = npt.NDArray[np.uint8]

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
    "bias_field": BiasField,
}
CHEAP: Steps = (Flip(), Rescale())
PAIR = ("baseline", "followup", "difference")


def hytver() -> Steps:
    """HyTver 2025, as its released code (from CoactSeg) does: turns, a flip and a rotation in the first two axes.

    There the rotation, by up to 20 degrees, is one of voxels read from the nearest one; here it is one of millimetres,
    interpolated. There exactly one of the axes is flipped; here each with probability 1/2.
    """
    return (Rotate(degrees=20, axes=(0, 1), probability=1.0), Rotate90(axes=(0, 1)), Flip(axes=(0, 1)))


def cabezas() -> Steps:
    """Cabezas & Diez 2024: flips along the first axis and nothing else.

    Their way of visiting every patch once as it is and once flipped is `SlidingGrid(flipped=0)` without augmentation;
    this step is for samplers that do not flip.
    """
    return (Flip(axes=(0,)),)


def dscpp() -> Steps:
    """Yeung 2023 (DSC++): scaling, rotation, elastic deformation, mirroring, brightness, as its DRIVE notebook asks.

    Ranges and probabilities are the defaults of the framework used there, MIScnn. Its elastic strength, alpha up to 900
    with sigma 9 to 13, displaces by up to 13 pixels (standard deviation) in two dimensions: hence 13 and 11 here.
    """
    return (
        Scale(low=0.8, high=1.18, probability=0.15),
        Rotate(degrees=15, probability=0.15),
        Elastic(displacement=13.0, sigma=11.0, probability=0.15),
        Flip(),
        Brightness(low=0.5, high=2.0, probability=0.15),
    )


def topk() -> Steps:
    """Hosseini 2025 (TopK Dice): no code was released; these are the usual steps of nnU-Net, in its ranges.

    Blurring and the simulation of low resolution are left out.
    """
    return (
        Rotate(degrees=30, probability=0.2),
        Scale(low=0.7, high=1.4, probability=0.2),
        Flip(),
        Noise(sd=0.3, probability=0.1),
        Brightness(low=0.75, high=1.25, probability=0.15),
        Contrast(low=0.75, high=1.25, probability=0.15),
        Gamma(low=0.7, high=1.5, probability=0.3),
    )


PRESETS = {"hytver": hytver, "cabezas": cabezas, "dscpp": dscpp, "topk": topk}


def parse_augmentation(texts: Sequence[str]) -> Steps:
    """Steps from texts such as `flip`, `rotate(degrees=15)` or the name of a preset, in their order.

    Raises UsageError with the nearest known name for unknown steps and settings, and for values out of range.
    """
    steps: list[Step] = []
    for text in texts:
        if text in PRESETS:
            steps += PRESETS[text]()
        else:
            steps.append(_parse_step(text))
    return tuple(steps)


def format_augmentation(steps: Steps) -> tuple[str, ...]:
    """Texts that `parse_augmentation` reads back, with the settings that differ from the defaults."""
    names = {kind: name for name, kind in KINDS.items()}
    return tuple(format_call(names[type(step)], _changed(step)) for step in steps)


def augmented(
    case: PreparedCase,
    window: Window,
    size: Size,
    steps: Steps,
    rng: np.random.Generator,
    *,
    padding_counts: bool = True,
) -> Patch:
    """The patch of a window, augmented: the same geometry for all channels, reference and valid voxels."""
    bends = [step for step in steps if isinstance(step, Bend)]
    patch = bent(case, window.start, size, bends, rng, padding_counts=padding_counts)
    patch = flipped(patch, window.flipped)
    for step in steps:
        if isinstance(step, Turn):
            patch = step.turn(patch, rng)
    tones = [step for step in steps if isinstance(step, Tone)]
    if not bends and not tones:
        return patch
    return Patch(toned(patch.image, case.channels, tones, rng), patch.reference, patch.valid)


def toned(image: Images, channels: Sequence[str], tones: Sequence[Tone], rng: np.random.Generator) -> Images:
    """A new image (C, *size) with other intensities, 0 where all visits were 0, and differences taken anew."""
    differences = difference_channels(tuple(channels))
    visits = [index for index in range(len(channels)) if index not in differences]
    values = image[visits]
    inside = (values != 0).any(axis=0)
    for tone in tones:
        values = tone.tone(values, inside, rng)
    out = np.empty_like(image)
    out[visits] = values if not tones else values * inside
    for index, (followup, baseline) in differences.items():
        np.subtract(out[followup], out[baseline], out=out[index])
    return out


def difference_channels(channels: tuple[str, ...]) -> dict[int, tuple[int, int]]:
    """For each channel that is a difference, the channels of followup and baseline that it is made of.

    `difference` is that of the first contrasts, `flair:difference` that of `flair:followup` and `flair:baseline`.
    Raises DataError where these are not there.
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


def augment(images: Images, references: References, stream: Stream, step: int) -> tuple[Images, References]:
    """New images (B, 3, *size) and references (B, *size): flipped, and each visit scaled and shifted.

    Each axis is flipped with probability 1/2, image and reference alike. Baseline and followup are each multiplied by a
    number from [0.9, 1.1] and raised by one from [-0.1, 0.1] (in standard deviations of the brain); voxels that are 0
    in both visits (outside the brain, padding) stay 0. The difference is followup - baseline afterwards, as before.
    Patch i depends on nothing but its content, `stream`, `step` and i.
    """
    new_images, new_references = np.empty_like(images), np.empty_like(references)
    for index, (image, reference) in enumerate(zip(images, references, strict=True)):
        rng = numpy_generator(*stream, "augment", step, index)
        patch = Flip().turn(Patch(image, reference, np.ones(reference.shape, dtype=np.bool_)), rng)
        new_images[index] = toned(patch.image, PAIR, (Rescale(),), rng)
        new_references[index] = patch.reference
    return new_images, new_references


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
    """The settings of a step that differ from the defaults."""
    values = {field.name: (getattr(step, field.name), field.default) for field in fields(step)}
    return {name: value for name, (value, default) in values.items() if value != default}


def _check_axes(axes: Any, name: str) -> None:
    known = isinstance(axes, tuple) and all(isinstance(axis, int) and 0 <= axis <= 2 for axis in axes)
    if not known or len(set(axes)) != len(axes) or len(axes) not in ((1, 2, 3) if name == "flip" else (2,)):
        many = "different numbers" if name == "flip" else "two different numbers"
        raise UsageError(f"augment: {name}: axes are {many} from 0 to 2, such as (0, 1), got {axes!r}")


def _settings(kind: type[Any]) -> dict[str, Parameter | None]:
    """What each keyword of a step may be; None for axes, which are checked apart."""
    hints = typing.get_type_hints(kind, include_extras=True)
    defaults: dict[str, Any] = {field.name: field.default for field in fields(kind)}
    return {
        name: None if name == "axes" else parameter(name, hints[name], default) for name, default in defaults.items()
    }

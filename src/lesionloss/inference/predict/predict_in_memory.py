"""The probabilities of a case: as the model was judged, in a requested inference mode, or in the fastest that fits."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lesionloss.core.argument_types import check_field_types, with_checked_types
from lesionloss.core.errors import UsageError
from lesionloss.inference import (
    ChosenMode,
    Fastest,
    InferenceMode,
    SlidingWindow,
    as_judged,
    choose_inference_mode,
    inference_mode_of,
    keep_memory_for,
    predict_probabilities,
)
from lesionloss.inference.only_deep import only_deep
from lesionloss.inference.predict.replay_preparation import ReadyCase
from lesionloss.networks.bundle import Bundle

# After a mode ran out of memory, the next may need at most this share of what it was expected to need.
NEXT_MODE_SHARE = 0.4


@dataclass(frozen=True)
class PredictSettings:
    """How to predict.

    Args:
        threshold: A voxel is lesion where its probability is at least this; None: the model's.
        min_volume_mm3: Lesions of this volume or less are left out; None: the model's.
        connectivity: 6, 18 or 26 neighbours, which make one lesion.
        mode: None: that in which the model was judged.
        mirrored: Axes of space (0, 1, 2); the mean over all mirror images along them is taken.
        register: Whether visits are registered; None: where their grids differ, or the model's training cases were.
        raw: Whether the files come from the scanner (`make_ready`); None: where their grids differ.
        accept_implausible: Whether a pair that is not two visits of one head is predicted, and marked.
        precision: `float32`, `bf16` or, on a GPU, `fp16` inside the network.
        device: Such as `cpu` or `cuda:0`.
        force: Whether other results are replaced.
    """

    threshold: float | None = None
    min_volume_mm3: float | None = None
    connectivity: int = 6
    mode: InferenceMode | Fastest | None = None
    mirrored: tuple[int, ...] = ()
    register: bool | None = None
    raw: bool | None = None
    accept_implausible: bool = False
    precision: str = "float32"
    device: str = "cpu"
    force: bool = False

    def __post_init__(self) -> None:
        """Raise UsageError for a value of another type."""
        check_field_types(self)


@with_checked_types
def judged_mode(bundle: Bundle) -> InferenceMode:
    """The inference mode in which a model was judged, as its record states it."""
    return _mode_of(bundle, whole_image=bundle.record.whole_image)


@with_checked_types
def own_sliding_window(bundle: Bundle) -> SlidingWindow:
    """The sliding window of a model's record, whether it was judged by it or on whole images."""
    mode = _mode_of(bundle, whole_image=False)
    if not isinstance(mode, SlidingWindow):
        raise TypeError(f"a sliding window expected, got {mode}")
    return mode


def _mode_of(bundle: Bundle, *, whole_image: bool) -> InferenceMode:
    record = bundle.record
    window = record.window[: int(getattr(bundle.network, "axes", len(record.window)))]
    return inference_mode_of(window, record.overlap, record.merge, record.merge_of, whole_image=whole_image)


def predict_ready(
    bundle: Bundle, ready: ReadyCase, settings: PredictSettings
) -> tuple[NDArray[np.float32], ChosenMode]:
    """Predict a prepared case.

    Returns:
        Probabilities (L, *space) of the lesion classes on the case's grid, and the inference mode.

    Raises:
        DataError: for values that are not finite.
        UsageError: if the requested mode, or every mode, needs more memory than there is.
    """
    shape = ready.case.image.shape
    options: dict[str, Any] = {"mirrored": settings.mirrored, "arithmetic": as_judged(settings.precision)}
    if isinstance(settings.mode, Fastest):
        chosen = _choose(bundle, shape, settings)
        keep_memory_for(chosen, settings.device)
    elif settings.mode is None:
        chosen = ChosenMode(judged_mode(bundle), "in which the model was judged")
    else:
        chosen = ChosenMode(settings.mode, "as requested")
    while True:
        try:
            found = predict_probabilities(bundle.network, ready.case, chosen.mode, device=settings.device, **options)
        except (RuntimeError, MemoryError) as error:
            if not _is_memory(error):
                raise
            smaller = _smaller(bundle, shape, chosen, settings)
            if smaller is None:
                raise UsageError(
                    f"{ready.case.name}: {chosen.mode} does not fit the memory of {settings.device}; choose a smaller "
                    'window, e.g. --inference-mode "sliding_window(size=32, batch=1)", or --device cpu'
                ) from error
            chosen = smaller
        else:
            return only_deep(found, ready.case, bundle.record.depth_mm), chosen


def _is_memory(error: BaseException) -> bool:
    text = str(error).lower()
    return (
        isinstance(error, MemoryError | torch.OutOfMemoryError) or "allocate memory" in text or "enough memory" in text
    )


def _smaller(
    bundle: Bundle, shape: tuple[int, ...], chosen: ChosenMode, settings: PredictSettings
) -> ChosenMode | None:
    """The next mode with less memory; None where a mode was requested or there is none smaller."""
    if settings.mode is None and isinstance(chosen.mode, SlidingWindow) and chosen.mode.batch > 1:
        return ChosenMode(replace(chosen.mode, batch=1), f"{chosen.reason}; one window at a time, as memory is short")
    if not isinstance(settings.mode, Fastest) or chosen.needed_bytes is None:
        return None
    smaller = _choose(bundle, shape, settings, round(NEXT_MODE_SHARE * chosen.needed_bytes))
    return None if smaller.mode == chosen.mode else smaller


def _choose(bundle: Bundle, shape: tuple[int, ...], settings: PredictSettings, free: int | None = None) -> ChosenMode:
    own = own_sliding_window(bundle)
    return choose_inference_mode(
        bundle.network, shape, own=own, precision=settings.precision, device=settings.device, free=free
    )

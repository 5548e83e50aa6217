"""The probabilities of a case, by the way that was asked for or the fastest that turns out to fit the memory."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lesionloss.core.errors import UsageError
from lesionloss.inference import Arithmetic, Choice, Way, choose_way, keep_memory_for, predict_probabilities
from lesionloss.inference.predict.replay_preparation import Ready
from lesionloss.networks.bundle import Bundle

AGAIN = 0.4  # of the memory that a way was expected to take may the next one take, if it did not fit


@dataclass(frozen=True)
class Asked:
    """What is wanted; None takes what the model's record says, or for `way` the fastest that fits the memory.

    register: whether visits are registered; None: where their grids differ or the model's training cases were.
    """

    threshold: float | None = None
    min_volume_mm3: float | None = None
    connectivity: int = 6
    way: Way | None = None
    mirrored: tuple[int, ...] = ()
    register: bool | None = None
    precision: str = "float32"
    device: str = "cpu"
    force: bool = False


def predict_ready(bundle: Bundle, ready: Ready, asked: Asked) -> tuple[NDArray[np.float32], Choice]:
    """Probabilities (L, *space) on the case's grid, by the asked way or the fastest that turns out to fit."""
    shape = ready.case.image.shape
    settings: dict[str, Any] = {"mirrored": asked.mirrored, "arithmetic": Arithmetic(asked.precision)}
    if asked.way is not None:
        choice = Choice(asked.way, "as asked")
    else:
        choice = _chosen(bundle, shape, asked)
        keep_memory_for(choice, asked.device)
    while True:
        try:
            found = predict_probabilities(bundle.network, ready.case, choice.way, device=asked.device, **settings)
        except (RuntimeError, MemoryError) as error:
            if not _is_memory(error):
                raise
            smaller = _smaller(bundle, shape, choice, asked)
            if smaller is None:
                raise UsageError(
                    f"{ready.case.name}: {choice.way} does not fit the memory of {asked.device}; take smaller windows "
                    "with --way, e.g. windows(size=32, batch=1), or --device cpu"
                ) from error
            choice = smaller
        else:
            return found, choice


def _is_memory(error: BaseException) -> bool:
    text = str(error).lower()
    return (
        isinstance(error, MemoryError | torch.OutOfMemoryError) or "allocate memory" in text or "enough memory" in text
    )


def _smaller(bundle: Bundle, shape: tuple[int, ...], choice: Choice, asked: Asked) -> Choice | None:
    """The next way for less memory; None where the way was asked for or there is none smaller."""
    if asked.way is not None or choice.needed_bytes is None:
        return None
    smaller = _chosen(bundle, shape, asked, round(AGAIN * choice.needed_bytes))
    return None if smaller.way == choice.way else smaller


def _chosen(bundle: Bundle, shape: tuple[int, ...], asked: Asked, free: int | None = None) -> Choice:
    record = bundle.record
    return choose_way(
        bundle.network,
        shape,
        window=record.window,
        precision=asked.precision,
        device=asked.device,
        overlap=record.overlap,
        free=free,
    )

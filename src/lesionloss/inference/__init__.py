"""From a network and a prepared case to a probability map."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from lesionloss.core.argument_types import with_checked_types
from lesionloss.core.components import bounding_box
from lesionloss.core.devices import resolve_device, to_device
from lesionloss.data.prepared import PreparedCase
from lesionloss.inference.choose_mode import ChosenMode, choose_inference_mode, keep_memory_for
from lesionloss.inference.masks import lesion_mask, lesion_probability
from lesionloss.inference.modes import (
    PAPERS,
    Fastest,
    InferenceMode,
    SlidingWindow,
    WholeImage,
    inference_mode_of,
    read_inference_mode,
)
from lesionloss.inference.run_network import (
    EXACT,
    Arithmetic,
    as_judged,
    check_finite,
    predict_logits,
    probabilities_of,
)
from lesionloss.metrics.thresholds import is_lesion

__all__ = [
    "PAPERS",
    "Arithmetic",
    "ChosenMode",
    "Fastest",
    "InferenceMode",
    "SlidingWindow",
    "WholeImage",
    "as_judged",
    "choose_inference_mode",
    "inference_mode_of",
    "is_lesion",
    "keep_memory_for",
    "lesion_mask",
    "lesion_probability",
    "predict_logits",
    "predict_probabilities",
    "predict_probability",
    "read_inference_mode",
]


@with_checked_types
def predict_probabilities(
    network: nn.Module,
    case: PreparedCase,
    mode: InferenceMode,
    *,
    mirrored: Sequence[int] = (),
    arithmetic: Arithmetic = EXACT,
    device: str = "cpu",
) -> NDArray[np.float32]:
    """Predict the probabilities of the lesion classes of a case.

    Args:
        network: On `device`. One output is read by the sigmoid, several by the softmax, the background first.
        case: Its image has the channels of the network.
        mode: Whole image or sliding window.
        mirrored: Axes of space (0, 1, 2); the mean over the image and all its mirror images along them is taken.
        arithmetic: Precision of the network and of the sums over windows.
        device: Where the network is.

    Returns:
        (L, *space) on the case's grid: the classes without the background. 0 outside the brain mask, where the
        preparation blanks the image. The network sees the box around the brain, so that the result depends on nothing
        else: not on a margin, nor on a reference outside the brain.

    Raises:
        DataError: for values that are not finite.
        UsageError: for a mode that doesn't fit the axes or the network.
    """
    box = bounding_box(case.brain)
    image = to_device(torch.from_numpy(case.image[(slice(None), *box)]), resolve_device(device))
    logits = predict_logits(network, image, mode, mirrored=mirrored, arithmetic=arithmetic)
    check_finite(logits, case.name)
    probabilities = probabilities_of(logits)
    lesions = probabilities if len(probabilities) == 1 else probabilities[1:]
    found = np.zeros((len(lesions), *case.shape), dtype=np.float32)
    found[(slice(None), *box)] = np.where(case.brain[box], lesions.cpu().numpy(), np.float32(0))
    return found


@with_checked_types
def predict_probability(
    network: nn.Module, case: PreparedCase, mode: InferenceMode, *, precision: str, device: str
) -> NDArray[np.float32]:
    """Predict the probability of any lesion, bit for bit as a benchmark run does.

    Args:
        network: On `device`.
        case: Its image has the channels of the network.
        mode: Of a benchmark run: the sliding window of its plan.
        precision: `float32`, `bf16` or, on a GPU, `fp16` inside the network.
        device: Where the network is.

    Returns:
        (*space) on the case's grid.

    Raises:
        DataError: for values that are not finite.
        UsageError: for a mode that doesn't fit the axes or the network.
    """
    arithmetic = as_judged(precision)
    probabilities = predict_probabilities(network, case, mode, arithmetic=arithmetic, device=device)
    return lesion_probability(probabilities)

"""From a network and a prepared case to a probability map."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from lesionloss.data.prepared import PreparedCase
from lesionloss.inference.choose_mode import Choice, choose_way, keep_memory_for
from lesionloss.inference.masks import lesion_mask, lesion_probability
from lesionloss.inference.modes import PAPERS, Way, Whole, Windows, read_way
from lesionloss.inference.run_network import EXACT, Arithmetic, check_finite, predict_logits, probabilities_of

__all__ = [
    "PAPERS",
    "Arithmetic",
    "Choice",
    "Way",
    "Whole",
    "Windows",
    "choose_way",
    "keep_memory_for",
    "lesion_mask",
    "lesion_probability",
    "predict_logits",
    "predict_probabilities",
    "predict_probability",
    "read_way",
]


def predict_probabilities(
    network: nn.Module,
    case: PreparedCase,
    way: Way,
    *,
    mirrored: Sequence[int] = (),
    arithmetic: Arithmetic = EXACT,
    device: str = "cpu",
) -> NDArray[np.float32]:
    """Probabilities (L, *space) of the lesion classes on the case's grid.

    One logit: its sigmoid; several: their softmax without the background, which is the first.
    Outside the brain mask they are 0: nothing is known there, since preparation blanks it. Raises DataError for values
    that are not finite.
    """
    image = torch.from_numpy(case.image).to(device)
    logits = predict_logits(network, image, way, mirrored=mirrored, arithmetic=arithmetic)
    check_finite(logits, case.name)
    probabilities = probabilities_of(logits)
    lesions = probabilities if len(probabilities) == 1 else probabilities[1:]
    return np.where(case.brain, lesions.cpu().numpy(), np.float32(0))


def predict_probability(
    network: nn.Module, case: PreparedCase, *, window: tuple[int, ...], overlap: float, precision: str, device: str
) -> NDArray[np.float32]:
    """Probability (*space) of any lesion: sliding windows of `window` voxels, Gaussian means of logits.

    What runs keep as predictions, to the bit. Raises as `predict_probabilities` does.
    """
    way = Windows(tuple(window), overlap=overlap)
    arithmetic = Arithmetic(precision, stitched=torch.float32, together=True)
    found = predict_probabilities(network, case, way, arithmetic=arithmetic, device=device)
    return lesion_probability(found)

"""From a network and a prepared case to a probability map."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lesionloss.data.prepare import PreparedCase
from lesionloss.training.loop import forward

WINDOWS_AT_ONCE = 4


def predict_probability(
    network: nn.Module, case: PreparedCase, *, window: tuple[int, ...], overlap: float, precision: str, device: str
) -> NDArray[np.float32]:
    """Lesion probability (X, Y, Z) on the case's grid: sliding windows of `window` voxels, Gaussian means of logits.

    Outside the brain mask the probability is 0: nothing is known there, since preparation blanks it.
    """
    from monai.inferers.utils import sliding_window_inference

    def logits_of(x: Tensor) -> Tensor:
        return forward(network, x.contiguous(memory_format=torch.channels_last_3d), precision)

    network.eval()
    with torch.inference_mode():
        image = torch.from_numpy(case.image)[None].to(device)
        logits = sliding_window_inference(image, window, WINDOWS_AT_ONCE, logits_of, overlap=overlap, mode="gaussian")
        probability = torch.sigmoid(torch.as_tensor(logits)[0, 0]).cpu().numpy()
    return np.where(case.brain, probability, np.float32(0))

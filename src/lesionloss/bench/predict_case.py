"""A network of a trial, asked about a case."""

import torch
from torch import nn

from lesionloss.bench.trial_files import Predicted
from lesionloss.data.prepared import PreparedCase
from lesionloss.inference import Arithmetic, SlidingWindow, lesion_mask, predict_probabilities
from lesionloss.training.trial import Trial


def predicted_by(network: nn.Module, trial: Trial, case: PreparedCase, device: str) -> Predicted:
    """Sliding windows of the recipe; lesion is what reaches the threshold, its class the most probable one."""
    recipe = trial.recipe
    mode = SlidingWindow(recipe.window, overlap=recipe.overlap)
    arithmetic = Arithmetic(recipe.precision, stitched=torch.float32, together=True)
    probabilities = predict_probabilities(network, case, mode, arithmetic=arithmetic, device=device)
    labels = lesion_mask(probabilities, threshold=recipe.threshold, voxel_mm3=1.0)
    return Predicted(probabilities, labels)

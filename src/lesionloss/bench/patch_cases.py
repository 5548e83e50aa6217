"""Training patches as small cases, and what a network says of them."""

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from lesionloss.bench.trial_files import Predicted
from lesionloss.data.batches.stream import make_batch
from lesionloss.data.prepared import PreparedCase
from lesionloss.inference import lesion_mask
from lesionloss.inference.run_network import probabilities_of
from lesionloss.training.forward import forward, parts
from lesionloss.training.samplers import augmentation_of, sampler_of
from lesionloss.training.trial import Trial

Mask = NDArray[np.bool_]


def patch_cases(
    network: nn.Module, trial: Trial, cases: Mapping[str, PreparedCase], steps: range, device: str
) -> Iterator[tuple[PreparedCase, Predicted]]:
    """The patches that these steps of a trial train on, augmented as they are there, with a name for each."""
    recipe = trial.recipe
    draws, augmentation = sampler_of(recipe).over(cases), augmentation_of(recipe)
    for step in steps:
        batch = make_batch(cases, draws, augmentation, (trial.pair,), step, recipe.batch * recipe.accumulate)
        names = iter(batch.names)
        for number, (x, y, valid) in enumerate(parts(batch, recipe, device)):
            with torch.inference_mode():
                probabilities = probabilities_of(forward(network, x, recipe.precision), 1)
            lesions = (probabilities if probabilities.shape[1] == 1 else probabilities[:, 1:]).cpu().numpy()
            references = y.cpu().numpy()
            known = np.ones(references.shape, dtype=np.bool_) if valid is None else valid.cpu().numpy()
            for place, maps in enumerate(lesions):
                source = cases[next(names)]
                name = f"{source.name}:{step}:{number * recipe.batch + place}"
                labels = lesion_mask(maps, threshold=recipe.threshold, voxel_mm3=1.0)
                yield _small_case(source, name, references[place], known[place]), Predicted(maps, labels)


def _small_case(source: PreparedCase, name: str, reference: NDArray[np.uint8], known: Mask) -> PreparedCase:
    """A patch as a case, on a grid of its own with the voxels of its source."""
    return PreparedCase(
        name=name,
        patient=source.patient,
        image=np.zeros((0, *reference.shape), dtype=np.float32),
        channels=(),
        reference=reference,
        brain=np.ones(reference.shape, dtype=np.bool_),
        affine=source.affine,
        offset=(0,) * reference.ndim,
        original_shape=reference.shape,
        ignore=None if known.all() else ~known,
        classes=source.classes,
    )

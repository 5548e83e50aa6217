"""Predictions of a trial's network: for test cases as whole images, for training patches as small cases."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from lesionloss.bench.plan.sections import LOWEST_THRESHOLD
from lesionloss.core.slice_pictures import fullest_slice, upright
from lesionloss.data.batches.stream import TrainingBatch, make_batch
from lesionloss.data.prepared import PreparedCase
from lesionloss.inference import as_judged, lesion_mask, lesion_probability, predict_probabilities
from lesionloss.inference.run_network import probabilities_of
from lesionloss.metrics.thresholds import is_lesion
from lesionloss.training.forward import forward, split_batch
from lesionloss.training.samplers import augmentation_of, sampler_of
from lesionloss.training.trial import Trial
from lesionloss.training.validation import mode_of

Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Prediction:
    """The prediction for a case.

    Attributes:
        probabilities: (L, *space), of the L lesion classes.
        labels: (*space), the class of each voxel; 0: background.
    """

    probabilities: NDArray[np.float32]
    labels: NDArray[np.uint8]

    @property
    def lesion(self) -> NDArray[np.float32]:
        """The probability of any lesion, (*space)."""
        return lesion_probability(self.probabilities)


def predict_test_case(network: nn.Module, trial: Trial, case: PreparedCase, device: str) -> Prediction:
    """Predict a whole image in the inference mode of the recipe."""
    recipe = trial.recipe
    arithmetic = as_judged(recipe.precision)
    probabilities = predict_probabilities(network, case, mode_of(recipe), arithmetic=arithmetic, device=device)
    labels = lesion_mask(probabilities, threshold=recipe.threshold, voxel_mm3=1.0, decision=recipe.decision)
    return Prediction(probabilities, labels)


class EpochPatches:
    """The training patches of the steps that were asked for last, augmented as in training.

    All losses of a pair are scored on the same ones, so they are kept, as far as `most_bytes` go, for the next network.
    """

    def __init__(self, trial: Trial, cases: Mapping[str, PreparedCase], most_bytes: int) -> None:
        """Keep the patches of a trial's pair, drawn from cases by name; `most_bytes` 0: none."""
        self.cases = cases
        self._trial = trial
        self._most_bytes = most_bytes
        self._draws, self._augmentation = sampler_of(trial.recipe).over(cases), augmentation_of(trial.recipe)
        self._steps = range(0)
        self._kept: dict[int, TrainingBatch] = {}

    def of(self, steps: range) -> Iterator[TrainingBatch]:
        """Yield the batch of each step."""
        if steps != self._steps:
            self._steps, self._kept = steps, {}
        recipe = self._trial.recipe
        size = recipe.batch * recipe.accumulate
        room = self._most_bytes - sum(batch.images.nbytes for batch in self._kept.values())
        for step in steps:
            batch = self._kept.get(step)
            if batch is None:
                batch = make_batch(self.cases, self._draws, self._augmentation, (self._trial.pair,), step, size)
                if batch.images.nbytes <= room:
                    self._kept[step] = batch
                    room -= batch.images.nbytes
            yield batch


def predict_patches(
    network: nn.Module, trial: Trial, patches: EpochPatches, steps: range, device: str
) -> Iterator[tuple[PreparedCase, Prediction]]:
    """Predict the training patches of some steps.

    Yields:
        Each patch as a small case with a name of its own, and its prediction.
    """
    recipe = trial.recipe
    for batch in patches.of(steps):
        names = iter(batch.names)
        for number, part in enumerate(split_batch(batch, recipe, device)):
            with torch.inference_mode():
                probabilities = probabilities_of(forward(network, part.images, recipe.precision), 1)
            lesions = (probabilities if probabilities.shape[1] == 1 else probabilities[:, 1:]).cpu().numpy()
            references = part.references.cpu().numpy()
            known = np.ones(references.shape, dtype=np.bool_) if part.valid is None else part.valid.cpu().numpy()
            for index, maps in enumerate(lesions):
                source = patches.cases[next(names)]
                name = f"{source.name}:{batch.step}:{number * recipe.batch + index}"
                labels = lesion_mask(maps, threshold=recipe.threshold, voxel_mm3=1.0, decision=recipe.decision)
                yield _patch_as_case(source, name, references[index], known[index]), Prediction(maps, labels)


def _patch_as_case(source: PreparedCase, name: str, reference: NDArray[np.uint8], known: Mask) -> PreparedCase:
    """A patch as a case on a grid of its own, with the voxel size of its source."""
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


def write_prediction(folder: Path, case: PreparedCase, prediction: Prediction) -> None:
    """Write the probability of any lesion on the cohort's grid; of several classes, more.

    That is the labels that were scored, and the probability of each class in the slice that the report shows: the axial
    one with most lesion, in radiological view.

    Values from `LOWEST_THRESHOLD` on keep all digits of float32, so that every threshold a plan may have gives the mask
    that was scored. Lower ones become 0: most voxels of the brain have them, and files would be fifty times as large.
    """
    path = folder / "predictions" / f"{case.name}.npz"
    path.parent.mkdir(exist_ok=True)
    lesion = prediction.lesion
    arrays: dict[str, NDArray[Any]] = {
        "probability": np.where(is_lesion(lesion, LOWEST_THRESHOLD), lesion, np.float32(0))
    }
    if len(case.classes) > 1:
        arrays["classes"] = prediction.labels
        arrays["slice"] = _in_slice(case, prediction.probabilities)
    np.savez_compressed(path, allow_pickle=False, **arrays)


def _in_slice(case: PreparedCase, probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probabilities (L, *space) in the slice with most lesion, (L, rows, columns); low ones are 0, to be small."""
    lesion = case.lesion if case.ignore is None else case.lesion & ~case.ignore
    plane = fullest_slice(upright(lesion, case.affine))
    shown = np.stack([upright(each, case.affine)[plane] for each in probabilities])
    return np.where(is_lesion(shown, LOWEST_THRESHOLD), shown, np.float32(0))

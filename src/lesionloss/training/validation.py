"""Validation: training patients set aside, and the score on them for plateau, early stopping and best weights."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from lesionloss.core.errors import UsageError
from lesionloss.core.randomness import numpy_generator
from lesionloss.data.cohort_index import CaseEntry
from lesionloss.data.prepared import PreparedCase
from lesionloss.inference import InferenceMode, as_judged, inference_mode_of, predict_logits, predict_probability
from lesionloss.losses.criterion import Loss
from lesionloss.metrics.thresholds import is_lesion
from lesionloss.training.trial import TrainingRecipe

Score = Callable[[nn.Module], float]


def unit_of(case: PreparedCase | CaseEntry, split_by: str) -> str:
    """Return what a split keeps together: the patient of a case, or the case alone."""
    return case.name if split_by == "case" else case.patient


def validation_split(
    cases: Sequence[PreparedCase], share: float, stream: tuple[str | int, ...], split_by: str = "patient"
) -> tuple[list[PreparedCase], list[PreparedCase]]:
    """Split training cases by patient into training and validation.

    Both sides get a patient with a lesion where there are two; a single one is for training.

    Args:
        cases: All training cases.
        share: Share of the patients for validation; 0: none.
        stream: Name of the random stream.
        split_by: `case` splits by case as if each were a patient.

    Returns:
        The cases to train on and the cases to validate on, both in the order of `cases`.

    Raises:
        UsageError: No patient would be left to train on.
    """
    if share == 0:
        return list(cases), []
    units = {case.name: unit_of(case, split_by) for case in cases}
    patients = sorted(set(units.values()))
    with_lesion = {units[case.name] for case in cases if case.reference.any()}
    wanted = number_of_validation_patients(len(patients), share)
    if wanted >= len(patients):
        raise UsageError(
            f"validation_share {share:g} of {len(patients)} training patients leaves no patient to train on"
        )
    # "inner" names the random stream: another word would draw other patients
    shuffled = [patients[index] for index in numpy_generator(*stream, "inner").permutation(len(patients))]
    lesion = [patient for patient in shuffled if patient in with_lesion]
    first, last = lesion[:1] if len(lesion) > 1 else [], lesion[-1:]
    chosen = {*first, *[patient for patient in shuffled if patient not in (*first, *last)][: wanted - len(first)]}
    aside = [units[case.name] in chosen for case in cases]
    pairs = list(zip(cases, aside, strict=True))
    return [case for case, chosen in pairs if not chosen], [case for case, chosen in pairs if chosen]


def number_of_validation_patients(patients: int, share: float) -> int:
    """Return how many of so many patients are set aside: at least one."""
    return max(1, round(share * patients))


def mode_of(recipe: TrainingRecipe) -> InferenceMode:
    """Return the mode by which networks of a recipe are applied to whole images."""
    return inference_mode_of(
        recipe.window, recipe.overlap, recipe.merge, recipe.merge_of, whole_image=recipe.whole_image
    )


def validation_score(cases: Sequence[PreparedCase], recipe: TrainingRecipe, criterion: Loss, device: str) -> Score:
    """Return a function from a network to its score on whole validation cases; higher is better.

    The score is the mean Dice (1 for a case without lesions in reference and prediction) or, where the recipe monitors
    the loss, minus the mean loss of the network's main output.

    Args:
        cases: The validation cases.
        recipe: Window, threshold, precision, and what is monitored.
        criterion: The loss.
        device: cpu or cuda:N.
    """
    mode = mode_of(recipe)

    def dice(network: nn.Module, case: PreparedCase) -> float:
        probability = predict_probability(network, case, mode, precision=recipe.precision, device=device)
        return _dice(is_lesion(probability, recipe.threshold), case.reference > 0)

    def minus_loss(network: nn.Module, case: PreparedCase) -> float:
        arithmetic = as_judged(recipe.precision)
        image, reference = torch.from_numpy(case.image).to(device), torch.from_numpy(case.reference).to(device)
        known = None if case.ignore is None else torch.from_numpy(~case.ignore).to(device)[None]
        logits = predict_logits(network, image, mode, arithmetic=arithmetic)
        with torch.inference_mode():
            return -float(criterion(logits[None], reference[None], valid=known, spacing_mm=case.spacing_mm))

    of_case = minus_loss if recipe.monitor == "loss" else dice

    def score(network: nn.Module) -> float:
        scores = [of_case(network, case) for case in cases]
        network.train()
        return float(np.mean(scores))

    return score


def _dice(mask: NDArray[np.bool_], reference: NDArray[np.bool_]) -> float:
    total = int(mask.sum()) + int(reference.sum())
    return 2 * int((mask & reference).sum()) / total if total else 1.0

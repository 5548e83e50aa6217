"""Validation: training patients set aside to choose the best weights, and the score on them."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import nn

from lesionloss.core.errors import UsageError
from lesionloss.core.randomness import numpy_generator
from lesionloss.data.prepared import PreparedCase
from lesionloss.metrics.thresholds import is_lesion
from lesionloss.training.trial import TrainingRecipe

Score = Callable[[nn.Module], float]


def validation_split(
    cases: Sequence[PreparedCase], share: float, stream: tuple[str | int, ...]
) -> tuple[list[PreparedCase], list[PreparedCase]]:
    """Split training cases by patient into training and validation.

    Both sides get a patient with a lesion where there are two; a single one is for training.

    Args:
        cases: All training cases.
        share: Share of the patients for validation; 0: none.
        stream: Name of the random stream.

    Returns:
        The cases to train on and the cases to validate on, both in the order of `cases`.

    Raises:
        UsageError: No patient would be left to train on.
    """
    if share == 0:
        return list(cases), []
    patients = sorted({case.patient for case in cases})
    with_lesion = {case.patient for case in cases if case.reference.any()}
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
    return [case for case in cases if case.patient not in chosen], [case for case in cases if case.patient in chosen]


def number_of_validation_patients(patients: int, share: float) -> int:
    """Return how many of so many patients are set aside: at least one."""
    return max(1, round(share * patients))


def validation_score(cases: Sequence[PreparedCase], recipe: TrainingRecipe, device: str) -> Score:
    """Return a function from a network to its mean Dice on whole validation cases.

    A case without lesions in reference and prediction has Dice 1.

    Args:
        cases: The validation cases.
        recipe: Window, overlap, threshold and precision.
        device: cpu or cuda:N.
    """
    from lesionloss.inference import predict_probability

    def score(network: nn.Module) -> float:
        scores = []
        for case in cases:
            probability = predict_probability(
                network,
                case,
                window=recipe.window,
                overlap=recipe.overlap,
                precision=recipe.precision,
                device=device,
            )
            scores.append(_dice(is_lesion(probability, recipe.threshold), case.reference > 0))
        network.train()
        return float(np.mean(scores))

    return score


def _dice(mask: NDArray[np.bool_], reference: NDArray[np.bool_]) -> float:
    total = int(mask.sum()) + int(reference.sum())
    return 2 * int((mask & reference).sum()) / total if total else 1.0

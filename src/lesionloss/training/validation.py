"""Choosing the best weights without looking at the patients of the test: an inner split, and the score on it."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import nn

from lesionloss.core.errors import UsageError
from lesionloss.core.randomness import numpy_generator
from lesionloss.data.prepared import PreparedCase
from lesionloss.metrics.thresholds import is_lesion
from lesionloss.training.trial import Recipe

Score = Callable[[nn.Module], float]


def validation_split(
    cases: Sequence[PreparedCase], share: float, stream: tuple[str | int, ...]
) -> tuple[list[PreparedCase], list[PreparedCase]]:
    """Cases to learn from, and cases of `share` of the patients set aside, drawn by `stream`; by patient.

    Both keep the order of `cases`. Both sides get a patient with a lesion where there are two; a single one is for
    learning. Raises UsageError if nobody would be left to learn from.
    """
    if share == 0:
        return list(cases), []
    patients = sorted({case.patient for case in cases})
    with_lesion = {case.patient for case in cases if case.reference.any()}
    wanted = patients_aside(len(patients), share)
    if wanted >= len(patients):
        raise UsageError(f"validation_share {share:g} of {len(patients)} training patients leaves nobody to learn from")
    shuffled = [patients[index] for index in numpy_generator(*stream, "inner").permutation(len(patients))]
    lesion = [patient for patient in shuffled if patient in with_lesion]
    first, last = lesion[:1] if len(lesion) > 1 else [], lesion[-1:]
    aside = {*first, *[patient for patient in shuffled if patient not in (*first, *last)][: wanted - len(first)]}
    return [case for case in cases if case.patient not in aside], [case for case in cases if case.patient in aside]


def patients_aside(patients: int, share: float) -> int:
    """How many of so many patients are set aside: at least one."""
    return max(1, round(share * patients))


def inner_score(cases: Sequence[PreparedCase], recipe: Recipe, device: str) -> Score:
    """A function from a network to its mean Dice over whole cases, predicted as the recipe says; 1 for none in none."""
    from lesionloss.inference import predict_probability

    def score(network: nn.Module) -> float:
        found = []
        for case in cases:
            probability = predict_probability(
                network,
                case,
                window=recipe.window,
                overlap=recipe.overlap,
                precision=recipe.precision,
                device=device,
            )
            found.append(_dice(is_lesion(probability, recipe.threshold), case.reference > 0))
        network.train()
        return float(np.mean(found))

    return score


def _dice(mask: NDArray[np.bool_], reference: NDArray[np.bool_]) -> float:
    total = int(mask.sum()) + int(reference.sum())
    return 2 * int((mask & reference).sum()) / total if total else 1.0

"""Who is trained on and who is tested: by patient, never by image."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from lesionloss.core.errors import UsageError
from lesionloss.core.randomness import numpy_generator


@dataclass(frozen=True)
class Fold:
    """Names of patients, sorted."""

    train: tuple[str, ...]
    test: tuple[str, ...]


def make_folds(patients: Mapping[str, float], n: int, seed: int) -> tuple[Fold, ...]:
    """Split patients into `n` folds of alike lesion load; each patient is tested in exactly one.

    `patients` gives the lesion load of each (any unit). Sorted by load, every run of `n` patients is dealt at random
    to the `n` folds, so sizes differ by one at most and each fold has light and heavy patients. The result depends on
    names, loads, `n` and `seed` only; `n` equal to the number of patients is leave-one-out.
    Raises UsageError if `n` is below 2 or above the number of patients, or a load is not a finite number.
    """
    if n < 2:
        raise UsageError(f"folds must be 2 or more, got {n}")
    if n > len(patients):
        raise UsageError(f"folds must be at most the number of patients, {len(patients)}, got {n}")
    for patient, load in patients.items():
        if not math.isfinite(load):
            raise UsageError(f"the lesion load of patient {patient!r} must be a finite number, got {load}")
    rng = numpy_generator("folds", n, seed)
    names = sorted(patients)
    ties = rng.permutation(len(names))
    order = sorted(range(len(names)), key=lambda index: (patients[names[index]], ties[index]))
    tests: list[set[str]] = [set() for _ in range(n)]
    for first in range(0, len(order), n):
        block = order[first : first + n]
        for fold, index in zip(rng.permutation(n), block, strict=False):
            tests[fold].add(names[index])
    return tuple(
        Fold(train=tuple(name for name in names if name not in test), test=tuple(sorted(test))) for test in tests
    )

"""Who is trained on and who is tested: split by patient, never by image."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from lesionloss.core.errors import UsageError
from lesionloss.core.randomness import numpy_generator


@dataclass(frozen=True)
class Fold:
    """Patients of one fold, by name, sorted."""

    train: tuple[str, ...]
    test: tuple[str, ...]


def make_folds(patients: Mapping[str, float], n: int, seed: int) -> tuple[Fold, ...]:
    """Split patients into folds of similar lesion load; each patient is tested in exactly one fold.

    Patients are sorted by load, and every `n` consecutive ones are assigned at random to the `n` folds. So sizes differ
    by one at most, and each fold has patients of low and of high load. `n` equal to the number of patients is
    leave-one-out.

    Args:
        patients: Lesion load of each patient, in any unit.
        n: Number of folds.
        seed: Seed of the assignment; the result depends on the arguments only.

    Returns:
        The folds.

    Raises:
        UsageError: `n` is below 2 or above the number of patients, or a load is not a finite number.
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


def make_split(patients: Iterable[str], train: int, test: int, seed: int) -> Fold:
    """Draw one split of given sizes at random.

    Args:
        patients: Names of all patients; one may come several times.
        train: Number of patients to train on.
        test: Number of patients to test.
        seed: Seed of the draw; the result depends on the arguments only.

    Returns:
        The split; patients beyond the two numbers are in neither part.

    Raises:
        UsageError: There are fewer patients.
    """
    names = sorted(set(patients))
    if train + test > len(names):
        raise UsageError(f"split = [{train}, {test}] needs {train + test} patients, there are {len(names)}")
    drawn = [names[index] for index in numpy_generator("split", train, test, seed).permutation(len(names))]
    return Fold(tuple(sorted(drawn[:train])), tuple(sorted(drawn[train : train + test])))

"""What does not fit among predictions: combinations and cases that lack, cases and patients under two folds."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

from lesionloss.collecting.found_predictions import FIRST_SEED, Collection, Mismatch, Prediction, TrialName


@dataclass(frozen=True)
class Design:
    """Losses, folds and seeds that were found.

    Attributes:
        losses: In the order of their names, or as they were given.
        folds: The folds of one division of the patients.
        repeats: How often they were divided. Folds that test the same cases are repeats of one fold.
        seeds: Empty where the seed of a training run is not known.
    """

    losses: tuple[str, ...]
    folds: tuple[int, ...]
    repeats: int
    seeds: tuple[int, ...]

    @property
    def planned_folds(self) -> int | list[int]:
        """The folds as a plan has them: their number, or a list where they are not numbered from 0 or 1."""
        per_repeat = len(self.folds) // self.repeats
        numbered = any(self.folds == tuple(range(first, first + len(self.folds))) for first in (0, 1))
        return per_repeat if numbered or self.repeats > 1 else list(self.folds)


def checked(collection: Collection) -> tuple[Collection, Design]:
    """Return the collection with every mismatch listed, and its design; a case under two folds keeps the lowest."""
    predictions, found = _seeds_of_all_or_none(collection.predictions)
    predictions, twice, repeats = _one_fold_each(predictions)
    found += twice
    design = _design(predictions, repeats)
    found += [*_patients_under_two_folds(predictions, design), *_lacking(predictions, design)]
    kept = replace(collection, predictions=predictions, mismatches=(*collection.mismatches, *found))
    return kept, design


def _seeds_of_all_or_none(predictions: Sequence[Prediction]) -> tuple[tuple[Prediction, ...], list[Mismatch]]:
    """Where some seeds are not known, a loss with one seed is taken as one whose seed is not known: so they pair."""
    seeds_of: dict[str, set[int | None]] = defaultdict(set)
    for each in predictions:
        seeds_of[each.loss].add(each.seed)
    if not any(None in seeds for seeds in seeds_of.values()):
        return tuple(predictions), []
    found = [
        Mismatch("loss with seeds beside losses without", f"{loss} has seeds {_numbers(known)}, which pair with none")
        for loss, seeds in seeds_of.items()
        if len(known := {seed for seed in seeds if seed is not None}) > 1
    ]
    single = {loss for loss, seeds in seeds_of.items() if len(seeds) == 1}
    return tuple(replace(each, seed=None) if each.loss in single else each for each in predictions), found


def _design(predictions: Sequence[Prediction], repeats: int) -> Design:
    seeds = {each.seed for each in predictions}
    return Design(
        losses=tuple(dict.fromkeys(each.loss for each in predictions)),
        folds=tuple(sorted({each.fold for each in predictions})),
        repeats=repeats,
        seeds=() if None in seeds else tuple(sorted(seed for seed in seeds if seed is not None)),
    )


def _one_fold_each(predictions: Sequence[Prediction]) -> tuple[tuple[Prediction, ...], list[Mismatch], int]:
    """Find repeats of a cross-validation; elsewhere a case under two folds keeps the lowest one."""
    folds_of: dict[str, set[int]] = defaultdict(set)
    for each in predictions:
        folds_of[each.case].add(each.fold)
    repeats = _repeats(folds_of)
    if repeats > 1 or all(len(folds) == 1 for folds in folds_of.values()):
        return tuple(predictions), [], repeats
    found = [
        Mismatch("case under two folds", f"{case} is under folds {_numbers(folds)}; fold {min(folds)} is kept")
        for case, folds in sorted(folds_of.items())
        if len(folds) > 1
    ]
    return tuple(each for each in predictions if each.fold == min(folds_of[each.case])), found, 1


def _repeats(folds_of: dict[str, set[int]]) -> int:
    """How often the cases were divided: most are under so many folds, and none twice under those of one division."""
    folds = sorted(set().union(*folds_of.values()))
    most = max(map(len, folds_of.values()))
    often = sum(len(each) == most for each in folds_of.values())
    if most == 1 or len(folds) % most or 2 * often <= len(folds_of):
        return 1
    size = len(folds) // most
    if size > 1 and folds != list(range(len(folds))):
        return 1
    blocks = [[folds.index(fold) // size for fold in each] for each in folds_of.values()]
    return most if all(len(set(each)) == len(each) for each in blocks) else 1


def _patients_under_two_folds(predictions: Sequence[Prediction], design: Design) -> list[Mismatch]:
    size = len(design.folds) // design.repeats
    folds_of: dict[tuple[str, int], set[int]] = defaultdict(set)
    for each in predictions:
        folds_of[each.patient, design.folds.index(each.fold) // size].add(each.fold)
    return [
        Mismatch("patient under two folds", f"{patient} has cases under folds {_numbers(folds)}")
        for (patient, _), folds in sorted(folds_of.items())
        if len(folds) > 1
    ]


def _lacking(predictions: Sequence[Prediction], design: Design) -> list[Mismatch]:
    """Combinations without any prediction, and cases that one of them lacks."""
    cases_of: dict[TrialName, set[str]] = defaultdict(set)
    tested: dict[int, set[str]] = defaultdict(set)
    for each in predictions:
        cases_of[each.trial if design.seeds else TrialName(each.loss, each.fold, FIRST_SEED)].add(each.case)
        tested[each.fold].add(each.case)
    found = []
    for trial in (TrialName(*each) for each in product(design.losses, design.folds, design.seeds or (FIRST_SEED,))):
        lacking = sorted(tested[trial.fold] - cases_of.get(trial, set()))
        name = str(trial) if design.seeds else f"{trial.loss}, fold {trial.fold}"
        if trial not in cases_of:
            found.append(Mismatch("missing combination", name))
        elif lacking:
            found.append(Mismatch("case that one loss lacks", f"{name}: no prediction of {', '.join(lacking)}"))
    return found


def _numbers(folds: set[int]) -> str:
    return ", ".join(map(str, sorted(folds)))

"""What does not fit is listed: combinations, cases, folds, patients; and repeats of a cross-validation are seen."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from lesionloss.collecting.found_predictions import Collection, Prediction
from lesionloss.collecting.mismatches import Design, checked


def predictions(rows: Iterable[tuple[str, int, int | None, str]], patients: dict[str, str] | None = None) -> Collection:
    return Collection(
        tuple(
            Prediction(loss, case, Path(), Path(), fold=fold, seed=seed, patient=(patients or {}).get(case, case))
            for loss, fold, seed, case in rows
        )
    )


def found(collection: Collection) -> tuple[list[str], Design]:
    kept, design = checked(collection)
    return [str(each) for each in kept.mismatches], design


FULL = [(loss, fold, seed, f"p{fold}{n}") for loss in "ab" for fold in (0, 1) for seed in (1, 2) for n in (0, 1)]


def test_a_complete_collection_has_no_mismatch() -> None:
    lines, design = found(predictions(FULL))
    assert lines == []
    assert design == Design(("a", "b"), (0, 1), 1, (1, 2))
    assert design.planned_folds == 2


def test_combinations_and_cases_that_lack_are_listed() -> None:
    rows = [row for row in FULL if row[:3] != ("b", 1, 2) and row != ("a", 0, 1, "p01")]
    assert found(predictions(rows))[0] == [
        "case that one loss lacks: a, fold 0, seed 1: no prediction of p01",
        "missing combination: b, fold 1, seed 2",
    ]


def test_a_case_under_two_folds_keeps_the_lowest() -> None:
    kept, _ = checked(predictions([*FULL, ("a", 1, 1, "p00")]))
    assert [str(each) for each in kept.mismatches] == ["case under two folds: p00 is under folds 0, 1; fold 0 is kept"]
    assert [each.fold for each in kept.predictions if each.case == "p00"] == [0, 0, 0, 0]


def test_a_patient_under_two_folds_is_listed() -> None:
    lines, _ = found(predictions(FULL, {"p00": "P", "p11": "P"}))
    assert lines == ["patient under two folds: P has cases under folds 0, 1"]


def test_folds_that_test_the_same_cases_are_repeats_of_one() -> None:
    lines, design = found(predictions((loss, fold, 1, f"p{n}") for loss in "ab" for fold in range(5) for n in range(4)))
    assert lines == []
    assert (design.planned_folds, design.repeats) == (1, 5)


def test_two_divisions_of_the_patients_are_repeats() -> None:
    rows = [(loss, fold, 1, f"p{n}") for loss in "ab" for n in range(6) for fold in (n % 3, 3 + n // 2)]
    lines, design = found(predictions(rows))
    assert lines == []
    assert (design.planned_folds, design.repeats) == (3, 2)


@pytest.mark.parametrize(("folds", "planned"), [((0, 1, 2), 3), ((1, 2, 3), 3), ((2, 4), [2, 4])])
def test_folds_keep_their_numbers(folds: tuple[int, ...], planned: int | list[int]) -> None:
    assert found(predictions(("a", fold, 1, f"p{fold}") for fold in folds))[1].planned_folds == planned


def test_one_seed_pairs_with_an_unknown_one_and_several_do_not() -> None:
    rows = [("a", 0, None, "p0"), ("b", 0, 3, "p0")]
    kept, design = checked(predictions(rows))
    assert ([each.seed for each in kept.predictions], design.seeds) == ([None, None], ())
    lines, _ = found(predictions([*rows, ("b", 0, 4, "p0")]))
    assert lines == ["loss with seeds beside losses without: b has seeds 3, 4, which pair with none"]


def test_seeds_that_are_not_known_stay_unknown() -> None:
    lines, design = found(predictions([("a", 0, None, "p0"), ("b", 0, None, "p1")]))
    assert design.seeds == ()
    assert lines == [
        "case that one loss lacks: a, fold 0: no prediction of p1",
        "case that one loss lacks: b, fold 0: no prediction of p0",
    ]

"""Folds: by patient, balanced, seeded."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lesionloss.core.errors import UsageError
from lesionloss.data.folds import make_folds, make_split

names = st.text(alphabet="abcdef0123456789", min_size=1, max_size=6)
cohorts = st.dictionaries(names, st.floats(0, 1e5), min_size=2, max_size=40)


@settings(max_examples=150, deadline=None)
@given(patients=cohorts, data=st.data(), seed=st.integers(0, 2**31))
def test_every_patient_is_tested_once_and_never_on_both_sides(
    patients: dict[str, float], data: st.DataObject, seed: int
) -> None:
    n = data.draw(st.integers(2, len(patients)))
    folds = make_folds(patients, n, seed)
    assert len(folds) == n
    assert sorted(name for fold in folds for name in fold.test) == sorted(patients)
    for fold in folds:
        assert not set(fold.train) & set(fold.test)
        assert sorted(fold.train + fold.test) == sorted(patients)
    sizes = [len(fold.test) for fold in folds]
    assert max(sizes) - min(sizes) <= 1


@settings(max_examples=50, deadline=None)
@given(patients=cohorts, seed=st.integers(0, 2**31))
def test_the_order_of_the_patients_has_no_say(patients: dict[str, float], seed: int) -> None:
    assert make_folds(patients, 2, seed) == make_folds(dict(reversed(patients.items())), 2, seed)


def test_each_fold_has_light_and_heavy_patients() -> None:
    patients = {f"p{index:02d}": float(index) for index in range(20)}
    for seed in range(10):
        for fold in make_folds(patients, 5, seed):
            quarters = sorted(int(patients[name]) // 5 for name in fold.test)
            assert quarters == [0, 1, 2, 3]


def test_as_many_folds_as_patients_is_leave_one_out() -> None:
    folds = make_folds({"a": 1.0, "b": 0.0, "c": 5.0}, 3, 0)
    assert sorted(fold.test for fold in folds) == [("a",), ("b",), ("c",)]


def test_seeds_differ_and_repeat() -> None:
    patients = dict.fromkeys("abcdefghijkl", 1.0)
    assert make_folds(patients, 3, 0) == make_folds(patients, 3, 0)
    splits = [frozenset(fold.test for fold in make_folds(patients, 3, seed)) for seed in range(6)]
    assert all(a != b for a, b in itertools.combinations(splits, 2))


@pytest.mark.parametrize(
    ("loads", "n", "message"),
    [
        ({"a": 1.0, "b": 2.0}, 3, "at most the number of patients, 2, got 3"),
        ({"a": 1.0, "b": 2.0}, 1, "2 or more, got 1"),
        ({"a": 1.0, "b": float("nan")}, 2, "patient 'b' must be a finite number"),
        ({}, 2, "at most the number of patients, 0"),
    ],
)
def test_impossible_folds_are_refused(loads: dict[str, float], n: int, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make_folds(loads, n, 0)


def test_a_split_has_its_sizes_and_depends_on_the_seed_alone() -> None:
    people = [f"patient{number:03d}" for number in range(100)]
    split = make_split(people, 70, 20, seed=0)
    assert (len(split.train), len(split.test), len({*split.train, *split.test})) == (70, 20, 90)
    assert make_split(reversed(people), 70, 20, seed=0) == split
    assert make_split(people, 70, 20, seed=1) != split
    with pytest.raises(UsageError, match=r"split = \[70, 40\] needs 110 patients, there are 100"):
        make_split(people, 70, 40, seed=0)

"""Two stages at once: the order, the results and the errors of one stage after the other."""

import threading

import pytest

from lesionloss.core.overlapping import overlapped


def test_the_second_stage_runs_beside_the_first_one_of_the_next_item() -> None:
    started = [threading.Event() for _ in range(4)]
    here = threading.get_ident()

    def make(item: int) -> int:
        assert threading.get_ident() == here
        if item > 0:
            assert started[item - 1].wait(10)  # ends only if `use` of the item before has begun meanwhile
        return item * 10

    def use(item: int, made: int) -> tuple[int, int]:
        assert threading.get_ident() != here
        started[item].set()
        return item, made

    assert overlapped(range(4), make, use) == [(0, 0), (1, 10), (2, 20), (3, 30)]
    assert overlapped([], make, use) == []


@pytest.mark.parametrize(
    ("broken_make", "broken_use", "first"),
    [(2, 1, "use 1"), (1, 1, "make 1"), (2, None, "make 2"), (None, 2, "use 2"), (None, 0, "use 0")],
)
def test_the_error_of_the_first_item_is_raised(broken_make: int | None, broken_use: int | None, first: str) -> None:
    used: list[int] = []

    def make(item: int) -> None:
        if item == broken_make:
            raise ValueError(f"make {item}")

    def use(item: int, made: None) -> None:
        if item == broken_use:
            raise ValueError(f"use {item}")
        used.append(item)

    with pytest.raises(ValueError, match=first):
        overlapped(range(3), make, use)
    assert used == list(range(int(first[-1])))

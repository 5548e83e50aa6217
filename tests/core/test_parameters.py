"""Ranges and parameters: what is allowed, how it is said, and that pydantic models use the same ranges."""

import math
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, ValidationError

from lesionloss.core.errors import UsageError
from lesionloss.core.parameters import parameter
from lesionloss.core.ranges import Choice, Percent, Positive, Range, Share

BELOW_ONE = Annotated[float, Range(0, 1, below=True)]
CHOICE = Annotated[int, Choice((6, 18, 26))]


@pytest.mark.parametrize(
    ("annotation", "words", "allowed", "refused"),
    [
        (Share, "a number from 0 to 1", [0, 0.5, 1], [-0.1, 1.1, math.nan, None, True, "1"]),
        (Share | None, "a number from 0 to 1 or None", [None, 1], [2, False]),
        (BELOW_ONE, "a number >= 0 and < 1", [0, 0.99], [1]),
        (Percent, "a number > 0 and <= 100", [1e-9, 100], [0, 101]),
        (Positive, "a whole number >= 1", [1, 7], [0, 1.0, math.inf]),
        (CHOICE, "6, 18 or 26", [6, 26], [7, "6"]),
        (float, "a number", [-1e300, 3], [math.inf, math.nan, 10**400, True]),
        (bool, "True or False", [True, False], [0, 1, None]),
        (None, "a number", [0.5, 2], ["a", True]),
    ],
)
def test_a_parameter_says_and_checks_what_is_allowed(
    annotation: Any, words: str, allowed: list[object], refused: list[object]
) -> None:
    record = parameter("x", annotation, 0.5)
    assert record.describe() == words
    for value in allowed:
        record.check(value, "owner")
    for value in refused:
        with pytest.raises(UsageError) as error:
            record.check(value, "owner")
        assert str(error.value) == f"owner: x must be {words}; got {value!r}"


class Model(BaseModel):
    share: Share = 0.5
    below: BELOW_ONE = 0.5
    percent: Percent = 1.0
    count: Positive = 1


@pytest.mark.parametrize(
    ("key", "allowed", "refused"),
    [
        ("share", [0, 1], [-0.1, 1.1, math.nan]),
        ("below", [0, 0.9], [1, math.inf]),
        ("percent", [0.1, 100], [0, 101]),
        ("count", [1, 10**9], [0, 1.5]),
    ],
)
def test_a_pydantic_field_has_the_same_range(key: str, allowed: list[float], refused: list[float]) -> None:
    for value in allowed:
        assert getattr(Model.model_validate({key: value}), key) == value
    for value in refused:
        with pytest.raises(ValidationError):
            Model.model_validate({key: value})

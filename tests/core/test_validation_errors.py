"""One line explains every kind of error of pydantic: key, what was expected, what came, nearest known name."""

from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from lesionloss.core.validation_errors import explain_validation_error

Side = Annotated[float, Field(ge=0.05)]


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")
    size: Annotated[int, Field(ge=1)] = 1
    order: Annotated[int, Field(alias="from")] = 0


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str
    steps: tuple[Literal["crop", "subtract"], ...] = ()
    edge: Annotated[float, Field(ge=0.5)] | Literal["scanner"] = 1.0
    inner: Inner | None = None
    many: tuple[Inner, ...] = ()
    sides: tuple[Side, Side, Side] | tuple[Side, Side] | tuple[()] = ()

    @model_validator(mode="after")
    def _check(self) -> "Outer":
        if self.name == "bad":
            raise ValueError("bad is not allowed")
        return self


@pytest.mark.parametrize(
    ("record", "line"),
    [
        ({}, "name: missing"),
        ({"name": "bad"}, "bad is not allowed"),
        ({"name": "a", "inner": {"size": 0}}, "inner.size: Input should be greater than or equal to 1, got 0"),
        ({"name": "a", "inner": {"siz": 2}}, "unknown key inner.siz; did you mean 'size'? known: size, from"),
        ({"name": "a", "many": [{}, {"form": 2}]}, "unknown key many.1.form; did you mean 'from'? known: size, from"),
        (
            {"name": "a", "nam": 1},
            "unknown key nam; did you mean 'name'? known: name, steps, edge, inner, many, sides, based_on",
        ),
        ({"name": "a", "stop": 1}, "stop is called steps since 0.2"),
        ({"name": "a", "steps": ["corp"]}, "steps.0: unknown name 'corp'; did you mean 'crop'? known: crop, subtract"),
        ({"name": "a", "steps": ["difference"]}, "steps.0: 'difference' is called 'subtract' since 0.2"),
        ({"name": "a", "sides": [0, 1, 1]}, "sides.0: Input should be greater than or equal to 0.05, got 0"),
        (
            {"name": "a", "sides": [1, 1, 1, 1]},
            "sides: Tuple should have at most 3 items after validation, not 4, got [1, 1, 1, 1]",
        ),
        ({"name": "a", "sides": "b"}, "sides: Input should be a valid tuple, got 'b'"),
        (
            {"name": "a", "edge": 0.1},
            "edge: Input should be greater than or equal to 0.5, got 0.1; edge: Input should be 'scanner', got 0.1",
        ),
    ],
)
def test_every_error_is_one_line_with_its_key(record: dict[str, Any], line: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate(record)
    former = {"stop": "steps", "difference": "subtract"}
    found = explain_validation_error(caught.value, Outer, "x.toml", former_names=former, other_keys=["based_on"])
    assert found == f"x.toml: {line}"

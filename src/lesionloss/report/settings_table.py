"""Every setting of a run beside its default, for the supplement of a report."""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from lesionloss.data.preparation.recipe import PreparationRecipe
from lesionloss.report.run_settings import preparation_record, value_words
from lesionloss.runs.results import Results

_NO_SETTINGS = ("name", "question", "losses")
_EMPTY: tuple[object, ...] = ("", [], {}, None)


@dataclass(frozen=True)
class Setting:
    """A setting by its name in the plan, such as `training.steps`; `default` is empty if it has none."""

    name: str
    value: str
    default: str

    @property
    def differs(self) -> bool:
        """Whether it is not the default."""
        return bool(self.default) and self.value != self.default


def settings_table(results: Results) -> tuple[Setting, ...]:
    """The settings of the plan and of the preparation of the cohort, without those that are empty by default."""
    plan = {key: value for key, value in results.plan.items() if key not in _NO_SETTINGS}
    record = preparation_record(results)
    recipe = PreparationRecipe().model_dump(mode="json", by_alias=True)
    return (*_rows(plan, _plan_defaults()), *_rows({"preparation": record}, {"preparation": recipe}))


@cache
def _plan_defaults() -> Mapping[str, Any]:
    return tomllib.loads((files("lesionloss.report") / "plan_defaults.toml").read_text("utf-8"))


def _rows(settings: Mapping[str, Any], defaults: Mapping[str, Any], prefix: str = "") -> Iterator[Setting]:
    for key, value in settings.items():
        default = defaults.get(key)
        if isinstance(value, Mapping):
            yield from _rows(value, default if isinstance(default, Mapping) else {}, f"{prefix}{key}.")
        elif value not in _EMPTY or default not in _EMPTY:
            yield Setting(f"{prefix}{key}", _words(key, value), _words(key, default) if key in defaults else "")


def _words(key: str, value: Any) -> str:
    return (", ".join(map(str, value)) if key == "seeds" else value_words(value)) or "none"

"""The scores of a run in one metric, prepared once: which rows count, and what undefined and infinite values mean.

The rules for empty masks, decided here and nowhere else:

- A case without lesions in the reference has no overlap and no distance. It is not part of the mean of such metrics;
  it is counted on its own (correctly empty predictions, false-positive volume).
- An empty prediction for a case with lesions has an infinite distance and an undefined precision. `value` keeps that;
  `penalised` holds the worst value: the diagonal of the image in mm (as BraTS does), or 0.
- Other undefined values are left out of means, and every mean has the number of its values beside it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lesionloss.runs.metric_facts import MetricFacts
from lesionloss.runs.run_records import CohortCase, FailedTrial, MissingTrial, RunTrial

if TYPE_CHECKING:
    import pandas as pd

WHOLE_IMAGE = ("", "all")
REFERENCE_EMPTY = ("ref_empty", "both_empty")


@dataclass(frozen=True)
class DeclaredRules:
    """What the plan declares before the run, and what decides about differences in one metric.

    Attributes:
        test: The test over patients.
        decision: `frequentist` or `bayesian`.
        margin: The smallest difference that matters, in the metric's unit; 0: none.
        margin_is_default: Whether the plan does not give it.
        baseline: The baseline loss.
        losses: The number of losses.
        trials: The number of trials.
        folds: Folds of a repeat.
        repeats: Repeats of the cross-validation.
        stepwise: Whether Holm's correction is used; Bonferroni's for several primary metrics in an order, where the
            level of a loss goes to its next metric instead of to other losses.
        seeds_known: Whether the seed of each training run is known; not of all predictions that others made.
        collected: Whether others trained the networks, so that no plan says which trials there should be.
        added: What was added to the plan when trials had finished, in words; empty: nothing.
    """

    test: str
    decision: str
    margin: float
    margin_is_default: bool
    baseline: str
    losses: int
    trials: int
    folds: int
    repeats: int
    stepwise: bool = True
    seeds_known: bool = True
    collected: bool = False
    added: str = ""


@dataclass(frozen=True, eq=False)
class MetricScores:
    """All scores of a run in one metric, from which statistics and report are computed.

    Tables have one row per held-out case and trial, at the last epoch, with `penalised` beside `value`. `rows` are the
    cases in which the metric is defined, `without_lesions` those with an empty reference; `classes` has one row per
    class, named in `lesion`. `losses` are in the plan's order; `untrained` are those without a training run, which have
    no seed. `baseline` is the loss that the others are compared with: the plan's, unless another one was chosen.
    `worst` is the value of a missed case (the mean diagonal, in mm), None if there is none.
    """

    facts: MetricFacts
    rows: "pd.DataFrame"
    without_lesions: "pd.DataFrame"
    classes: "pd.DataFrame"
    losses: tuple[str, ...]
    untrained: frozenset[str]
    baseline: str
    rules: DeclaredRules
    worst: float | None
    trials: tuple[RunTrial, ...]
    failed: tuple[FailedTrial, ...]
    missing: tuple[MissingTrial, ...]
    folder: Path

    @property
    def metric(self) -> str:
        """The name of the metric, with its options."""
        return self.facts.name

    @property
    def test(self) -> str:
        """The test over patients that the plan declares."""
        return self.rules.test

    @cached_property
    def comparable(self) -> "pd.DataFrame":
        """`rows`; absolute values if the metric is best at zero."""
        rows = self.rows
        return rows.assign(penalised=rows["penalised"].abs()) if self.facts.signed else rows

    @cached_property
    def case_means(self) -> "dict[str, float]":
        """Mean penalised value of each case over losses and seeds; cases without a finite value are absent."""
        finite = self.rows[np.isfinite(self.rows["penalised"])]
        return {str(case): float(value) for case, value in finite.groupby("case")["penalised"].mean().items()}

    @cached_property
    def worst_first(self) -> tuple[str, ...]:
        """Cases from the worst to the best mean."""
        ordered = sorted((-self.facts.badness(value), case) for case, value in self.case_means.items())
        return tuple(case for _, case in ordered)

    @cached_property
    def _values(self) -> dict[tuple[str, str], float]:
        columns = (self.rows[name] for name in ("key", "case", "value"))
        return {(str(key), str(case)): float(value) for key, case, value in zip(*columns, strict=True)}

    def value(self, key: str, case: str) -> float:
        """The score of a case by a trial, as it was stored; NaN if there is none."""
        return self._values.get((key, case), float("nan"))

    def of_loss(self, loss: str) -> "pd.DataFrame":
        """The `rows` of one loss."""
        return self.rows[self.rows["loss"] == loss]


def split_rows(
    table: "pd.DataFrame", facts: MetricFacts, cohort: Sequence[CohortCase]
) -> "tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]":
    """The three tables of `MetricScores`: `rows`, `without_lesions` and `classes`.

    Args:
        table: The held-out rows of one metric, of all trials and epochs.
        facts: The metric's facts from the registry.
        cohort: The cases of the run; their diagonals replace infinite distances.
    """
    is_whole = table["lesion"].isin(WHOLE_IMAGE)
    is_class = ~is_whole & ~table["lesion"].str.fullmatch(r"[0-9]+")
    whole, classes = (_penalised(_last_epoch(table[chosen]), facts, cohort) for chosen in (is_whole, is_class))
    return _with_reference(whole, facts), whole[whole["status"].isin(REFERENCE_EMPTY)], _with_reference(classes, facts)


def _with_reference(rows: "pd.DataFrame", facts: MetricFacts) -> "pd.DataFrame":
    return (rows[~rows["status"].isin(REFERENCE_EMPTY)] if facts.needs_lesions else rows).reset_index(drop=True)


def _last_epoch(rows: "pd.DataFrame") -> "pd.DataFrame":
    return rows[rows["epoch"] == rows.groupby("key")["epoch"].transform("max")]


def _penalised(rows: "pd.DataFrame", facts: MetricFacts, cohort: Sequence[CohortCase]) -> "pd.DataFrame":
    in_voxels = (rows["unit"] == "voxels").any()  # the rows are of one metric, which has one unit
    diagonals = rows["case"].map(
        {case.name: case.diagonal_voxels if in_voxels else case.diagonal_mm for case in cohort}
    )
    longest = diagonals.where(rows["unit"].isin(["mm", "voxels"]))
    if "penalised" in rows:  # of scores that others computed
        longest = longest.fillna(rows["penalised"])
    finite = rows["value"].where(~np.isinf(rows["value"]), longest)
    empty = rows["value"].isna() & (rows["status"] == "pred_empty") & facts.zero_if_empty
    return rows.assign(penalised=finite.mask(empty, 0.0))


def per_patient(rows: "pd.DataFrame", column: str = "value") -> "pd.Series[float]":
    """One value per patient: the mean of its finite values, over seeds, then over cases. Without any, it is absent."""
    finite = rows[np.isfinite(rows[column])]
    cases = finite.groupby(["patient", "case"])[column].mean()
    means: pd.Series[float] = cases.groupby(level="patient").mean()
    return means


def patient_values(rows: "pd.DataFrame", column: str = "value") -> NDArray[np.float64]:
    """`per_patient` as a plain array (n,)."""
    return np.asarray(per_patient(rows, column), dtype=np.float64)

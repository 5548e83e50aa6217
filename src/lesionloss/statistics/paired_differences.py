"""Paired differences of all losses from the baseline.

A verdict needs two p values: over patients (the declared test), and over new training runs (the folds). The larger one
counts, after Holm's correction over all planned comparisons.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lesionloss.runs.metric_scores import MetricScores, patient_values
from lesionloss.runs.results import DECLARED_TESTS
from lesionloss.statistics.evidence import (
    ALPHA,
    Interval,
    bonferroni,
    holm,
    mean,
    mean_interval,
    rank_biserial,
    rank_sum_p,
    sign_flip_p,
    signed_rank_p,
)
from lesionloss.statistics.new_training_runs import FoldSpread, fold_interval, fold_ps, fold_spread, probabilities
from lesionloss.statistics.pairs import fewest_seeds, paired_rows, values_by_fold
from lesionloss.statistics.summaries import failed_patients, seed_means
from lesionloss.statistics.verdicts import (
    FREEDOM_FOR_A_VERDICT,
    NETWORKS_ONLY,
    SEEDS_FOR_A_VERDICT,
    Chances,
    PairedDifference,
)

if TYPE_CHECKING:
    import pandas as pd

TESTS: Mapping[str, Callable[[NDArray[np.float64]], float | None]] = dict(
    zip(DECLARED_TESTS, (sign_flip_p, signed_rank_p), strict=True)
)


@dataclass(frozen=True)
class _Pairs:
    """The pairs of one loss, its values by patient and by fold, and both p values."""

    rows: "pd.DataFrame"
    values: NDArray[np.float64]
    spread: FoldSpread
    p_patients: float | None
    p_folds: float | None
    unanswered: str

    @property
    def error(self) -> float | None:
        if not self.spread.freedom:
            return None
        return max(float(self.spread.error), float(self.values.std(ddof=1) / len(self.values) ** 0.5))

    @property
    def p(self) -> float | None:
        if self.unanswered or self.p_patients is None or self.p_folds is None:
            return None
        return max(self.p_patients, self.p_folds)


def paired_differences(
    scores: MetricScores, pairings: Mapping[str, str], level: float = ALPHA
) -> tuple[PairedDifference, ...]:
    """The difference of each loss in `pairings` from the baseline of `scores`.

    Holm's correction is over all planned losses, and over all pairs of them if the baseline was chosen after the run.
    A method without a training run is a family of its own.
    """
    found = {loss: _pairs(scores, loss, level) for loss in pairings}
    untrained = [loss for loss in pairings if loss in scores.untrained]
    trained = [loss for loss in pairings if loss not in scores.untrained]
    records = {}
    for family, planned in ((trained, planned_comparisons(scores)), (untrained, len(untrained))):
        count = max(planned, len(family))
        correct = holm if scores.rules.stepwise else bonferroni
        by_patients = correct({loss: found[loss].p_patients for loss in family}, count)
        both = correct({loss: found[loss].p for loss in family}, count)
        for loss in family:
            records[loss] = _record(
                scores, loss, found[loss], (by_patients[loss], both[loss]), count, level, pairings[loss]
            )
    return tuple(records[loss] for loss in pairings)


def planned_comparisons(scores: MetricScores) -> int:
    """The comparisons with the baseline that the plan has; all pairs if another baseline was chosen after the run."""
    losses, rules = scores.rules.losses, scores.rules
    if scores.baseline == rules.baseline:
        return losses - 1
    return losses if scores.baseline in scores.untrained else losses * (losses - 1) // 2


def _pairs(scores: MetricScores, loss: str, level: float) -> _Pairs:
    rows = paired_rows(scores, loss, scores.baseline)
    values = patient_values(rows, "difference")
    spread = fold_spread(values_by_fold(rows, scores.rules.folds, scores.rules.repeats))
    finite = rows[np.isfinite(rows["difference"])]
    reason = _unanswered(scores, (loss, scores.baseline), finite, spread.freedom, level)
    if not scores.facts.has_direction:
        return _Pairs(rows, values, spread, None, None, reason)
    by_folds = float(fold_ps(values.mean(), spread)) if spread.freedom else None
    return _Pairs(rows, values, spread, TESTS[scores.test](values), by_folds, reason)


def _record(
    scores: MetricScores,
    loss: str,
    found: _Pairs,
    corrected: tuple[float | None, float | None],
    comparisons: int,
    level: float,
    pairing: str,
) -> PairedDifference:
    values, rows, facts, rules = found.values, found.rows, scores.facts, scores.rules
    finite = rows[np.isfinite(rows["difference"])]
    lower, has_direction = facts.lower_is_better, facts.has_direction
    centre = mean(values)
    interval = mean_interval(values, level / comparisons)
    unknown = centre is None or found.unanswered in NETWORKS_ONLY
    wider = None if unknown else fold_interval(centre or 0.0, found.spread, 1 - level / comparisons)
    if wider is not None and interval is not None:
        wider = Interval(min(wider.low, interval.low), max(wider.high, interval.high))
    if centre and corrected[1] is not None and corrected[1] < level:
        interval, wider = (_beyond_zero(bounds, centre) for bounds in (interval, wider))
    return PairedDifference(
        loss=loss,
        baseline=scores.baseline,
        metric=scores.metric,
        lower_is_better=lower,
        mean=centre,
        loss_mean=mean(patient_values(finite, "penalised")),
        baseline_mean=mean(patient_values(finite, "penalised_baseline")),
        interval=interval,
        interval_new_training_runs=wider,
        error=found.error,
        freedom=found.spread.freedom,
        patients=len(values),
        pairs=len(finite),
        undefined=len(rows) - len(finite),
        improved=int((values < 0).sum() if lower else (values > 0).sum()),
        worsened=int((values > 0).sum() if lower else (values < 0).sum()),
        rank_biserial=rank_biserial(-values if lower else values) if has_direction else None,
        failures=(failed_patients(scores, loss), failed_patients(scores, scores.baseline)),
        worst=scores.worst,
        test=scores.test,
        p_patients=found.p_patients,
        p_patients_holm=corrected[0],
        p_new_training_runs=found.p_folds,
        p=found.p,
        p_holm=corrected[1],
        comparisons=comparisons,
        p_sign_flip=sign_flip_p(values) if has_direction else None,
        p_signed_rank=signed_rank_p(values) if has_direction else None,
        p_rank_sum=_unpaired_p(finite) if has_direction else None,
        seed_means=seed_means(rows, "difference"),
        seeds=fewest_seeds(rows),
        folds=int(finite["fold"].nunique()),
        level=level,
        margin=rules.margin,
        decision=rules.decision,
        correction="Holm" if rules.stepwise else "Bonferroni",
        chances=None if found.unanswered else _chances(found, rules.margin, lower),
        unanswered=found.unanswered,
        pairing=pairing,
    )


def _beyond_zero(bounds: Interval | None, centre: float) -> Interval | None:
    """A simultaneous interval, cut at 0 where Holm's steps exclude 0 and Bonferroni's does not (Strassburger 2008)."""
    if bounds is None:
        return None
    return Interval(max(0.0, bounds.low), bounds.high) if centre > 0 else Interval(bounds.low, min(0.0, bounds.high))


def _chances(found: _Pairs, margin: float, lower: bool) -> Chances | None:
    if found.error is None:
        return None
    spread = replace(found.spread, error=np.array(found.error))
    below, within, above = probabilities(float(found.values.mean()), spread, margin)
    return Chances(above, within, below) if lower else Chances(below, within, above)


def _unanswered(
    scores: MetricScores, losses: Sequence[str], finite: "pd.DataFrame", freedom: float, level: float
) -> str:
    """Why there can be no verdict on two losses, from the rows of their pairs; empty if there can."""
    lost = {trial.fold for trial in scores.failed if trial.loss in losses} - set(finite["fold"])
    reasons = {
        "no pairs": not len(finite),
        "not tested": not scores.facts.has_direction,
        "interim": bool(scores.missing) and level == ALPHA,
        "seeds unknown": not scores.rules.seeds_known,
        "one seed": fewest_seeds(finite) < SEEDS_FOR_A_VERDICT,
        "failed folds": bool(lost),
        "missing folds": scores.rules.collected and bool(set(scores.comparable["fold"]) - set(finite["fold"])),
        "one split": freedom == 0,
        "two folds": freedom < FREEDOM_FOR_A_VERDICT,
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


def _unpaired_p(pairs: "pd.DataFrame") -> float | None:
    return rank_sum_p(patient_values(pairs, "penalised"), patient_values(pairs, "penalised_baseline"))

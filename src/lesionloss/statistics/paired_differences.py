"""Paired differences of a loss from the baseline, and the verdict on them.

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
    holm,
    mean,
    mean_interval,
    rank_biserial,
    rank_sum_p,
    sign_flip_p,
    signed_rank_p,
    smallest_p,
)
from lesionloss.statistics.new_training_runs import FoldSpread, fold_interval, fold_ps, fold_spread, probabilities
from lesionloss.statistics.pairs import fewest_seeds, paired_rows, values_by_fold
from lesionloss.statistics.summaries import failed_patients, seed_means

if TYPE_CHECKING:
    import pandas as pd

TESTS: Mapping[str, Callable[[NDArray[np.float64]], float | None]] = dict(
    zip(DECLARED_TESTS, (sign_flip_p, signed_rank_p), strict=True)
)
DECIDED = ("better", "worse", "equivalent")
SEEDS_FOR_A_VERDICT = 2
FREEDOM_FOR_A_VERDICT = 1.5  # two folds have 1: their interval is 12.7 standard errors to each side
NETWORKS_ONLY = ("one seed", "one split", "two folds")  # reasons that leave nothing to say of the losses
CREDIBLE = 0.95


@dataclass(frozen=True)
class Chances:
    """Posterior probabilities that a loss is worse, equivalent (within the margin) and better."""

    worse: float
    equivalent: float
    better: float


@dataclass(frozen=True)
class PairedDifference:
    """A loss minus the baseline, patient by patient, on pairs of the same case, fold and seed.

    Metrics that are best at zero are compared by their absolute values; descriptions (a volume) are not tested.
    Infinite distances are replaced by the diagonal. `pairing` is "training run" if weights and batches are proven
    equal, "patient" if only the patients are the same.

    Attributes:
        loss_mean: The mean of the loss over the patients of the pairs; `mean` is its difference from `baseline_mean`.
        interval: For new patients and these networks; simultaneous over all comparisons.
        interval_new_training_runs: For new patients, training sets and seeds, simultaneous; it contains `interval`, as
            the verdict needs both tests. None where nothing is known of the losses.
        error: Standard error of the mean over new training runs, at least that over patients; `freedom` are the degrees
            of freedom of the folds.
        patients: Patients with a pair; `pairs` counts pairs, `undefined` those without a difference.
        improved: Patients that are better than with the baseline; `worsened` are worse.
        rank_biserial: 1 if every patient is better, -1 if every patient is worse.
        failures: Patients with a failed prediction (Dice below .1, else an empty one), of the loss and of the baseline.
        p_patients: Two-sided p of the declared `test` over patients; `p_patients_holm` is corrected.
        p_new_training_runs: Two-sided p over the folds.
        p: The larger one, None without a verdict; `p_holm` is corrected for `comparisons` planned comparisons.
        seeds: Seeds of the fold that has fewest.
        level: 5 %, or what an interim look may use.
        margin: The smallest difference that matters; 0: none.
        chances: Posterior probabilities (Corani and Benavoli 2015); None without a verdict.
        unanswered: Why there can be no verdict; empty if there can.
    """

    loss: str
    baseline: str
    metric: str
    lower_is_better: bool
    mean: float | None
    loss_mean: float | None
    baseline_mean: float | None
    interval: Interval | None
    interval_new_training_runs: Interval | None
    error: float | None
    freedom: float
    patients: int
    pairs: int
    undefined: int
    improved: int
    worsened: int
    rank_biserial: float | None
    failures: tuple[int, int]
    worst: float | None
    test: str
    p_patients: float | None
    p_patients_holm: float | None
    p_new_training_runs: float | None
    p: float | None
    p_holm: float | None
    comparisons: int
    p_sign_flip: float | None
    p_signed_rank: float | None
    p_rank_sum: float | None
    seed_means: tuple[tuple[int, float], ...]
    seeds: int
    folds: int
    level: float
    margin: float
    decision: str
    chances: Chances | None
    unanswered: str
    pairing: str

    @property
    def can_be_shown(self) -> bool:
        """Whether so many patients can give p < 5 % at all, with all differences on one side and Holm's correction."""
        return self.patients > 1 and self.comparisons * smallest_p(self.patients) < self.level

    @property
    def share_improved(self) -> float | None:
        """The share of patients that are better than with the baseline."""
        return self.improved / self.patients if self.patients else None

    @property
    def gain(self) -> float:
        """The mean difference, positive if the loss is better; 0 if there is none."""
        return (-1 if self.lower_is_better else 1) * (self.mean or 0.0)

    @property
    def undone_by(self) -> tuple[float, float] | None:
        """For a verdict that failures too rare to be seen could undo: the rate that would, and the one not excluded.

        Both are shares of patients above those that failed. The second one is the upper bound (95 %, one-sided; the
        rule of three) of the failure rate of the better loss; None if no such rate undoes the verdict.
        """
        from scipy import stats

        losses = {"better": (self.failures[0], self.loss_mean), "worse": (self.failures[1], self.baseline_mean)}
        failures, score = losses.get(self.verdict, (0, None))
        if score is None or self.worst is None or score == self.worst or failures >= self.patients:
            return None
        enough = abs(self.gain / (score - self.worst))
        bound = float(stats.beta.ppf(1 - ALPHA, failures + 1, self.patients - failures))
        unseen = bound - failures / self.patients
        return (enough, unseen) if enough < unseen else None

    @property
    def networks_differ(self) -> bool:
        """Whether these networks differ on new patients, whatever the luck of their training runs was."""
        return self.p_patients_holm is not None and self.p_patients_holm < self.level

    @property
    def not_inferior(self) -> bool:
        """Whether the interval over new training runs excludes that the loss is worse by the margin or more."""
        bounds = self.interval_new_training_runs
        if self.unanswered or self.margin == 0 or bounds is None:
            return False
        return bounds.high < self.margin if self.lower_is_better else bounds.low > -self.margin

    @property
    def verdict(self) -> str:
        """`better`, `worse`, `equivalent` or `undecided`; where there can be no verdict, the reason."""
        if self.unanswered:
            return self.unanswered
        if self.decision == "bayesian":
            return self._of_chances()
        bounds = self.interval_new_training_runs
        if self.margin and bounds is not None and -self.margin < bounds.low and bounds.high < self.margin:
            return "equivalent"
        if self.p_holm is None or self.p_holm >= self.level or self.gain == 0:
            return "undecided"
        if self.test == "signed_rank" and (self.rank_biserial or 0.0) * self.gain < 0:
            return "undecided"  # the ranks and the mean contradict each other
        return "better" if self.gain > 0 else "worse"

    def _of_chances(self) -> str:
        found = () if self.chances is None else zip(DECIDED, _in_order(self.chances), strict=True)
        return next((name for name, chance in found if chance > CREDIBLE), "undecided")

    @property
    def decided(self) -> bool:
        """Whether the verdict says anything about the losses."""
        return self.verdict in DECIDED


def _in_order(chances: Chances) -> tuple[float, float, float]:
    return chances.better, chances.worse, chances.equivalent


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
        by_patients = holm({loss: found[loss].p_patients for loss in family}, count)
        both = holm({loss: found[loss].p for loss in family}, count)
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
        "one seed": fewest_seeds(finite) < SEEDS_FOR_A_VERDICT,
        "failed folds": bool(lost),
        "one split": freedom == 0,
        "two folds": freedom < FREEDOM_FOR_A_VERDICT,
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


def _unpaired_p(pairs: "pd.DataFrame") -> float | None:
    return rank_sum_p(patient_values(pairs, "penalised"), patient_values(pairs, "penalised_baseline"))

"""Paired differences of a loss from the baseline: mean, intervals, tests, effect sizes, and what makes the pairs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lesionloss.runs.metric_scores import MetricScores, patient_values
from lesionloss.runs.results import DECLARED_TESTS
from lesionloss.statistics.complete_blocks import complete_blocks
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
from lesionloss.statistics.summaries import seed_means
from lesionloss.statistics.training_run_variance import interval_over_training_runs

if TYPE_CHECKING:
    import pandas as pd

TESTS: Mapping[str, Callable[[NDArray[np.float64]], float | None]] = dict(
    zip(DECLARED_TESTS, (sign_flip_p, signed_rank_p), strict=True)
)


@dataclass(frozen=True)
class PairedDifference:
    """A loss minus the baseline, patient by patient, on pairs of the same case, fold and seed.

    Metrics that are best at zero are compared by their absolute values; descriptions (a volume) are not tested.
    Infinite distances are replaced by the diagonal. `pairing` is "training run" if weights and batches are proven
    equal, "patient" if only the patients are the same.
    `interval` is for new patients and the same training runs; `interval_new_training_runs` is for new training runs
    too (None with one seed). `improved` and `worsened` count patients; `undefined` counts pairs without a difference.
    `p` is the two-sided p of the declared `test`, `p_holm` the same after Holm's correction for `comparisons` losses;
    the p of both tests and of the unpaired rank-sum test are beside it. `rank_biserial` is 1 if every patient is
    better, -1 if every patient is worse.
    """

    loss: str
    baseline: str
    metric: str
    lower_is_better: bool
    mean: float | None
    interval: Interval | None
    interval_new_training_runs: Interval | None
    patients: int
    pairs: int
    undefined: int
    improved: int
    worsened: int
    rank_biserial: float | None
    test: str
    p: float | None
    p_holm: float | None
    comparisons: int
    p_sign_flip: float | None
    p_signed_rank: float | None
    p_rank_sum: float | None
    seed_means: tuple[tuple[int, float], ...]
    pairing: str

    @property
    def can_be_shown(self) -> bool:
        """Whether so many patients can give p < 5 % at all, with all differences on one side and Holm's correction."""
        return self.comparisons * smallest_p(self.patients) < ALPHA

    @property
    def significant(self) -> bool:
        """Whether the corrected p is below 5 %."""
        return self.p_holm is not None and self.p_holm < ALPHA

    @property
    def seeds_agree(self) -> bool:
        """Whether the mean difference has the same sign for every seed."""
        return len({bool(value > 0) for _, value in self.seed_means}) <= 1

    @property
    def holds_for_new_training_runs(self) -> bool | None:
        """Whether the interval over patients and training runs excludes 0; None if it is unknown (one seed)."""
        bounds = self.interval_new_training_runs
        return None if bounds is None else not bounds.low <= 0 <= bounds.high

    @property
    def share_improved(self) -> float | None:
        """The share of patients that are better than with the baseline."""
        return self.improved / self.patients if self.patients else None

    @property
    def evidence(self) -> str | None:
        """`better` or `worse` if test, interval, every seed and the interval over training runs agree; else None.

        With one seed nothing is known about new training runs, and they are not considered.
        """
        if not self.significant or self.interval is None or self.interval.low <= 0 <= self.interval.high:
            return None
        if not self.seeds_agree or self.holds_for_new_training_runs is False:
            return None
        return "better" if (self.interval.low > 0) != self.lower_is_better else "worse"


@dataclass(frozen=True)
class CorrectedP:
    """The p of the declared `test` for one loss; `p_holm` is corrected for `comparisons` losses."""

    test: str
    p: float | None
    p_holm: float | None
    comparisons: int


def paired_differences(scores: MetricScores, pairings: Mapping[str, str]) -> tuple[PairedDifference, ...]:
    """The difference of each loss in `pairings` from the baseline of `scores`, with Holm's correction over all."""
    pairs = {loss: paired_rows(scores, loss, scores.baseline) for loss in pairings}
    test = TESTS[scores.test]
    ps = {
        loss: test(patient_values(rows, "difference")) if scores.facts.has_direction else None
        for loss, rows in pairs.items()
    }
    corrected = holm(ps)
    count = sum(p is not None for p in ps.values())
    return tuple(
        paired_difference(
            pairs[loss],
            (loss, scores.baseline),
            scores,
            CorrectedP(scores.test, ps[loss], corrected[loss], count),
            pairing,
        )
        for loss, pairing in pairings.items()
    )


def paired_rows(scores: MetricScores, loss: str, baseline: str) -> "pd.DataFrame":
    """The pairs of two losses.

    A method without a training run has no seed: it is paired with every seed of the other, whose seed is kept.

    Args:
        scores: What `Results.metric_scores` gives.
        loss: The loss that is compared.
        baseline: The loss that it is compared with.

    Returns:
        One row per pair: patient, case, fold, seed and `difference` = loss - baseline (NaN if either is undefined).
    """
    tables = [scores.comparable.loc[scores.comparable["loss"] == name] for name in (loss, baseline)]
    keys = ["patient", "case", "fold", "seed"]
    seedless = [name in scores.untrained for name in (loss, baseline)]
    if any(seedless):
        keys.remove("seed")
        tables = [
            table.drop(columns="seed") if without else table for table, without in zip(tables, seedless, strict=True)
        ]
    columns = dict.fromkeys([*keys, "seed", "penalised"])
    mine, theirs = (table[[name for name in columns if name in table]] for table in tables)
    pairs = mine.merge(theirs, on=keys, suffixes=("", "_baseline"))
    return pairs.assign(difference=pairs["penalised"] - pairs["penalised_baseline"])


def paired_difference(
    pairs: "pd.DataFrame", losses: tuple[str, str], scores: MetricScores, tested: CorrectedP, pairing: str
) -> PairedDifference:
    """The record of one loss and its baseline (`losses`), from their `paired_rows`."""
    values = patient_values(pairs, "difference")
    finite = pairs[np.isfinite(pairs["difference"])]
    lower, has_direction = scores.facts.lower_is_better, scores.facts.has_direction
    tables = [block.values[0] for block in complete_blocks(pairs, ["difference"])] if "seed" in pairs else []
    return PairedDifference(
        loss=losses[0],
        baseline=losses[1],
        metric=scores.metric,
        lower_is_better=lower,
        mean=mean(values),
        interval=mean_interval(values),
        interval_new_training_runs=interval_over_training_runs(tables, float(values.mean())) if len(values) else None,
        patients=len(values),
        pairs=len(finite),
        undefined=len(pairs) - len(finite),
        improved=int((values < 0).sum() if lower else (values > 0).sum()),
        worsened=int((values > 0).sum() if lower else (values < 0).sum()),
        rank_biserial=rank_biserial(-values if lower else values) if has_direction else None,
        test=tested.test,
        p=tested.p,
        p_holm=tested.p_holm,
        comparisons=tested.comparisons,
        p_sign_flip=sign_flip_p(values) if has_direction else None,
        p_signed_rank=signed_rank_p(values) if has_direction else None,
        p_rank_sum=_unpaired_p(finite) if has_direction else None,
        seed_means=seed_means(pairs, "difference"),
        pairing=pairing,
    )


def _unpaired_p(pairs: "pd.DataFrame") -> float | None:
    return rank_sum_p(patient_values(pairs, "penalised"), patient_values(pairs, "penalised_baseline"))


def pairing_of(scores: MetricScores, loss: str, baseline: str) -> tuple[str, str]:
    """What pairs two losses ("training run" or "patient"), and a warning if training runs should be pairs but are not.

    The warning is empty if there is nothing to warn of.
    """
    mine, theirs = (
        {(trial.fold, trial.seed): trial for trial in scores.trials if trial.loss == name} for name in (loss, baseline)
    )
    if loss in scores.untrained or baseline in scores.untrained:
        return "patient", ""
    common = sorted(mine.keys() & theirs.keys())
    unproven = [key for key in common if not mine[key].is_pair_of(theirs[key])]
    if not unproven:
        return ("training run" if common else "patient"), ""
    fold, seed = unproven[0]
    return "patient", (
        f"{loss} and {baseline} do not share weights and batches in {len(unproven)} of {len(common)} training runs "
        f"(first: fold {fold}, seed {seed}): they are paired by patient only, and their difference is noisier"
    )

"""Paired differences of one loss from the baseline: mean, intervals, tests, effect sizes, and what pairs them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lesionloss.core.catalogue import nearest
from lesionloss.core.errors import UsageError
from lesionloss.runs.results import DIFFERENCE_THRESHOLD, Results
from lesionloss.runs.values import DECLARED_TESTS, facts, headline_rows, patient_values
from lesionloss.statistics.complete_blocks import complete_blocks
from lesionloss.statistics.evidence import (
    ALPHA,
    Interval,
    mean,
    mean_interval,
    rank_biserial,
    rank_sum_p,
    sign_flip_p,
    signed_rank_p,
    smallest_p,
)
from lesionloss.statistics.new_training_runs import interval_over_trainings
from lesionloss.statistics.summaries import seed_means

if TYPE_CHECKING:
    import pandas as pd

TESTS: Mapping[str, Callable[[NDArray[np.float64]], float | None]] = dict(
    zip(DECLARED_TESTS, (sign_flip_p, signed_rank_p), strict=True)
)


@dataclass(frozen=True)
class Difference:
    """A loss minus the baseline, patient by patient, on pairs of the same case, fold and seed.

    Metrics that are best at zero are compared by their absolute values; descriptions (a volume) are not tested.
    Infinite distances are charged the diagonal. `pairing` is "training" where weights and batches are proven equal,
    "patient" where only the patients are the same.
    `interval` is for new patients and these trainings; `interval_trainings` for new trainings too (None with one seed).
    `improved` and `worsened` count patients; `undefined` counts pairs without a difference.
    `p` is the two-sided p of the declared `test`, `p_holm` the same after Holm over `comparisons` losses; the p of both
    tests and of the unpaired rank-sum test are beside it. `rank_biserial` is 1 where every patient is better, -1 worse.
    """

    loss: str
    baseline: str
    metric: str
    lower_is_better: bool
    mean: float | None
    interval: Interval | None
    interval_trainings: Interval | None
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
        """Whether so many patients could give p < 5 % at all, all differences on one side and corrected by Holm."""
        return self.comparisons * smallest_p(self.patients) < ALPHA

    @property
    def significant(self) -> bool:
        """Whether the corrected p is below 5 %."""
        return self.p_holm is not None and self.p_holm < ALPHA

    @property
    def seeds_agree(self) -> bool:
        """Whether the mean difference has the same side in every seed: the patients can't tell luck of the training."""
        return len({bool(value > 0) for _, value in self.seed_means}) <= 1

    @property
    def holds_for_new_trainings(self) -> bool | None:
        """Whether the interval over patients and trainings excludes 0; None where one seed leaves that unknown."""
        bounds = self.interval_trainings
        return None if bounds is None else not bounds.low <= 0 <= bounds.high

    @property
    def share_improved(self) -> float | None:
        """Patients that are better than with the baseline, by all patients."""
        return self.improved / self.patients if self.patients else None

    @property
    def evidence(self) -> str | None:
        """`better` or `worse` where test, interval, every seed and the interval over trainings agree; else None.

        With one seed nothing is known of new trainings, and nothing is asked of them.
        """
        if not self.significant or self.interval is None or self.interval.low <= 0 <= self.interval.high:
            return None
        if not self.seeds_agree or self.holds_for_new_trainings is False:
            return None
        return "better" if (self.interval.low > 0) != self.lower_is_better else "worse"


def declared_test(results: Results) -> str:
    """The test that the plan names before the run; the sign-flip test of the mean where it names none.

    Raises UsageError for an unknown name.
    """
    name = str(results.plan.get("test", "sign_flip"))
    if name not in TESTS:
        raise UsageError(f"{results.folder}/plan.toml: no test is named {name!r}; {nearest(name, list(TESTS))}")
    return name


def paired_rows(results: Results, metric: str, loss: str, baseline: str) -> "pd.DataFrame":
    """One row per pair: patient, case, fold, seed, `difference` = loss - baseline (NaN where either is undefined).

    A method without a network has no seed of its own: it stands beside every seed of the other, whose seed is kept.
    """
    return pairs_of(comparable_rows(results, metric), loss, baseline)


def comparable_rows(results: Results, metric: str) -> "pd.DataFrame":
    """The headline rows; of a metric that is best at zero, absolute values."""
    rows = headline_rows(results, metric)
    return rows.assign(penalised=rows["penalised"].abs()) if facts(metric).signed else rows


def pairs_of(rows: "pd.DataFrame", loss: str, baseline: str) -> "pd.DataFrame":
    """As `paired_rows`, from comparable rows."""
    tables = [rows.loc[rows["loss"] == name] for name in (loss, baseline)]
    keys = ["patient", "case", "fold", "seed"]
    seedless = [bool((table["method"] == DIFFERENCE_THRESHOLD).any()) for table in tables]
    if any(seedless):
        keys.remove("seed")
        tables = [
            table.drop(columns="seed") if without else table for table, without in zip(tables, seedless, strict=True)
        ]
    columns = dict.fromkeys([*keys, "seed", "penalised"])
    mine, theirs = (table[[name for name in columns if name in table]] for table in tables)
    pairs = mine.merge(theirs, on=keys, suffixes=("", "_baseline"))
    return pairs.assign(difference=pairs["penalised"] - pairs["penalised_baseline"])


@dataclass(frozen=True)
class Tested:
    """The p values of one loss against the baseline, the declared test's after Holm over `comparisons` too."""

    test: str
    p: float | None
    p_holm: float | None
    comparisons: int
    judges: bool


def difference(
    pairs: "pd.DataFrame", loss: str, baseline: str, metric: str, tested: Tested, pairing: str
) -> Difference:
    """The record of one loss from its pairs with the baseline."""
    values = patient_values(pairs, "difference")
    finite = pairs[np.isfinite(pairs["difference"])]
    lower = facts(metric).lower_is_better
    biserial = rank_biserial(-values if lower else values)
    tables = [block.values[0] for block in complete_blocks(pairs, ["difference"])] if "seed" in pairs else []
    return Difference(
        loss=loss,
        baseline=baseline,
        metric=metric,
        lower_is_better=lower,
        mean=mean(values),
        interval=mean_interval(values),
        interval_trainings=interval_over_trainings(tables, float(values.mean())) if len(values) else None,
        patients=len(values),
        pairs=len(finite),
        undefined=len(pairs) - len(finite),
        improved=int((values < 0).sum() if lower else (values > 0).sum()),
        worsened=int((values > 0).sum() if lower else (values < 0).sum()),
        rank_biserial=biserial if tested.judges else None,
        test=tested.test,
        p=tested.p,
        p_holm=tested.p_holm,
        comparisons=tested.comparisons,
        p_sign_flip=sign_flip_p(values) if tested.judges else None,
        p_signed_rank=signed_rank_p(values) if tested.judges else None,
        p_rank_sum=_unpaired(finite) if tested.judges else None,
        seed_means=seed_means(pairs, "difference"),
        pairing=pairing,
    )


def _unpaired(pairs: "pd.DataFrame") -> float | None:
    return rank_sum_p(patient_values(pairs, "penalised"), patient_values(pairs, "penalised_baseline"))


def pairing_of(results: Results, loss: str, baseline: str) -> tuple[str, str]:
    """What pairs two losses ("training" or "patient"), and a warning where trainings should be pairs but are not."""
    mine, theirs = (
        {(trial.fold, trial.seed): trial for trial in results.trials if trial.loss == name} for name in (loss, baseline)
    )
    if any(trial.method == DIFFERENCE_THRESHOLD for trial in (*mine.values(), *theirs.values())):
        return "patient", ""
    common = sorted(mine.keys() & theirs.keys())
    unproven = [key for key in common if not mine[key].is_pair_of(theirs[key])]
    if not unproven:
        return ("training" if common else "patient"), ""
    fold, seed = unproven[0]
    return "patient", (
        f"{loss} and {baseline} do not share weights and batches in {len(unproven)} of {len(common)} trainings "
        f"(first: fold {fold}, seed {seed}): only the patients are paired, the difference has more noise"
    )

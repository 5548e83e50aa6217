"""Paired differences between losses. The unit is the patient; no test and no side is chosen by looking at the data."""

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from lesionloss.bench.results import DIFFERENCE, Results
from lesionloss.bench.values import case_rows, facts, headline_rows, patient_values
from lesionloss.catalogue import nearest
from lesionloss.errors import UsageError
from lesionloss.evidence import ALPHA, Interval, bootstrap_interval, holm, mean, signed_rank_p, smallest_p
from lesionloss.randomness import numpy_generator
from lesionloss.summaries import Summary, seed_means, summarise
from lesionloss.wording import difference_sentence

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "Comparison",
    "Difference",
    "EmptyReference",
    "Interval",
    "Summary",
    "best_loss",
    "compare",
    "paired_rows",
    "summarise",
]


@dataclass(frozen=True)
class Difference:
    """A loss minus the baseline, patient by patient, on pairs of the same case, fold and seed.

    Metrics that are best at zero are compared by their absolute values; descriptions (a volume) are not tested.
    `pairing` is "training" where weights and batches are proven equal, "patient" where only the patients are the same.
    `improved` and `worsened` count patients; `undefined` counts pairs without a difference. `p` is the two-sided
    signed-rank p, `p_holm` the same after Holm over `comparisons` losses. Infinite distances are charged the diagonal.
    """

    loss: str
    baseline: str
    metric: str
    lower_is_better: bool
    mean: float | None
    interval: Interval | None
    patients: int
    pairs: int
    undefined: int
    improved: int
    worsened: int
    p: float | None
    p_holm: float | None
    comparisons: int
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
    def evidence(self) -> str | None:
        """`better` or `worse` where test, interval of the mean and every seed agree; else None."""
        if not self.significant or self.interval is None or self.interval.low <= 0 <= self.interval.high:
            return None
        if not self.seeds_agree:
            return None
        return "better" if (self.interval.low > 0) != self.lower_is_better else "worse"

    @property
    def sentence(self) -> str:
        return difference_sentence(self)


@dataclass(frozen=True)
class EmptyReference:
    """A loss on the held-out cases without lesions: how many predictions stayed empty, as they should."""

    loss: str
    cases: int
    predictions: int
    correct_empty: int


@dataclass(frozen=True)
class Comparison:
    """All losses in one metric, their differences from the baseline, and what a reader has to be warned of."""

    metric: str
    unit: str
    lower_is_better: bool
    baseline: str
    summaries: tuple[Summary, ...]
    differences: tuple[Difference, ...]
    empty_references: tuple[EmptyReference, ...]
    warnings: tuple[str, ...]
    failed: int
    missing: int


def compare(results: Results, metric: str = "dice", baseline: str | None = None) -> Comparison:
    """Every loss against the baseline (the plan's, unless another is named), paired by case, fold and seed.

    Raises UsageError for a metric that was not scored or a baseline that was not run, with the nearest known name.
    """
    baseline = _known_loss(results, baseline if baseline is not None else results.baseline_loss)
    summaries = summarise(results, metric)
    others = [loss for loss in results.losses if loss != baseline]
    pairs = {loss: paired_rows(results, metric, loss, baseline) for loss in others}
    tested = facts(metric).judges
    ps = {loss: signed_rank_p(patient_values(table, "difference")) if tested else None for loss, table in pairs.items()}
    corrected = holm(ps)
    proofs = {loss: _pairing(results, loss, baseline) for loss in others}
    return Comparison(
        metric=metric,
        unit=next((summary.unit for summary in summaries if summary.unit), ""),
        lower_is_better=facts(metric).lower_is_better,
        baseline=baseline,
        summaries=summaries,
        differences=tuple(
            _difference(pairs[loss], loss, baseline, metric, ps, corrected, proofs[loss][0]) for loss in others
        ),
        empty_references=_empty_references(results, metric),
        warnings=tuple(warning for _, warning in proofs.values() if warning),
        failed=len(results.failed),
        missing=len(results.missing),
    )


def _known_loss(results: Results, text: str) -> str:
    """The loss as the run writes it; blanks don't matter."""
    for loss in results.losses:
        if "".join(loss.split()) == "".join(text.split()):
            return loss
    raise UsageError(f"no loss {text!r} in {results.folder}; {nearest(text, list(results.losses))}")


def paired_rows(results: Results, metric: str, loss: str, baseline: str) -> "pd.DataFrame":
    """One row per pair: patient, case, fold, seed, `difference` = loss - baseline (NaN where either is undefined).

    A method without a network has no seed of its own: it stands beside every seed of the other, whose seed is kept.
    """
    rows = headline_rows(results, metric)
    if facts(metric).signed:
        rows = rows.assign(penalised=rows["penalised"].abs())
    tables = [rows.loc[rows["loss"] == name] for name in (loss, baseline)]
    keys = ["patient", "case", "fold", "seed"]
    seedless = [bool((table["method"] == DIFFERENCE).any()) for table in tables]
    if any(seedless):
        keys.remove("seed")
        tables = [
            table.drop(columns="seed") if without else table for table, without in zip(tables, seedless, strict=True)
        ]
    columns = dict.fromkeys([*keys, "seed", "penalised"])
    mine, theirs = (table[[name for name in columns if name in table]] for table in tables)
    pairs = mine.merge(theirs, on=keys, suffixes=("", "_baseline"))
    return pairs.assign(difference=pairs["penalised"] - pairs["penalised_baseline"])


def _difference(
    pairs: "pd.DataFrame",
    loss: str,
    baseline: str,
    metric: str,
    ps: dict[str, float | None],
    corrected: dict[str, float | None],
    pairing: str,
) -> Difference:
    values = patient_values(pairs, "difference")
    lower = facts(metric).lower_is_better
    return Difference(
        loss=loss,
        baseline=baseline,
        metric=metric,
        lower_is_better=lower,
        mean=mean(values),
        interval=bootstrap_interval(values, numpy_generator("bootstrap", "difference", metric, loss, baseline)),
        patients=len(values),
        pairs=int(np.isfinite(pairs["difference"]).sum()),
        undefined=int((~np.isfinite(pairs["difference"])).sum()),
        improved=int((values < 0).sum() if lower else (values > 0).sum()),
        worsened=int((values > 0).sum() if lower else (values < 0).sum()),
        p=ps[loss],
        p_holm=corrected[loss],
        comparisons=sum(p is not None for p in ps.values()),
        seed_means=seed_means(pairs, "difference"),
        pairing=pairing,
    )


def _pairing(results: Results, loss: str, baseline: str) -> tuple[str, str]:
    """What pairs two losses ("training" or "patient"), and a warning where trainings should be pairs but are not."""
    mine, theirs = (
        {(trial.fold, trial.seed): trial for trial in results.trials if trial.loss == name} for name in (loss, baseline)
    )
    if any(trial.method == DIFFERENCE for trial in (*mine.values(), *theirs.values())):
        return "patient", ""
    common = sorted(mine.keys() & theirs.keys())
    unproven = [key for key in common if mine[key].pairing != theirs[key].pairing or not all(mine[key].pairing)]
    if not unproven:
        return ("training" if common else "patient"), ""
    fold, seed = unproven[0]
    return "patient", (
        f"{loss} and {baseline} do not share weights and batches in {len(unproven)} of {len(common)} trainings "
        f"(first: fold {fold}, seed {seed}): only the patients are paired, the difference has more noise"
    )


def _empty_references(results: Results, metric: str) -> tuple[EmptyReference, ...]:
    rows = case_rows(results, metric)
    rows = rows[rows["status"].isin(["ref_empty", "both_empty"])]
    return tuple(
        EmptyReference(
            loss=loss,
            cases=int(part["case"].nunique()),
            predictions=len(part),
            correct_empty=int((part["status"] == "both_empty").sum()),
        )
        for loss in results.losses
        if len(part := rows[rows["loss"] == loss])
    )


def best_loss(results: Results, metric: str) -> str | None:
    """The loss that is better than every other one by the paired test, Holm over all pairs of losses; usually None.

    All pairs are corrected for, so that picking the best by looking at the means is paid for.
    """
    if not facts(metric).judges:
        return None
    lower = facts(metric).lower_is_better
    pairs = list(combinations(results.losses, 2))
    values = {pair: patient_values(paired_rows(results, metric, *pair), "difference") for pair in pairs}
    corrected = holm({repr(pair): signed_rank_p(difference) for pair, difference in values.items()})
    wins = dict.fromkeys(results.losses, 0)
    for pair, difference in values.items():
        p = corrected[repr(pair)]
        if p is not None and p < ALPHA and difference.mean() != 0:
            wins[pair[0] if (difference.mean() > 0) != lower else pair[1]] += 1
    winners = [loss for loss, count in wins.items() if count == len(results.losses) - 1 and count > 0]
    return winners[0] if winners else None

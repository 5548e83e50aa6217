"""All losses of a run in one metric: means, paired differences, ranks, seed-to-seed variability, and warnings."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from lesionloss.core.catalogue import nearest
from lesionloss.core.errors import UsageError, expect_type
from lesionloss.runs.metric_scores import MetricScores
from lesionloss.runs.results import Results
from lesionloss.statistics.complete_blocks import loss_table
from lesionloss.statistics.evidence import ALPHA, holm
from lesionloss.statistics.paired_differences import (
    TESTS,
    CorrectedP,
    PairedDifference,
    paired_difference,
    paired_differences,
    paired_rows,
    pairing_of,
)
from lesionloss.statistics.ranks import LossRank, rank_losses
from lesionloss.statistics.seed_variability import SeedVariability, measure_seed_variability
from lesionloss.statistics.summaries import LossSummary, summarise
from lesionloss.statistics.variance_components import VarianceComponent, estimate_components


@dataclass(frozen=True)
class EmptyReference:
    """A loss on the held-out cases without lesions: how many predictions are empty, as they should be."""

    loss: str
    cases: int
    predictions: int
    correct_empty: int


@dataclass(frozen=True)
class Comparison:
    """All losses in one metric, their differences from the baseline, and warnings for the reader.

    `ranks` is empty and `seed_variability` None if no value of the metric is better; `components` is empty if fewer
    than two patients have complete scores.
    """

    metric: str
    unit: str
    lower_is_better: bool
    baseline: str
    summaries: tuple[LossSummary, ...]
    differences: tuple[PairedDifference, ...]
    ranks: tuple[LossRank, ...]
    seed_variability: SeedVariability | None
    components: tuple[VarianceComponent, ...]
    empty_references: tuple[EmptyReference, ...]
    warnings: tuple[str, ...]
    failed: int
    missing: int


def compare(results: Results, metric: str = "dice", baseline: str | None = None) -> Comparison:
    """Compare every loss with the baseline, paired by case, fold and seed.

    Args:
        results: A run, from `lesionloss.load`.
        metric: A metric that was scored.
        baseline: The loss to compare with; the plan's baseline loss if None.

    Returns:
        Means, paired differences, ranks, seed-to-seed variability and variance components.

    Raises:
        UsageError: The metric was not scored or the baseline was not run; the message has the nearest known name.
    """
    expect_type(results, Results, "results", "pass lesionloss.load(folder)")
    return compare_losses(with_baseline(results.metric_scores(metric), baseline))


def with_baseline(scores: MetricScores, baseline: str | None) -> MetricScores:
    """The scores with another baseline loss, or with the plan's if None; blanks in the name do not matter.

    Raises:
        UsageError: No such loss was run; the message has the nearest known name.
    """
    text = scores.baseline if baseline is None else baseline
    for loss in scores.losses:
        if "".join(loss.split()) == "".join(text.split()):
            return scores if loss == scores.baseline else replace(scores, baseline=loss)
    raise UsageError(f"no loss {text!r} in {scores.folder}; {nearest(text, list(scores.losses))}")


def compare_losses(scores: MetricScores) -> Comparison:
    """Compare every loss with the baseline of the scores.

    Args:
        scores: What `Results.metric_scores` gives.

    Returns:
        Means, paired differences, ranks, seed-to-seed variability and variance components.
    """
    summaries = summarise(scores)
    others = [loss for loss in scores.losses if loss != scores.baseline]
    pairings = {loss: pairing_of(scores, loss, scores.baseline) for loss in others}
    return Comparison(
        metric=scores.metric,
        unit=next((summary.unit for summary in summaries if summary.unit), ""),
        lower_is_better=scores.facts.lower_is_better,
        baseline=scores.baseline,
        summaries=summaries,
        differences=paired_differences(scores, {loss: pairing for loss, (pairing, _) in pairings.items()}),
        ranks=rank_losses(scores),
        seed_variability=measure_seed_variability(scores),
        components=estimate_components(scores),
        empty_references=_empty_references(scores),
        warnings=tuple(warning for _, warning in pairings.values() if warning),
        failed=len(scores.failed),
        missing=len(scores.missing),
    )


def _empty_references(scores: MetricScores) -> tuple[EmptyReference, ...]:
    rows = scores.without_lesions
    return tuple(
        EmptyReference(
            loss=loss,
            cases=int(part["case"].nunique()),
            predictions=len(part),
            correct_empty=int((part["status"] == "both_empty").sum()),
        )
        for loss in scores.losses
        if len(part := rows[rows["loss"] == loss])
    )


def best_loss(scores: MetricScores) -> str | None:
    """The loss with evidence against every other loss; usually there is none.

    Holm's correction is over all pairs of losses, because the best one is picked by looking at the means.

    Args:
        scores: What `Results.metric_scores` gives.

    Returns:
        The loss, or None.
    """
    if not scores.facts.has_direction:
        return None
    pairs = list(combinations(scores.losses, 2))
    values = patient_differences(scores, pairs)
    ps = {repr(pair): TESTS[scores.test](values[pair]) for pair in pairs}
    corrected = holm(ps)

    def beats(loss: str, pair: tuple[str, str]) -> bool:
        tested = CorrectedP(scores.test, ps[repr(pair)], corrected[repr(pair)], len(pairs))
        found = paired_difference(paired_rows(scores, *pair), pair, scores, tested, "").evidence
        return found == ("better" if loss == pair[0] else "worse")

    def is_best(loss: str) -> bool:
        own = [pair for pair in pairs if loss in pair]
        ps_of_own = [corrected[repr(pair)] for pair in own]
        if not own or not all(p is not None and p < ALPHA for p in ps_of_own):
            return False  # the full record of a pair takes long: only if all corrected p values are small
        return all(beats(loss, pair) for pair in own)

    return next((loss for loss in scores.losses if is_best(loss)), None)


def patient_differences(
    scores: MetricScores, pairs: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], NDArray[np.float64]]:
    """The patients' differences (n,) of each pair of losses, as from `paired_rows`, from one table of all losses."""
    import pandas as pd

    table = loss_table(scores.comparable, scores.losses, scores.untrained)
    known = [(number, pair) for number, pair in enumerate(pairs) if all(loss in table for loss in pair)]
    if not known:
        return {pair: np.empty(0) for pair in pairs}
    differences = pd.DataFrame({number: table[one] - table[other] for number, (one, other) in known})
    finite = differences.where(np.isfinite(differences))
    means = finite.groupby([table["patient"], table["case"]]).mean().groupby(level="patient").mean()
    found = {pair: means[number].dropna().to_numpy(dtype=np.float64) for number, pair in known}
    return {pair: found.get(pair, np.empty(0)) for pair in pairs}

"""All losses of a run in one metric: means, paired differences, ranks, seed-to-seed variability, and warnings."""

from collections import Counter
from dataclasses import dataclass, replace

from lesionloss.core.catalogue import nearest
from lesionloss.core.errors import UsageError, expect_type
from lesionloss.runs.metric_scores import MetricScores
from lesionloss.runs.results import Results
from lesionloss.statistics.evidence import ALPHA
from lesionloss.statistics.never_marked import never_marked
from lesionloss.statistics.paired_differences import paired_differences
from lesionloss.statistics.pairs import machines_warning, pairing_of
from lesionloss.statistics.ranks import LossRank, rank_losses
from lesionloss.statistics.seed_variability import SeedVariability, measure_seed_variability
from lesionloss.statistics.summaries import LossSummary, summarise
from lesionloss.statistics.variance_components import VarianceComponent, estimate_components
from lesionloss.statistics.verdicts import PairedDifference

LOOKS = 0.01  # what all interim looks together may spend


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

    `ended` of `planned` trials ended well; `failed_of` counts the failed ones of each loss that has any. `level` is
    5 %, or what an interim look may use. `ranks` is empty and `seed_variability` None if no value of the metric is
    better; `components` is empty if fewer than two patients have complete scores.
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
    ended: int
    planned: int
    failed: int
    missing: int
    failed_of: tuple[tuple[str, int], ...]
    level: float

    @property
    def interim(self) -> bool:
        """Whether planned trials did not run yet."""
        return self.missing > 0


def compare(
    results: Results, metric: str = "dice", baseline: str | None = None, *, interim: bool = False
) -> Comparison:
    """Compare every loss with the baseline, paired by case, fold and seed.

    Args:
        results: A run, from `lesionloss.load`.
        metric: A metric that was scored.
        baseline: The loss to compare with; the plan's baseline loss if None.
        interim: Whether an unfinished run gets verdicts, at the level of an interim look.

    Returns:
        Means, paired differences, ranks, seed-to-seed variability and variance components.

    Raises:
        UsageError: The metric was not scored or the baseline was not run; the message has the nearest known name.
    """
    expect_type(results, Results, "results", "pass lesionloss.load(folder)")
    scores = with_baseline(results.metric_scores(metric), baseline)
    return compare_losses(scores, interim_level(scores) if interim else ALPHA)


def interim_level(scores: MetricScores) -> float:
    """The level of a look at an unfinished run: a spending function of O'Brien-Fleming type (Lan and DeMets 1983).

    All looks together may spend 1 %, so that the finished run keeps its 5 %, whether anybody looked or not.
    """
    from scipy import stats

    if not scores.missing:
        return ALPHA
    share = 1 - len(scores.missing) / scores.rules.trials
    return float(2 * stats.norm.sf(stats.norm.isf(LOOKS / 2) / share**0.5)) if share > 0 else 0.0


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


def compare_losses(scores: MetricScores, level: float = ALPHA) -> Comparison:
    """Compare every loss with the baseline of the scores.

    Args:
        scores: What `Results.metric_scores` gives.
        level: The level of all verdicts together.

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
        differences=paired_differences(scores, {loss: pairing for loss, (pairing, _) in pairings.items()}, level),
        ranks=rank_losses(scores, level),
        seed_variability=measure_seed_variability(scores),
        components=estimate_components(scores),
        empty_references=_empty_references(scores),
        warnings=tuple(
            dict.fromkeys(
                warning
                for warning in (
                    *_chosen_baseline(scores),
                    scores.rules.added,
                    *(warning for _, warning in pairings.values()),
                    machines_warning(scores),
                    *never_marked(scores),
                )
                if warning
            )
        ),
        ended=len(scores.trials),
        planned=scores.rules.trials,
        failed=len(scores.failed),
        missing=len(scores.missing),
        failed_of=tuple(Counter(trial.loss for trial in scores.failed).items()),
        level=level,
    )


def _chosen_baseline(scores: MetricScores) -> tuple[str, ...]:
    if scores.baseline == scores.rules.baseline:
        return ()
    return (
        f"the plan declares {scores.rules.baseline} as the baseline; {scores.baseline} was chosen after the run, so "
        "p values are corrected for all pairs of losses",
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

"""All losses of a run in one metric: means, differences, ranks, luck, and what a reader has to be warned of."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lesionloss.core.catalogue import nearest
from lesionloss.core.errors import UsageError
from lesionloss.runs.results import DIFFERENCE_THRESHOLD, Results
from lesionloss.runs.values import case_rows, facts, patient_values
from lesionloss.statistics.complete_blocks import loss_table
from lesionloss.statistics.differences import (
    TESTS,
    Difference,
    Tested,
    comparable_rows,
    declared_test,
    difference,
    pairing_of,
    pairs_of,
)
from lesionloss.statistics.evidence import ALPHA, holm
from lesionloss.statistics.ranks import Rank, ranks
from lesionloss.statistics.seed_variability import Luck, luck_of_the_seed
from lesionloss.statistics.summaries import Summary, summarise
from lesionloss.statistics.variance_components import Component, components

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class EmptyReference:
    """A loss on the held-out cases without lesions: how many predictions stayed empty, as they should."""

    loss: str
    cases: int
    predictions: int
    correct_empty: int


@dataclass(frozen=True)
class Comparison:
    """All losses in one metric, their differences from the baseline, and what a reader has to be warned of.

    `ranks` is empty and `luck` None where the metric describes and does not judge; `components` is empty where fewer
    than two patients have complete scores.
    """

    metric: str
    unit: str
    lower_is_better: bool
    baseline: str
    summaries: tuple[Summary, ...]
    differences: tuple[Difference, ...]
    ranks: tuple[Rank, ...]
    luck: Luck | None
    components: tuple[Component, ...]
    empty_references: tuple[EmptyReference, ...]
    warnings: tuple[str, ...]
    failed: int
    missing: int


def compare(results: Results, metric: str = "dice", baseline: str | None = None) -> Comparison:
    """Every loss against the baseline (the plan's, unless another is named), paired by case, fold and seed.

    Raises UsageError for a metric that was not scored or a baseline that was not run, with the nearest known name.
    """
    baseline = known_loss(results, baseline if baseline is not None else results.baseline_loss)
    summaries = summarise(results, metric)
    proofs = {loss: pairing_of(results, loss, baseline) for loss in results.losses if loss != baseline}
    return Comparison(
        metric=metric,
        unit=next((summary.unit for summary in summaries if summary.unit), ""),
        lower_is_better=facts(metric).lower_is_better,
        baseline=baseline,
        summaries=summaries,
        differences=_differences(results, metric, baseline, {loss: pairing for loss, (pairing, _) in proofs.items()}),
        ranks=ranks(results, metric),
        luck=luck_of_the_seed(results, metric),
        components=components(results, metric),
        empty_references=_empty_references(results, metric),
        warnings=tuple(warning for _, warning in proofs.values() if warning),
        failed=len(results.failed),
        missing=len(results.missing),
    )


def known_loss(results: Results, text: str) -> str:
    """The loss as the run writes it; blanks don't matter. Raises UsageError with the nearest one."""
    for loss in results.losses:
        if "".join(loss.split()) == "".join(text.split()):
            return loss
    raise UsageError(f"no loss {text!r} in {results.folder}; {nearest(text, list(results.losses))}")


def _differences(results: Results, metric: str, baseline: str, pairings: dict[str, str]) -> tuple[Difference, ...]:
    rows = comparable_rows(results, metric)
    pairs = {loss: pairs_of(rows, loss, baseline) for loss in pairings}
    test, judges = declared_test(results), facts(metric).judges
    ps = {loss: TESTS[test](patient_values(table, "difference")) if judges else None for loss, table in pairs.items()}
    corrected = holm(ps)
    count = sum(p is not None for p in ps.values())
    tested = {loss: Tested(test, ps[loss], corrected[loss], count, judges) for loss in pairings}
    return tuple(
        difference(pairs[loss], loss, baseline, metric, tested[loss], pairing) for loss, pairing in pairings.items()
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
    """The loss with evidence against every other one, Holm over all pairs of losses; usually None.

    All pairs are corrected for, so that picking the best by looking at the means is paid for.
    """
    if not facts(metric).judges:
        return None
    rows: pd.DataFrame = comparable_rows(results, metric)
    name = declared_test(results)
    pairs = list(combinations(results.losses, 2))
    values = _patient_differences(rows, results.losses, pairs)
    ps = {repr(pair): TESTS[name](values[pair]) for pair in pairs}
    corrected = holm(ps)

    def beats(loss: str, pair: tuple[str, str]) -> bool:
        tested = Tested(name, ps[repr(pair)], corrected[repr(pair)], len(pairs), judges=True)
        found = difference(pairs_of(rows, *pair), *pair, metric, tested, "").evidence
        return found == ("better" if loss == pair[0] else "worse")

    def is_best(loss: str) -> bool:
        own = [pair for pair in pairs if loss in pair]
        ps_of_own = [corrected[repr(pair)] for pair in own]
        if not own or not all(p is not None and p < ALPHA for p in ps_of_own):
            return False  # the whole record of a pair takes long: only where the corrected p values are all small
        return all(beats(loss, pair) for pair in own)

    return next((loss for loss in results.losses if is_best(loss)), None)


def _patient_differences(
    rows: "pd.DataFrame", losses: Sequence[str], pairs: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], NDArray[np.float64]]:
    """For each pair of losses what `patient_values` gives of its `pairs_of`, from one table of all losses."""
    import pandas as pd

    seedless = {str(loss) for loss in rows.loc[rows["method"] == DIFFERENCE_THRESHOLD, "loss"]}
    table = loss_table(rows, losses, [loss for loss in losses if loss in seedless])
    known = [(number, pair) for number, pair in enumerate(pairs) if all(loss in table for loss in pair)]
    if not known:
        return {pair: np.empty(0) for pair in pairs}
    differences = pd.DataFrame({number: table[one] - table[other] for number, (one, other) in known})
    finite = differences.where(np.isfinite(differences))
    means = finite.groupby([table["patient"], table["case"]]).mean().groupby(level="patient").mean()
    found = {pair: means[number].dropna().to_numpy(dtype=np.float64) for number, pair in known}
    return {pair: found.get(pair, np.empty(0)) for pair in pairs}

"""Whether the verdicts depend on what was decided about empty cases and about the threshold."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from lesionloss.core.number_text import listed, number, quoted
from lesionloss.report.probability_maps import THRESHOLDS, MapCounts
from lesionloss.runs.metric_scores import MetricScores
from lesionloss.statistics.evidence import ALPHA
from lesionloss.statistics.paired_differences import paired_differences

if TYPE_CHECKING:
    import pandas as pd

AROUND = 0.2  # thresholds up to this distance from the chosen one
LEFT_OUT = "if empty predictions are left out"
COUNTED = "if cases without lesions count (1 or 0)"
COUNTED_DISTANCE = "if cases without lesions count (0 or the diagonal)"


def sensitivity_sentence(scores: MetricScores, maps: Sequence[MapCounts] = (), *, level: float = ALPHA) -> str:
    """One sentence on the verdicts under other policies for empty cases and at other thresholds.

    Args:
        scores: The scores of the metric.
        maps: The counts of all probability maps; empty: nothing is said of thresholds.
        level: The level of the verdicts.

    Returns:
        The sentence; empty where there are no verdicts, or nothing that could change them.
    """
    own = _verdicts(scores, level)
    if not own:
        return ""
    policies, thresholds = other_policies(scores), other_thresholds(scores, maps)
    changes: dict[tuple[str, str], list[str]] = {}
    for condition, other in (policies | thresholds).items():
        for loss, verdict in _verdicts(other, level).items():
            if verdict != own.get(loss, verdict):
                changes.setdefault((loss, verdict), []).append(condition)
    what = []
    if policies:
        what.append(f"under {('both', 'all three')[len(policies) - 1]} policies for empty cases")
    if thresholds:
        first, last = (condition.removeprefix("at ") for condition in (min(thresholds), max(thresholds)))
        what.append(f"at thresholds from {first} to {last}")
    if not what:
        return ""
    if changes:
        found = (f"{quoted(loss)} is {verdict} {listed(where)}" for (loss, verdict), where in changes.items())
        return f"The verdicts are not the same {listed(what)}: {'; '.join(found)}."
    return f"The verdicts are the same {listed(what)}."


def _verdicts(scores: MetricScores, level: float) -> dict[str, str]:
    others = {loss: "" for loss in scores.losses if loss != scores.baseline}
    return {d.loss: d.verdict for d in paired_differences(scores, others, level) if not d.unanswered}


def other_policies(scores: MetricScores) -> dict[str, MetricScores]:
    """The scores under the other policies for empty cases, of those that change anything."""
    found, rows = {}, scores.rows
    empty = rows["status"] == "pred_empty"
    if (empty & np.isfinite(rows["penalised"])).any():
        found[LEFT_OUT] = replace(scores, rows=rows.assign(penalised=rows["penalised"].mask(empty)))
    cases = scores.without_lesions
    if scores.facts.needs_lesions and scores.worst is not None and len(cases):
        best = 0.0 if scores.facts.lower_is_better else 1.0
        counted = cases.assign(penalised=np.where(cases["status"] == "both_empty", best, scores.worst))
        found[COUNTED_DISTANCE if scores.facts.lower_is_better else COUNTED] = _with_rows(scores, rows, counted)
    return found


def _with_rows(scores: MetricScores, *tables: "pd.DataFrame") -> MetricScores:
    import pandas as pd

    return replace(scores, rows=pd.concat(tables, ignore_index=True))


def other_thresholds(scores: MetricScores, maps: Sequence[MapCounts]) -> dict[str, MetricScores]:
    """The scores at thresholds around that of the run; empty unless they can be counted from the maps of all trials."""
    rows = scores.rows
    trained = ~rows["loss"].isin(scores.untrained)
    used = {trial.threshold for trial in scores.trials if trial.loss not in scores.untrained}
    chosen = [place for place, each in enumerate(THRESHOLDS) if used == {each}]
    counts = {(each.loss, each.case, each.seed): each.over_thresholds.dice for each in maps}
    keys = [*zip(*(rows.loc[trained, name] for name in ("loss", "case", "seed")), strict=True)]
    if scores.metric != "dice" or scores.rules.repeats > 1 or not (chosen and keys and counts.keys() >= set(keys)):
        return {}
    table = np.stack([counts[key] for key in keys])
    if not np.allclose(table[:, chosen[0]], rows.loc[trained, "value"], atol=1e-5, equal_nan=True):
        return {}  # the scored masks are not those of a threshold, as with several classes
    found = {}
    for place, threshold in enumerate(THRESHOLDS.tolist()):
        if place not in chosen and abs(threshold - THRESHOLDS[chosen[0]]) <= AROUND + 1e-9:
            values = rows["penalised"].copy()
            values[trained] = table[:, place]
            found[f"at {number(threshold, 2)}"] = replace(scores, rows=rows.assign(penalised=values))
    return found

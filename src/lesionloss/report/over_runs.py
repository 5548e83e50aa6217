"""What several runs show together, as the joint page and its table have it."""

from collections.abc import Sequence
from typing import Any

from lesionloss.core.number_text import decimals_for
from lesionloss.report.figure_tables import CsvRows, CsvTable, bound_values
from lesionloss.report.number_html import bounds, count_text, number_text, p_value
from lesionloss.runs.metric_facts import metric_facts
from lesionloss.statistics.across_runs import AcrossRuns

OVER_RUNS = (
    *("metric", "loss", "baseline", "runs", "mean", "low", "high", "sd_between_runs", "p", "p_holm"),
    *("mean_rank", "friedman_p", "critical_difference"),
)


def over_runs_context(each: AcrossRuns, path: str) -> dict[str, Any]:
    """One metric for the page: a row per loss with its pooled difference and mean rank, and Friedman's test."""
    decimals = decimals_for(d.mean for d in each.differences)
    cells: dict[str, dict[str, Any]] = {}
    for n, d in enumerate(each.differences):
        own = f"{path}.differences.{n}"
        cells[d.loss] = {
            "mean": number_text(d.mean, f"{own}.mean", decimals, sign=True),
            "interval": bounds(d.interval, f"{own}.interval", decimals, sign=True),
            "between": number_text(d.between, f"{own}.between", decimals),
            "p": p_value(d.p_holm, f"{own}.p_holm"),
            "runs": count_text(d.runs, f"{own}.runs"),
        }
    friedman, ranks = None, each.ranks
    if ranks is not None:
        for n, (loss, rank) in enumerate(zip(ranks.losses, ranks.mean_ranks, strict=True)):
            cells.setdefault(loss, {})["rank"] = number_text(rank, f"{path}.ranks.mean_ranks.{n}", 2)
        critical = number_text(ranks.critical_difference, f"{path}.ranks.critical_difference", 2)
        friedman = p_value(ranks.p, f"{path}.ranks.p"), critical
    title = metric_facts(each.metric).title
    return {"title": title, "baseline": each.baseline, "rows": cells, "friedman": friedman, "runs": each.runs}


def over_runs_table(pooled: Sequence[AcrossRuns]) -> CsvTable:
    """One row per metric and loss."""
    rows: CsvRows = []
    for each in pooled:
        ranks = dict(zip(each.ranks.losses, each.ranks.mean_ranks, strict=True)) if each.ranks else {}
        of_ranks = (each.ranks.p, each.ranks.critical_difference) if each.ranks else (None, None)
        known = {d.loss: d for d in each.differences}
        for loss in dict.fromkeys([*ranks, *known]):
            d = known.get(loss)
            own = (d.runs, d.mean, *bound_values(d.interval), d.between, d.p, d.p_holm) if d else (None,) * 7
            rows.append((each.metric, loss, each.baseline, *own, ranks.get(loss), *of_ranks))
    return OVER_RUNS, rows

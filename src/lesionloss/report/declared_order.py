"""Several primary metrics in a declared order: the next one counts for a loss only if all before it are decided."""

from collections.abc import Sequence

from lesionloss.core.number_text import listed, quoted
from lesionloss.runs.metric_facts import metric_facts
from lesionloss.statistics import Comparison


def confirmed(ordered: Sequence[Comparison]) -> dict[str, tuple[str, ...]]:
    """For each loss its verdicts in the metrics that count: all up to the first undecided one.

    Args:
        ordered: The comparisons of the primary metrics, in the declared order.
    """
    found: dict[str, tuple[str, ...]] = {d.loss: () for d in ordered[0].differences} if ordered else {}
    for place, comparison in enumerate(ordered):
        for d in comparison.differences:
            if d.decided and len(found.get(d.loss, ())) == place:
                found[d.loss] += (d.verdict,)
    return found


def order_sentence(ordered: Sequence[Comparison]) -> str:
    """What is confirmed in which of several primary metrics; empty for one metric, or where nothing can be decided."""
    if len(ordered) < 2 or all(d.unanswered for d in ordered[0].differences):
        return ""
    titles, counts = [metric_facts(each.metric).title for each in ordered], confirmed(ordered)
    parts = [f"Primary metrics in the declared order: {', then '.join(titles)}."]
    for known in range(len(ordered), -1, -1):
        losses = [
            f"{quoted(loss)} ({', '.join(verdicts)})" if verdicts else quoted(loss)
            for loss, verdicts in counts.items()
            if len(verdicts) == known
        ]
        where = "in all" if known == len(ordered) else f"only in {listed(titles[:known])}" if known else "in none"
        if losses:
            parts.append(f"Confirmed {where}: {listed(losses)}.")
    return " ".join(parts)

"""The answer in two sentences: who scored best and whether that is evidence, and how large the luck of the seed is."""

from collections.abc import Sequence

from lesionloss.core.number_text import decimals_for, listed, number, plural, probability, quoted, unit_text
from lesionloss.report.wording import luck_sentence
from lesionloss.runs.results import DIFFERENCE_THRESHOLD
from lesionloss.runs.values import facts
from lesionloss.statistics import Comparison, Difference, Summary


def answer(comparison: Comparison, *, primary: bool) -> tuple[str, str]:
    """Two sentences that say no more than the statistics do; `primary`: the metric is the one that the plan named."""
    return _what_was_found(comparison, primary=primary), _how_large_is_luck(comparison)


def charged(summary: Summary) -> float | None:
    """The mean that ranks a loss: misses charged."""
    return summary.penalised_mean


def best_first(comparison: Comparison) -> list[Summary]:
    """Losses that have a score, the best mean first; those of equal means in the plan's order."""
    known = facts(comparison.metric)

    def badness(summary: Summary) -> float:
        value = charged(summary) or 0.0
        return abs(value) if known.signed else value if known.lower_is_better else -value

    return sorted((s for s in comparison.summaries if charged(s) is not None), key=badness)


def _what_was_found(c: Comparison, *, primary: bool) -> str:
    title = facts(c.metric).title + ("" if primary else " (not the metric that the plan named)")
    compared = [d for d in c.differences if d.patients]
    if not compared:
        return (
            f"No other loss was scored on the patients of {quoted(c.baseline)}: in {title} there is nothing to compare."
        )
    patients = plural(max(d.patients for d in compared), "patient")
    if not facts(c.metric).judges:
        return f"On {patients}, {title} describes the losses; no value of it is better than another."
    start = _who_scored_best(c, title)
    if not any(d.can_be_shown for d in compared):
        return f"{start}; with {patients} no test can show a difference."
    best = best_first(c)[0].loss
    return f"{start}{';' if best == c.baseline else ':'} {_what_is_proven(compared, best, patients)}."


def _who_scored_best(c: Comparison, title: str) -> str:
    ordered = best_first(c)
    best, decimals = ordered[0], decimals_for(charged(s) for s in ordered)
    way = "nearest to 0" if facts(c.metric).signed else "lowest" if c.lower_is_better else "highest"
    unit = f" {unit_text(c.unit)}" if c.unit else ""
    values = {s.loss: f"{number(charged(s), decimals)}{unit}" for s in ordered}
    if best.loss == c.baseline:
        runner = ordered[1]
        second = f", {values[best.loss]} against {values[runner.loss]} for {quoted(runner.loss)}"
        return f"{quoted(best.loss)}, the baseline, scored {way} in {title}{second}"
    against = f" against {values[c.baseline]} for {quoted(c.baseline)}" if c.baseline in values else ""
    return f"{quoted(best.loss)} scored {way} in {title}, {values[best.loss]}{against}"


def _what_is_proven(compared: Sequence[Difference], best: str, patients: str) -> str:
    """Of the best loss first, then of the others."""
    of_best = next((d for d in compared if d.loss == best), None)
    others = [d for d in compared if d.loss != best]
    worse = [quoted(d.loss) for d in others if d.evidence == "worse"]
    better = [quoted(d.loss) for d in others if d.evidence == "better"]
    parts = []
    if of_best is not None and of_best.evidence == "better":
        corrected = " after Holm" if of_best.comparisons > 1 else ""
        parts.append(f"better in {of_best.improved} of {patients} ({probability(of_best.p_holm)}{corrected})")
    elif of_best is not None:
        parts.append("no evidence that it is better")
    if better:
        too = ", too" if of_best is not None and of_best.evidence == "better" else ""
        parts.append(f"{listed(better)} {_was(better)} better{too}")
    if worse:
        parts.append(f"{listed(worse)} {_was(worse)} worse")
    undecided = [quoted(d.loss) for d in others if not d.evidence]
    if undecided and not parts:
        parts.append("no evidence that any other is worse")
    elif undecided and (better or worse or (of_best is not None and of_best.evidence)):
        parts.append(f"no evidence on {undecided[0] if len(undecided) == 1 else 'the others'}")
    return "; ".join(parts)


def _was(names: Sequence[str]) -> str:
    return "was" if len(names) == 1 else "were"


def _how_large_is_luck(c: Comparison) -> str:
    trained = {s.loss: s for s in c.summaries if s.method != DIFFERENCE_THRESHOLD and charged(s) is not None}
    if not trained:
        return "No trained network has a score."
    ordered = [s for s in best_first(c) if s.loss in trained]
    against = trained.get(c.baseline)
    if len(ordered) < 2 or against is None:
        return "One trained loss alone can't be told from the luck of its seed."
    best = ordered[0]
    other = ordered[1] if best.loss == c.baseline else against
    gap = abs((charged(best) or 0.0) - (charged(other) or 0.0))
    spreads = [s.seed_sd for s in trained.values() if s.seed_sd is not None]
    if not spreads:
        return "With one seed each, how much of the differences is the luck of the seed is unknown."
    luck = max(spreads)
    size = "smaller" if gap < luck else "larger"
    same = best is best_first(c)[0]
    which = "That difference" if same else f"The difference between {quoted(best.loss)} and {quoted(other.loss)}"
    sentence = f"{which} is {size} than the spread between seeds (standard deviation up to {_amount(luck, c)})."
    return sentence + (f" {luck_sentence(c.luck)}" if c.luck else "")


def _amount(value: float, c: Comparison) -> str:
    """A difference, at the decimals of the means unless it would read as zero."""
    decimals = decimals_for(charged(s) for s in c.summaries)
    small = value and not number(value, decimals).strip(".0")
    unit = f" {unit_text(c.unit)}" if c.unit else ""
    return f"{number(value, decimals_for([value]) if small else decimals)}{unit}"

"""The answer of a run in two parts: the best loss with the evidence for it, and the seed-to-seed variability."""

from collections.abc import Sequence

from lesionloss.core.number_text import decimals_for, listed, number, plural, probability, quoted, unit_text
from lesionloss.report.wording import seed_variability_sentence
from lesionloss.runs.metric_facts import metric_facts
from lesionloss.runs.results import DIFFERENCE_THRESHOLD
from lesionloss.statistics import Comparison, LossSummary, PairedDifference


def answer(comparison: Comparison, *, primary: bool) -> tuple[str, str]:
    """Which loss is best and what the evidence is; how large the seed-to-seed variability is.

    Args:
        comparison: All losses in one metric.
        primary: Whether this is the plan's primary metric.
    """
    return _evidence(comparison, primary=primary), _variability(comparison)


def best_first(comparison: Comparison) -> list[LossSummary]:
    """Losses with a score, the best penalised mean first; equal means in the plan's order."""
    facts = metric_facts(comparison.metric)
    scored = [summary for summary in comparison.summaries if summary.penalised_mean is not None]
    return sorted(scored, key=lambda summary: facts.badness(summary.penalised_mean or 0.0))


def _evidence(c: Comparison, *, primary: bool) -> str:
    facts = metric_facts(c.metric)
    title = facts.title + ("" if primary else " (not the primary metric of the plan)")
    compared = [d for d in c.differences if d.patients]
    if not compared:
        return (
            f"No other loss was scored on the patients of {quoted(c.baseline)}, so there is nothing to compare in "
            f"{title}."
        )
    patients = plural(max(d.patients for d in compared), "patient")
    if not facts.has_direction:
        return f"{title} is a description, on {patients}: no value of it is better than another."
    start = _best_loss(c, title)
    if not any(d.can_be_shown for d in compared):
        return f"{start}. With {patients} no test can show a difference."
    return f"{start}. {' '.join(_test_sentences(compared, best_first(c)[0].loss, patients))}"


def _best_loss(c: Comparison, title: str) -> str:
    ordered = best_first(c)
    best, decimals = ordered[0], decimals_for(s.penalised_mean for s in ordered)
    unit = f" {unit_text(c.unit)}" if c.unit else ""
    values = {s.loss: f"{number(s.penalised_mean, decimals)}{unit}" for s in ordered}
    is_baseline = best.loss == c.baseline
    other = ordered[1].loss if is_baseline else c.baseline
    against = f", against {values[other]} for {quoted(other)}" if other in values else ""
    who = f"{quoted(best.loss)}, the baseline," if is_baseline else quoted(best.loss)
    superlative = {"higher": "highest", "lower": "lowest", "nearer 0": "nearest to 0"}[metric_facts(c.metric).direction]
    return f"{who} scored {superlative} in {title}: {values[best.loss]}{against}"


def _test_sentences(compared: Sequence[PairedDifference], best: str, patients: str) -> list[str]:
    """What the tests say: the best loss first, then the others."""
    of_best = next((d for d in compared if d.loss == best), None)
    others = [d for d in compared if d.loss != best]
    better, worse, undecided = (
        [quoted(d.loss) for d in others if d.evidence == evidence] for evidence in ("better", "worse", None)
    )
    found = []
    if of_best is not None and of_best.evidence == "better":
        corrected = " after Holm" if of_best.comparisons > 1 else ""
        found.append(f"It was better in {of_best.improved} of {patients} ({probability(of_best.p_holm)}{corrected}).")
    elif of_best is not None:
        found.append("There is no evidence that it is better.")
    if better:
        too = ", too" if of_best is not None and of_best.evidence == "better" else ""
        found.append(f"{listed(better)} {_was(better)} better{too}.")
    if worse:
        found.append(f"{listed(worse)} {_was(worse)} worse.")
    if undecided and not found:
        found.append("There is no evidence that any other loss is worse.")
    elif undecided and (better or worse or (of_best is not None and of_best.evidence)):
        found.append(
            f"For {undecided[0] if len(undecided) == 1 else 'the others'} there is no evidence of a difference."
        )
    return found


def _was(names: Sequence[str]) -> str:
    return "was" if len(names) == 1 else "were"


def _variability(c: Comparison) -> str:
    trained = {s.loss: s for s in best_first(c) if s.method != DIFFERENCE_THRESHOLD}
    if not trained:
        return "No trained network has a score."
    ordered = list(trained.values())
    baseline = trained.get(c.baseline)
    if len(ordered) < 2 or baseline is None:
        return "With one trained loss, there is no difference to compare with the seed-to-seed variability."
    spreads = [s.seed_sd for s in ordered if s.seed_sd is not None]
    if not spreads:
        return "With one seed for each loss, the seed-to-seed variability is unknown."
    best = ordered[0]
    other = ordered[1] if best.loss == c.baseline else baseline
    gap = abs((best.penalised_mean or 0.0) - (other.penalised_mean or 0.0))
    size = "smaller" if gap < max(spreads) else "larger"
    is_answer = best is best_first(c)[0]
    which = "This difference" if is_answer else f"The difference of {quoted(best.loss)} and {quoted(other.loss)}"
    amount = _amount(max(spreads), c)
    sentence = f"{which} is {size} than the seed-to-seed variability (standard deviation up to {amount})."
    return sentence + (f" {seed_variability_sentence(c.seed_variability)}" if c.seed_variability else "")


def _amount(value: float, c: Comparison) -> str:
    """A difference with the decimals of the means, or more if it would be printed as zero."""
    decimals = decimals_for(s.penalised_mean for s in c.summaries)
    small = value and not number(value, decimals).strip(".0")
    unit = f" {unit_text(c.unit)}" if c.unit else ""
    return f"{number(value, decimals_for([value]) if small else decimals)}{unit}"

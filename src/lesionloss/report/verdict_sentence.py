"""The verdict of a run in one sentence, and why there is none."""

from collections.abc import Sequence

from lesionloss.core.number_text import listed, plural, quoted
from lesionloss.runs.metric_facts import metric_facts
from lesionloss.statistics import Comparison, PairedDifference

MOST_NAMES = 3
# Why there is no verdict on any loss, as the end of "No verdict: ...".
WHY_NONE = {
    "one seed": "with one seed in a fold, the effect of a loss cannot be separated from chance",
    "two folds": "two folds say almost nothing about new training sets",
    "one split": "the patients were divided only once, so nothing is known about other training sets",
    "seeds unknown": "the seeds of the training runs are not known",
    "failed folds": "all trials of a fold failed",
    "missing folds": "predictions of a fold are missing",
}


def verdict_sentence(comparison: Comparison, *, primary: bool, noun: str = "loss") -> str:
    """Which losses are better or worse than the baseline, equivalent to it, or undecided; else why nobody can say.

    Args:
        comparison: All losses in one metric.
        primary: Whether this is the plan's primary metric.
        noun: What is compared: losses, or methods.
    """
    c = comparison
    title = titled(c, primary=primary)
    compared = [d for d in c.differences if d.patients]
    if not compared:
        return nothing_to_compare(c, title)
    if not metric_facts(c.metric).has_direction:
        return is_description(title, compared)
    if all(d.interval is None for d in compared):
        return "No verdict: with 1 patient there is no interval and no test."
    if "interim" in {d.unanswered for d in compared}:
        return f"No verdict yet: only {c.ended} of {plural(c.planned, 'trial')} have ended."
    if all(d.unanswered for d in compared):
        return f"No verdict: {listed(dict.fromkeys(WHY_NONE[d.unanswered] for d in compared))}."
    if len(compared) == 1:
        return _of_one(compared[0], title)
    groups = {verdict: [d for d in compared if d.verdict == verdict] for verdict in _SAID}
    better, undecided = groups["better"], groups["undecided"]
    if len(undecided) == len(compared):
        return f"Undecided: no {noun} is shown to be better or worse than {quoted(c.baseline)} in {title}."
    start = f"{_who(better, noun)} better than" if better else f"No {noun} is shown to be better than"
    rest = [f"{_who(of_it, noun)} {_word(of_it)}" for verdict, of_it in groups.items() if of_it and verdict != "better"]
    if none := [d for d in compared if d.unanswered]:
        rest.append(f"there is no verdict on {_names(none, noun)} ({WHY_NONE[none[0].unanswered]})")
    end = f"{';' if better else ':'} {'; '.join(rest)}" if rest else ""
    return f"{start} {quoted(c.baseline)} in {title}{end}."


_SAID = ("better", "equivalent", "worse", "undecided")


def titled(c: Comparison, *, primary: bool) -> str:
    """The title of the metric; with a remark if it is not the primary one, and if absolute values are compared."""
    facts = metric_facts(c.metric)
    remark = "" if primary else " (not the primary metric of the plan)"
    return facts.title + remark + (" (mean absolute value)" if facts.signed else "")


def nothing_to_compare(c: Comparison, title: str) -> str:
    """Why no loss can be compared with the baseline."""
    if c.differences:
        return f"No patient has a defined value of {quoted(c.baseline)} and of another loss in {title}."
    return f"There is no loss beside {quoted(c.baseline)}, so there is nothing to compare in {title}."


def is_description(title: str, compared: Sequence[PairedDifference]) -> str:
    """Why a metric without a direction has no verdict."""
    patients = plural(max(d.patients for d in compared), "patient")
    return f"{title} is a description, on {patients}: no value of it is better than another."


def _of_one(d: PairedDifference, title: str) -> str:
    if d.verdict == "undecided":
        return f"Undecided: it is not shown whether {quoted(d.loss)} or {quoted(d.baseline)} is better in {title}."
    than = "to" if d.verdict == "equivalent" else "than"
    within = f", within ±{_margin(d)}" if d.verdict == "equivalent" else ""
    return f"{quoted(d.loss)} is {d.verdict} {than} {quoted(d.baseline)} in {title}{within}."


def _who(of_it: Sequence[PairedDifference], noun: str) -> str:
    return f"{_names(of_it, noun)} {'is' if len(of_it) == 1 else 'are'}"


def _names(of_it: Sequence[PairedDifference], noun: str) -> str:
    """Few names; of more, their number."""
    return listed(quoted(d.loss) for d in of_it) if len(of_it) <= MOST_NAMES else plural(len(of_it), noun)


def _word(of_it: Sequence[PairedDifference]) -> str:
    d = of_it[0]
    return f"{d.verdict} (within ±{_margin(d)})" if d.verdict == "equivalent" else d.verdict


def _margin(d: PairedDifference) -> str:
    return f"{d.margin:g}".removeprefix("0")

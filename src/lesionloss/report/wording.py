"""Sentences for statistical results. They state only what the numbers support."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lesionloss.core.number_text import decimals_for, interval, number, percent, plural, probability, quoted

if TYPE_CHECKING:
    from lesionloss.statistics import (
        PairedDifference,
        SeedVariability,
        VarianceComponent,
    )

TEST_TITLES = {"sign_flip": "sign-flip test", "signed_rank": "Wilcoxon signed-rank test"}
INTERVAL_METHOD = (
    "The 95 % interval of a mean holds all values that a two-sided sign-flip test over patients does not reject. "
    "Where there are too few patients for that, it is the interval of Student's t."
)
VERDICT_METHOD = (
    "A verdict is on losses: it holds for new patients, new training sets of this cohort and new seeds. Its p is the "
    "larger one of the test over patients and of Student's t over the means of the folds, corrected by Holm over all "
    "planned comparisons (by Bonferroni for several primary metrics in an order). It needs two seeds, three folds (or "
    "repeats of two) and a finished run."
)


COLLECT_SEEDS = "collect predictions of two seeds or more of each"


def difference_sentence(difference: "PairedDifference") -> str:
    """What one paired difference shows, without a claim that the data do not support."""
    d = difference
    if d.mean is None:
        return (
            f"No patient has a defined value of both {quoted(d.loss)} and {quoted(d.baseline)}, so they cannot be "
            "compared."
        )
    if d.interval is None:
        return f"With {plural(d.patients, 'patient')} there is no interval and no test."
    if d.unanswered:
        return _without_verdict(d)
    if d.decision == "bayesian":
        return _of_chances(d)
    if d.verdict == "equivalent":
        return f"Equivalent to {quoted(d.baseline)}: {_size(d)} lies within the margin of ±{_margin(d)}."
    if d.decided:
        share = f"better in {d.improved} of {plural(d.patients, 'patient')}"
        return f"{d.verdict.capitalize()} than {quoted(d.baseline)}: {_size(d)}, {share}, {_p(d)}.{_failures(d)}"
    return _undecided(d)


def _without_verdict(d: "PairedDifference") -> str:
    if d.unanswered == "not tested":
        return f"Mean difference {_size(d)}. No value of this metric is better than another, so nothing is tested."
    if d.unanswered == "interim":
        return f"Interim: {_size(d)}. There is no verdict before all trials have ended."
    if d.unanswered == "failed folds":
        return f"All trials of a fold failed, so there is no verdict. In the other folds: {_size(d)}."
    if d.unanswered == "missing folds":
        return f"One of the two has no prediction in a fold, so there is no verdict. In the other folds: {_size(d)}."
    if d.unanswered == "seeds unknown":
        end = f"the seeds of the training runs are not known; {COLLECT_SEEDS}"
    elif d.unanswered == "one split":
        end = "the patients were divided only once, and nothing is known about other training sets"
    elif d.unanswered == "two folds":
        end = "two folds say almost nothing about new training sets; take five folds or more, or repeats"
    else:
        end = f"run at least {plural(needed, 'seed')}" if (needed := _seeds_needed(d)) else _MANY_SEEDS
    return f"{_networks(d)}; whether the losses do is unknown: {end}."


_MANY_SEEDS = "run at least 20 seeds, or more folds"


def _networks(d: "PairedDifference") -> str:
    """What is known of these networks; with one seed or one split, nothing more."""
    bounds = interval(d.interval, _decimals(d), sign=True)
    size = f"{number(d.mean, _decimals(d), sign=True)} {bounds}"
    if not d.can_be_shown:
        return f"With {_patients_and_comparisons(d)} no test can show that these networks differ ({size})"
    corrected = f"{probability(d.p_patients_holm)}{f' after {d.correction}' if d.comparisons > 1 else ''}"
    if d.networks_differ:
        return f"These networks differ on new patients ({size}, {corrected})"
    return f"No evidence that these networks differ on new patients ({size}, {corrected})"


def _undecided(d: "PairedDifference") -> str:
    if not d.can_be_shown:
        return f"Undecided: with {_patients_and_comparisons(d)} no test can reach p < .05. {_size(d)}."
    if d.improved == d.worsened == 0:
        return f"Undecided: equal in {plural(d.patients, 'patient')}."
    found = f"Undecided: {_size(d)}, {_p(d)}. Every value inside the interval remains possible."
    if d.not_inferior:
        found = f"Undecided, but not worse by {_margin(d)} or more: {_size(d)}, {_p(d)}."
    if d.networks_differ:
        found += (
            f" These networks differ on new patients ({_p_of(d.p_patients_holm, d)}), but with new training runs the "
            "difference may vanish."
        )
    return found


def _of_chances(d: "PairedDifference") -> str:
    if d.chances is None:
        return f"Undecided: {_size(d)}."
    c = d.chances
    sides = f"better {percent(c.better)}, equivalent {percent(c.equivalent)}, worse {percent(c.worse)}"
    start = f"{d.verdict.capitalize()}{' than' if d.verdict in ('better', 'worse') else ''}"
    against = f" {quoted(d.baseline)}" if d.verdict in ("better", "worse") else ""
    return f"{start}{against}: {sides} (posterior probabilities, margin {_margin(d)}); {_size(d)}."


def _failures(d: "PairedDifference") -> str:
    """A warning where failures too rare to be seen in so many patients could undo a verdict (the rule of three)."""
    if d.undone_by is None:
        return ""
    enough, unseen = map(percent, d.undone_by)
    better = d.verdict == "better"
    winner, failures = quoted(d.loss if better else d.baseline), d.failures[0 if better else 1]
    seen = f"{winner} failed on {failures} of {plural(d.patients, 'patient')}" if failures else f"{winner} never failed"
    more = "more " if failures else ""
    return f" {seen}, which leaves failures on up to {unseen} {more}possible; {enough} {more}would undo this."


def _seeds_needed(d: "PairedDifference") -> int | None:
    from lesionloss.statistics import seeds_needed

    return seeds_needed(d)


def _decimals(d: "PairedDifference") -> int:
    bounds = d.interval_new_training_runs or d.interval
    return decimals_for([d.mean] if bounds is None else [d.mean, bounds.low, bounds.high])


def _margin(d: "PairedDifference") -> str:
    return f"{d.margin:g}".removeprefix("0")


def _size(d: "PairedDifference") -> str:
    """The mean difference with the interval that decides."""
    decimals, bounds = _decimals(d), d.interval_new_training_runs or d.interval
    return f"{number(d.mean, decimals, sign=True)} {interval(bounds, decimals, sign=True)}"


def _p(d: "PairedDifference") -> str:
    return _p_of(d.p_holm, d)


def _p_of(p: float | None, d: "PairedDifference") -> str:
    return f"{probability(p)}{f' after {d.correction}' if d.comparisons > 1 else ''}"


def _patients_and_comparisons(d: "PairedDifference") -> str:
    many = f" and {d.comparisons} comparisons" if d.comparisons > 1 else ""
    return f"{plural(d.patients, 'patient')}{many}"


def seed_variability_sentence(variability: "SeedVariability") -> str:
    """How often another seed would give another best loss."""
    v = variability
    return (
        f"Two runs with one seed each would have different best losses {percent(v.winner_changes)} of the time "
        f"[{percent(v.interval.low)}, {percent(v.interval.high)}]."
    )


def source_words(source: str) -> str:
    """A source of variance as it is printed: `loss × patient`."""
    return source.replace(" x ", " × ")


def components_sentence(components: "Sequence[VarianceComponent]") -> str:
    """The sources of the variance of a score, the largest first; empty if nothing is known."""
    known = [(c.share, c.source) for c in components if c.share]
    if not known:
        return ""
    parts = [
        f"{source_words(source)} {percent(share)}"
        for share, source in sorted(known, key=lambda entry: -entry[0])
        if share >= 0.005
    ]
    unknown = [c.source for c in components if c.source == "seed" and c.share is None]
    end = ". With one seed, the share of the seed is unknown" if unknown else ""
    return f"Sources of the variance of a single score: {', '.join(parts)}{end}."

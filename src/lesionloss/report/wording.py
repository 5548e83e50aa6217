"""Sentences that say no more than the numbers do."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lesionloss.core.number_text import decimals_for, interval, number, percent, plural, probability, quoted

if TYPE_CHECKING:
    from lesionloss.statistics import Component, Difference, Luck, Outlook

TEST_TITLES = {"sign_flip": "sign-flip test", "signed_rank": "Wilcoxon signed-rank test"}
INTERVAL_METHOD = (
    "Intervals of means hold what a two-sided sign-flip test over patients does not reject at 5 % "
    "(with fewer than six patients: Student's t)."
)


def difference_sentence(difference: "Difference") -> str:
    """What one difference shows, in one sentence, without a claim that the test does not carry."""
    d = difference
    if d.mean is None:
        return f"{quoted(d.loss)} and {quoted(d.baseline)} have no patient in common: no comparison."
    patients = plural(d.patients, "patient")
    if d.interval is None:
        return f"With {patients} there is neither an interval nor a test."
    decimals = decimals_for([d.mean, d.interval.low, d.interval.high])
    size = f"{number(d.mean, decimals, sign=True)} {interval(d.interval, decimals, sign=True)}"
    if d.p is None:
        return f"Mean difference {size}; this metric describes and does not judge, so nothing is tested."
    if not d.can_be_shown:
        many = f" and {d.comparisons} comparisons" if d.comparisons > 1 else ""
        return f"With {patients}{many} no test can show a difference at 5 %; the mean difference is {size}."
    p = f"{probability(d.p_holm)}{' after Holm' if d.comparisons > 1 else ''}"
    if not d.significant:
        return f"No evidence of a difference ({size}, {p}); what the interval spans remains possible."
    if not d.seeds_agree:
        return f"The patients show a difference ({size}, {p}) but the seeds disagree on its side: it may be luck."
    if d.holds_for_new_trainings is False:
        undone = interval(d.interval_trainings, decimals, sign=True)
        return f"The patients show a difference ({size}, {p}) but other seeds could undo it ({undone}): it may be luck."
    if d.evidence is None:
        return f"The test finds a difference ({p}) that the mean does not confirm ({size}): look at the patients."
    share = f"better in {d.improved} of {patients}"
    luck = "; with one seed it may be the luck of one training" if len(d.seed_means) == 1 else ""
    return f"{d.evidence.capitalize()} than {quoted(d.baseline)}: {size}, {share}, {p}{luck}."


def verdict(difference: "Difference") -> str:
    """What a difference shows in two or three words, as its sentence says it at length."""
    d = difference
    if d.evidence is not None:
        return d.evidence
    if d.mean is None or d.interval is None:
        return "no pairs" if d.mean is None else "one patient"
    if d.p is None:
        return "not tested"
    if not d.can_be_shown:
        return "too few patients"
    return "may be luck" if d.significant else "no evidence"


def luck_sentence(luck: "Luck") -> str:
    """How often another seed would crown another loss."""
    return f"With one seed, the winner would change in {percent(luck.change)} of re-runs."


_SOURCES = {
    "loss": "the loss",
    "fold": "the fold",
    "patient": "the patient",
    "seed": "the seed",
    "rest": "the rest",
}


def components_sentence(components: "Sequence[Component]") -> str:
    """Where the spread comes from, the largest source first; empty where nothing is known."""
    known = [(c.share, c.source) for c in components if c.share is not None]
    if not known:
        return ""
    parts = [
        f"{_SOURCES.get(source, source.replace(' x ', ' × '))} {percent(share)}"
        for share, source in sorted(known, key=lambda entry: -entry[0])
        if share >= 0.005
    ]
    unknown = [c.source for c in components if c.source == "seed" and c.share is None]
    end = "; one seed cannot show its own share" if unknown else ""
    return f"Of the variance of a single score: {', '.join(parts)}{end}."


def outlook_sentences(outlook: "Outlook") -> tuple[str, str]:
    """What the run could have found and what the wanted difference needs: these trainings, then new ones."""
    o = outlook
    decimals = decimals_for([o.wanted, o.detectable_these_trainings])
    wanted, chance = number(o.wanted, decimals), percent(o.power)
    here = plural(o.design.patients, "patient")
    need = next((n for n in o.needs if n.seeds == o.design.seeds), None)
    enough = (
        f"{plural(need.these_trainings, 'patient')}" if need and need.these_trainings else "more than 100,000 patients"
    )
    these = (
        f"These trainings, new patients: {here} show {number(o.detectable_these_trainings, decimals)} "
        f"with {chance} power, {wanted} with {percent(o.power_these_trainings)}; {wanted} needs {enough}."
        if o.detectable_these_trainings is not None
        else f"These trainings, new patients: {here} cannot show any difference; {wanted} needs {enough}."
    )
    if o.detectable_new_trainings is None:
        return these, "New trainings: unknown with one seed per fold; add a second seed to the plan."
    several = [(n.seeds, n.new_trainings) for n in o.needs if n.new_trainings is not None]
    ways = [f"{plural(seeds, 'seed')} and {plural(patients, 'patient')}" for seeds, patients in several]
    needed = (
        f"needs {' or '.join(ways)}" if ways else "is out of reach with 20 seeds: the luck of the seed is too large"
    )
    return these, (
        f"New trainings too: {plural(o.design.seeds, 'seed')} show {number(o.detectable_new_trainings, decimals)} "
        f"with {chance} power, {wanted} with {percent(o.power_new_trainings)}; {wanted} {needed}."
    )

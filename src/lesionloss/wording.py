"""Numbers as papers print them (.612, 12.4) and sentences that say no more than the numbers do."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lesionloss.statistics import Component, Difference, Interval, Luck, Outlook

NOTHING = "–"
MINUS = "−"
_DECIMALS = ((0.002, 5), (0.02, 4), (1.0, 3), (10.0, 2), (1000.0, 1))


def decimals_for(values: Iterable[float | None]) -> int:
    """How many decimals numbers of this size deserve, one answer for all numbers of a column."""
    largest = max((abs(value) for value in values if value is not None), default=0.0) or 1.0
    return next((decimals for limit, decimals in _DECIMALS if largest <= limit), 0)


def number(value: float | None, decimals: int = 3, *, sign: bool = False) -> str:
    """`.612`, `−.030`, `1.000`, `12.4`; a dash for None. With `sign`, positive numbers carry a plus."""
    if value is None:
        return NOTHING
    text = f"{abs(value):.{decimals}f}"
    if text.startswith("0.") and decimals > 1:
        text = text[1:]
    if not text.strip(".0"):
        return text
    return (MINUS if value < 0 else "+" if sign else "") + text


def interval(bounds: "Interval | None", decimals: int = 3, *, sign: bool = False) -> str:
    """`[.58, .64]`; empty where there is none."""
    if bounds is None:
        return ""
    return f"[{number(bounds.low, decimals, sign=sign)}, {number(bounds.high, decimals, sign=sign)}]"


def probability(p: float | None) -> str:
    """`p = .031`, `p < .001`; `no test` for None."""
    if p is None:
        return "no test"
    return "p < .001" if p < 0.001 else f"p = {number(p)}"


def plural(count: int, noun: str) -> str:
    """`1 patient`, `2 patients`."""
    if count == 1:
        return f"1 {noun}"
    return f"{count} {noun[:-1] + 'ies' if noun.endswith('y') else noun + ('es' if noun.endswith('s') else 's')}"


def listed(words: Iterable[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    *rest, last = list(words)
    return f"{', '.join(rest)} and {last}" if rest else last


def quoted(name: str) -> str:
    """A name as it may stand in a sentence: in quotes where it has blanks."""
    return f"“{name}”" if " " in name else name


def unit_text(unit: str) -> str:
    """`mm³` for `mm3`."""
    return unit.replace("mm3", "mm³").replace("mm2", "mm²")


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


def luck_sentence(luck: "Luck") -> str:
    """How often another seed would crown another loss."""
    return f"With one seed, the winner would change in {percent(luck.change)} of re-runs."


def percent(share: float | None) -> str:
    """`41 %`; `< 1 %` and `> 99 %` where rounding would say never or always; a dash for None."""
    if share is None:
        return NOTHING
    if 0 < share < 0.01:
        return "< 1 %"
    return "> 99 %" if 0.99 < share < 1 else f"{100 * share:.0f} %"


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

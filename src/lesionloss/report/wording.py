"""Sentences for statistical results. They state only what the numbers support."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lesionloss.core.number_text import decimals_for, interval, number, percent, plural, probability, quoted

if TYPE_CHECKING:
    from lesionloss.statistics import PairedDifference, PowerAnalysis, SeedVariability, VarianceComponent

TEST_TITLES = {"sign_flip": "sign-flip test", "signed_rank": "Wilcoxon signed-rank test"}
INTERVAL_METHOD = (
    "The 95 % interval of a mean holds all values that a two-sided sign-flip test over patients does not reject. "
    "With fewer than six patients it is the interval of Student's t."
)
SEED_DEPENDENT = "depends on seed"


def difference_sentence(difference: "PairedDifference") -> str:
    """What one paired difference shows, without a claim that the test does not support."""
    d = difference
    if d.mean is None:
        return f"{quoted(d.loss)} and {quoted(d.baseline)} have no patient in common, so they cannot be compared."
    patients = plural(d.patients, "patient")
    if d.interval is None:
        return f"With {patients} there is no interval and no test."
    decimals = decimals_for([d.mean, d.interval.low, d.interval.high])
    size = f"{number(d.mean, decimals, sign=True)} {interval(d.interval, decimals, sign=True)}"
    if d.p is None:
        return f"Mean difference {size}. No value of this metric is better than another, so nothing is tested."
    if not d.can_be_shown:
        many = f" and {d.comparisons} comparisons" if d.comparisons > 1 else ""
        return f"With {patients}{many} no test can reach p < .05. The mean difference is {size}."
    p = f"{probability(d.p_holm)}{' after Holm' if d.comparisons > 1 else ''}"
    if not d.significant:
        return f"No evidence of a difference ({size}, {p}). Every value inside the interval remains possible."
    if not d.seeds_agree:
        return f"The test finds a difference ({size}, {p}), but its sign is not the same for every seed."
    if d.holds_for_new_training_runs is False:
        wider = interval(d.interval_new_training_runs, decimals, sign=True)
        return (
            f"The test finds a difference ({size}, {p}), but with new training runs the interval includes 0: {wider}."
        )
    if d.evidence is None:
        return (
            f"The test finds a difference ({p}) that the mean does not confirm ({size}). Look at the single patients."
        )
    share = f"better in {d.improved} of {patients}"
    only_one = " There is one seed, so this may hold for one training run only." if len(d.seed_means) == 1 else ""
    return f"{d.evidence.capitalize()} than {quoted(d.baseline)}: {size}, {share}, {p}.{only_one}"


def verdict(difference: "PairedDifference") -> str:
    """The sentence of a paired difference in two or three words."""
    d = difference
    if d.evidence is not None:
        return d.evidence
    if d.mean is None or d.interval is None:
        return "no pairs" if d.mean is None else "one patient"
    if d.p is None:
        return "not tested"
    if not d.can_be_shown:
        return "too few patients"
    return SEED_DEPENDENT if d.significant else "no evidence"


def seed_variability_sentence(variability: "SeedVariability") -> str:
    """How often another seed would give another best loss."""
    share = percent(variability.winner_changes)
    return f"Two runs with one seed each would have different best losses {share} of the time."


def source_words(source: str) -> str:
    """A source of variance as it is printed: `loss × patient`."""
    return source.replace(" x ", " × ")


def components_sentence(components: "Sequence[VarianceComponent]") -> str:
    """The sources of the variance of a score, the largest first; empty if nothing is known."""
    known = [(c.share, c.source) for c in components if c.share is not None]
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


def power_sentences(analysis: "PowerAnalysis") -> tuple[str, str]:
    """What the run can detect and what the given difference needs: for the same training runs, then for new ones."""
    a = analysis
    decimals = decimals_for([a.difference, a.detectable_same_training_runs])
    return _same_training_runs(a, decimals), _new_training_runs(a, decimals)


def _same_training_runs(a: "PowerAnalysis", decimals: int) -> str:
    start = f"Same training runs, new patients: with {plural(a.design.patients, 'patient')}"
    size = next((each for each in a.sample_sizes if each.seeds == a.design.seeds), None)
    needed = plural(size.same_training_runs, "patient") if size and size.same_training_runs else "over 100,000 patients"
    difference = number(a.difference, decimals)
    if a.detectable_same_training_runs is None:
        return f"{start}, no difference can be detected. A difference of {difference} needs {needed}."
    return (
        f"{start}, {number(a.detectable_same_training_runs, decimals)} is detected with {percent(a.power)} power and "
        f"{difference} with {percent(a.power_same_training_runs)}. A difference of {difference} needs {needed}."
    )


def _new_training_runs(a: "PowerAnalysis", decimals: int) -> str:
    if a.detectable_new_training_runs is None:
        return "New training runs too: unknown with one seed per fold; add a second seed to the plan."
    known = [(each.seeds, each.new_training_runs) for each in a.sample_sizes if each.new_training_runs is not None]
    options = [f"{plural(patients, 'patient')} with {plural(seeds, 'seed')}" for seeds, patients in known]
    difference = number(a.difference, decimals)
    needed = (
        f"needs {', or '.join(options)}"
        if options
        else "cannot be detected with 20 seeds: the seed-to-seed variability is too large"
    )
    return (
        f"New training runs too: with {plural(a.design.seeds, 'seed')}, "
        f"{number(a.detectable_new_training_runs, decimals)} is detected with {percent(a.power)} power and "
        f"{difference} with {percent(a.power_new_training_runs)}. A difference of {difference} {needed}."
    )

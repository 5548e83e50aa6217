"""Sentences for statistical results. They state only what the numbers support."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lesionloss.core.number_text import decimals_for, interval, number, percent, plural, probability, quoted

if TYPE_CHECKING:
    from lesionloss.statistics import (
        PairedDifference,
        PowerAnalysis,
        SeedVariability,
        StudyDesign,
        VarianceComponent,
    )

TEST_TITLES = {"sign_flip": "sign-flip test", "signed_rank": "Wilcoxon signed-rank test"}
INTERVAL_METHOD = (
    "The 95 % interval of a mean holds all values that a two-sided sign-flip test over patients does not reject. "
    "Where there are too few patients for that, it is the interval of Student's t."
)
VERDICT_METHOD = (
    "A verdict is on losses: it holds for new patients, new training sets and new seeds. Its p is the larger one of "
    "the test over patients and of Student's t over the means of the folds, corrected by Holm over all planned "
    "comparisons. It needs two seeds, three folds (or repeats of two) and a finished run."
)


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
        return (
            f"Equivalent to {quoted(d.baseline)}: {_size(d)} lies within the margin of "
            f"±{number(d.margin, _decimals(d))}."
        )
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
    if d.unanswered == "one split":
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
    corrected = f"{probability(d.p_patients_holm)}{' after Holm' if d.comparisons > 1 else ''}"
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
        found = f"Undecided, but not worse by {number(d.margin, _decimals(d))} or more: {_size(d)}, {_p(d)}."
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
    return f"{start}{against}: {sides} (posterior probabilities, margin {number(d.margin, _decimals(d))}); {_size(d)}."


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


def _size(d: "PairedDifference") -> str:
    """The mean difference with the interval that decides."""
    decimals, bounds = _decimals(d), d.interval_new_training_runs or d.interval
    return f"{number(d.mean, decimals, sign=True)} {interval(bounds, decimals, sign=True)}"


def _p(d: "PairedDifference") -> str:
    return _p_of(d.p_holm, d)


def _p_of(p: float | None, d: "PairedDifference") -> str:
    return f"{probability(p)}{' after Holm' if d.comparisons > 1 else ''}"


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


def design_sentence(design: "StudyDesign", losses: int) -> str:
    """What a design can show at best, before anything has run; empty where its number of patients is 0: unknown."""
    from lesionloss.statistics import detectable_at_best

    if losses < 2:
        return "verdicts: none, there is one loss"
    if design.seeds < 2:
        return "verdicts: none on the losses with one seed, only on these networks; give two seeds or more"
    if design.folds < 2:
        return "verdicts: none on the losses with one division of the patients; give folds"
    if design.folds == 2 and design.repeats == 1:
        return "verdicts: none on the losses with two folds; give five or more, or repeats"
    if not design.patients:
        return ""
    found = detectable_at_best(design, losses - 1)
    design_words = f"{plural(design.patients, 'patient')}, {plural(design.folds, 'fold')}"
    design_words += f", {design.repeats} repeats" if design.repeats > 1 else ""
    if found is None:
        return f"verdicts: none with {design_words} and {plural(losses - 1, 'comparison')}; take more patients"
    return (
        f"verdicts: with {design_words} and {plural(losses - 1, 'comparison')}, on a difference of "
        f"{number(found, 1)} standard deviations between patients or more (80 % power), if training sets and seeds "
        "add nothing; a pilot run and `lesionloss power` say what they add"
    )


def power_sentences(analysis: "PowerAnalysis") -> tuple[str, str]:
    """What the run can detect and what the given difference needs: of these networks, then a verdict on the losses."""
    a = analysis
    decimals = decimals_for([a.difference, a.detectable_same_training_runs])
    return _same_training_runs(a, decimals), _new_training_runs(a, decimals)


def _same_training_runs(a: "PowerAnalysis", decimals: int) -> str:
    start = f"These networks, new patients: with {plural(a.design.patients, 'patient')}"
    size = next((each for each in a.sample_sizes if each.seeds == a.design.seeds), None)
    needs = plural(size.same_training_runs, "patient") if size and size.same_training_runs else "over 100,000 patients"
    difference = number(a.difference, decimals)
    needed = f" A difference of {difference} needs {needs}." if size else ""
    if a.detectable_same_training_runs is None:
        return f"{start}, no difference can be detected.{needed}"
    return (
        f"{start}, {number(a.detectable_same_training_runs, decimals)} is detected with {percent(a.power)} power and "
        f"{difference} with {percent(a.power_same_training_runs)}.{needed}"
    )


def _new_training_runs(a: "PowerAnalysis", decimals: int) -> str:
    if a.spread.training_run is None:
        return "The losses: unknown with one seed per fold; add a second seed to the plan."
    if a.spread.training_set is None:
        return "The losses: unknown with one fold; the spread between training sets needs several."
    difference = number(a.difference, decimals)
    options = [
        f"{plural(each.new_training_runs, 'patient')} in {plural(a.design.folds, 'fold')} with {each.seeds} seeds"
        for each in a.sample_sizes
        if each.new_training_runs is not None
    ] + [
        f"{plural(each.folds, 'fold')} of these patients with {each.seeds} seeds"
        for each in a.sample_sizes
        if each.folds is not None
    ]
    needed = f"needs {', or '.join(options)}" if options else "cannot be found with these folds and up to 20 seeds"
    if a.power_new_training_runs is None and a.design.folds == 2 and a.design.repeats == 1:
        start = "The losses: two folds say almost nothing about new training sets."
        return f"{start} A difference of {difference} {needed}."
    design = f"{plural(a.design.folds, 'fold')} and {plural(a.design.seeds, 'seed')}"
    if a.detectable_new_training_runs is None:
        return f"The losses: with {design}, no difference can be found. A difference of {difference} {needed}."
    return (
        f"The losses: with {design}, {number(a.detectable_new_training_runs, decimals)} is found with "
        f"{percent(a.power)} power and {difference} with {percent(a.power_new_training_runs)}. A difference of "
        f"{difference} {needed}."
    )

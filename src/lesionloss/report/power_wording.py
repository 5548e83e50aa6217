"""Sentences about power: what a plan can show, what a run can detect, and what a difference needs."""

from typing import TYPE_CHECKING

from lesionloss.core.number_text import decimals_for, number, percent, plural

if TYPE_CHECKING:
    from lesionloss.statistics import PowerAnalysis, StudyDesign


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

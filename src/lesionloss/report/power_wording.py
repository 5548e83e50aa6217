"""Sentences about power: what a plan can show, what a run can detect, and what a difference needs."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING

from lesionloss.core.number_text import decimals_for, number, percent, plural

if TYPE_CHECKING:
    from lesionloss.statistics import PowerAnalysis, PowerNumbers, StudyDesign

    CountOf = Callable[[PowerNumbers], int | None]

RANGES = "Brackets: 90 % ranges, because the spread of a run is uncertain itself."


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
        f"add nothing. {_one_needs(design, losses)} A pilot run and `lesionloss power` say what they add"
    )


def _one_needs(design: "StudyDesign", losses: int) -> str:
    """The fewest folds that can show one standard deviation with the same patients."""
    from lesionloss.statistics import detectable_at_best

    for folds in range(3, design.patients + 1):
        found = detectable_at_best(replace(design, folds=folds), losses - 1)
        if found is not None and found <= 1:
            return f"One standard deviation needs {folds} folds and two seeds."
    return f"With {plural(design.patients, 'patient')} no number of folds can show one standard deviation."


def power_sentences(analysis: "PowerAnalysis") -> tuple[str, str]:
    """What the run can detect and what the given difference needs: of these networks, then a verdict on the losses."""
    a = analysis
    decimals = decimals_for([a.difference, a.detectable_same_training_runs])
    return _same_training_runs(a, decimals), _new_training_runs(a, decimals)


def _same_training_runs(a: "PowerAnalysis", decimals: int) -> str:
    start = f"These networks, new patients: with {plural(a.design.patients, 'patient')}"
    place = next(n for n, size in enumerate(a.sample_sizes) if size.seeds == a.design.seeds)
    needed = _counted(a, "patient", partial(_of_size, place, "same_training_runs"))
    needs = f"A difference of {number(a.difference, decimals)} needs {needed}."
    if a.detectable_same_training_runs is None:
        return f"{start}, no difference can be detected. {needs}"
    found = _measured(a, decimals, lambda numbers: numbers.detectable_same_training_runs)
    chance = _chance(a, lambda numbers: numbers.power_same_training_runs)
    detected = f"{found} is detected with {percent(a.power)} power and {number(a.difference, decimals)} with {chance}"
    return f"{start}, {detected}. {needs}"


def _new_training_runs(a: "PowerAnalysis", decimals: int) -> str:
    if a.spread.training_run is None and a.design.seeds > 1:
        return "The losses: unknown with one patient in every fold; the spread between training runs needs several."
    if a.spread.training_run is None:
        return "The losses: unknown with one seed per fold; add a second seed (`bench --extend` adds it to a run)."
    if a.spread.training_set is None:
        return "The losses: unknown with one fold; the spread between training sets needs several."
    needs = f"A difference of {number(a.difference, decimals)} {_needs(a)}."
    if a.power_new_training_runs is None and a.design.folds == 2 and a.design.repeats == 1:
        return f"The losses: two folds say almost nothing about new training sets. {needs}"
    design = f"{plural(a.design.folds, 'fold')} and {plural(a.design.seeds, 'seed')}"
    if a.detectable_new_training_runs is None:
        return f"The losses: with {design}, no difference can be found. {needs}"
    found = _measured(a, decimals, lambda numbers: numbers.detectable_new_training_runs)
    chance = _chance(a, lambda numbers: numbers.power_new_training_runs)
    return (
        f"The losses: with {design}, {found} is found with {percent(a.power)} power and "
        f"{number(a.difference, decimals)} with {chance}. {needs}"
    )


def _needs(a: "PowerAnalysis") -> str:
    options = _options(a, a, partial(_counted, a))
    if options:
        return f"needs {', or '.join(options)}"
    start = f"cannot be found with these patients or these folds and up to {a.sample_sizes[-1].seeds} seeds"
    best = _options(a, a.smallest_spread, lambda noun, count: plural(count(a.smallest_spread) or 0, noun))
    return f"{start}; if the spread is as small as the range allows, it needs {best[0]}" if best else start


def _options(a: "PowerAnalysis", numbers: "PowerNumbers", words: "Callable[[str, CountOf], str]") -> list[str]:
    """Designs that are enough, if the spread is that of `numbers`; more seeds only where they save a fifth."""
    found, has = [], a.design
    if numbers.seeds is not None:
        found.append(f"{words('seed', attrgetter('seeds'))} with these patients and folds")
    fewest_patients = fewest_folds = float("inf")
    for place, size in enumerate(numbers.sample_sizes):
        end = f"with {plural(size.seeds, 'seed')}"
        if size.new_training_runs and has.patients < size.new_training_runs < 0.8 * fewest_patients:
            fewest_patients = size.new_training_runs
            patients = words("patient", partial(_of_size, place, "new_training_runs"))
            found.append(f"{patients} in {plural(has.folds, 'fold')} {end}")
        if size.folds and has.folds < size.folds < 0.8 * fewest_folds:
            fewest_folds = size.folds
            found.append(f"{words('fold', partial(_of_size, place, 'folds'))} of these patients {end}")
    return found


def _of_size(place: int, name: str, numbers: "PowerNumbers") -> int | None:
    count: int | None = getattr(numbers.sample_sizes[place], name)
    return count


def _counted(a: "PowerAnalysis", noun: str, count: "CountOf") -> str:
    """`12 patients [8, 40]`; `never` where no number is enough."""
    point, *ends = (count(each) for each in (a, a.smallest_spread, a.largest_spread))
    low, high = ("never" if end is None else str(end) for end in ends)
    return f"{'never' if point is None else plural(point, noun)} [{low}, {high}]"


def _measured(a: "PowerAnalysis", decimals: int, value: "Callable[[PowerNumbers], float | None]") -> str:
    point, low, high = (number(value(each), decimals) for each in (a, a.smallest_spread, a.largest_spread))
    return f"{point} [{low}, {high}]"


def _chance(a: "PowerAnalysis", value: "Callable[[PowerNumbers], float | None]") -> str:
    point, high, low = (percent(value(each)) for each in (a, a.smallest_spread, a.largest_spread))
    return f"{point} [{low}, {high}]"

"""The answer of a run in two parts: the best loss with the verdicts, and what new training runs would change."""

from collections.abc import Sequence
from dataclasses import dataclass

from lesionloss.core.number_text import decimals_for, listed, number, plural, probability, quoted, unit_text
from lesionloss.report.verdict_sentence import is_description, nothing_to_compare, titled, verdict_sentence
from lesionloss.report.wording import COLLECT_SEEDS, difference_sentence, seed_variability_sentence
from lesionloss.runs.metric_facts import metric_facts
from lesionloss.runs.results import Results
from lesionloss.statistics import Comparison, PairedDifference, seeds_needed
from lesionloss.statistics.verdicts import NETWORKS_ONLY

MOST_NAMES = 4  # in the answer
SUPERLATIVES = {"higher": "highest", "lower": "lowest", "nearer 0": "nearest to 0"}


@dataclass(frozen=True)
class RunAnswer:
    """The verdict in one sentence, what stands beside it, and the answer as `lesionloss compare` gives it."""

    verdict: str
    beside: str
    headline: tuple[str, str]


def answer_of_run(results: Results, comparison: Comparison | None) -> RunAnswer:
    """The answer of a run from its first metric; None if no trial ended well."""
    if comparison is None:
        nothing = "No trial has ended well: there is nothing to compare yet."
        failed, missing = plural(len(results.failed), "trial"), plural(len(results.missing), "trial")
        beside = f"{failed} failed and {missing} did not run."
        return RunAnswer(nothing, beside, (nothing, beside))
    primary, noun = comparison.metric == results.primary_metric, str(results.collected.get("compares", "loss"))
    return RunAnswer(
        verdict_sentence(comparison, primary=primary, noun=noun),
        beside_the_verdict(comparison, primary=primary),
        answer(comparison, primary=primary),
    )


def answer(comparison: Comparison, *, primary: bool) -> tuple[str, str]:
    """Which loss is best, and what is known of the losses; what new training runs would change (may be empty).

    Every number is of the patients on which two losses are compared, and of the quantity that is tested.

    Args:
        comparison: All losses in one metric.
        primary: Whether this is the plan's primary metric.
    """
    c, title = comparison, titled(comparison, primary=primary)
    compared = [d for d in c.differences if d.patients]
    if not compared:
        return f"{nothing_to_compare(c, title)} {_failed(c) if c.differences else ''}".strip(), ""
    if not metric_facts(c.metric).has_direction:
        return is_description(title, compared), ""
    shown = _shown(c, compared)
    parts = [_interim(c), _highest(c, shown, title), *_verdicts(c, compared), _all_empty(c), _failed(c)]
    return " ".join(part for part in parts if part), _new_training_runs(c, shown)


def beside_the_verdict(comparison: Comparison, *, primary: bool) -> str:
    """What the answer says beside the verdicts: the best score, warnings, and what new training runs would change."""
    c, compared = comparison, [d for d in comparison.differences if d.patients]
    if not compared or not metric_facts(c.metric).has_direction:
        return _failed(c)
    shown = _shown(c, compared)
    parts = (
        _highest(c, shown, titled(c, primary=primary)),
        _only_networks(c, compared),
        _undone(compared),
        _all_empty(c),
        _failed(c),
        _new_training_runs(c, shown),
    )
    return " ".join(part for part in parts if part)


def _shown(c: Comparison, compared: Sequence[PairedDifference]) -> PairedDifference:
    """The difference of the best loss; of the second best one, if the baseline is the best."""
    places = {rank.loss: rank.rank for rank in c.ranks}
    of_losses = [d for d in compared if d.loss in places] or list(compared)
    return min(of_losses, key=lambda d: (places.get(d.loss, 0), -d.gain))


def _highest(c: Comparison, d: PairedDifference, title: str) -> str:
    facts, unit = metric_facts(c.metric), f" {unit_text(c.unit)}" if c.unit else ""
    decimals = decimals_for([d.loss_mean, d.baseline_mean])
    sides = [(d.loss, d.loss_mean), (d.baseline, d.baseline_mean)]
    if d.gain < 0:
        sides.reverse()
    (best, value), (other, less) = ((loss, f"{number(mean, decimals)}{unit}") for loss, mean in sides)
    who = f"{quoted(best)}, the baseline," if best == c.baseline else quoted(best)
    on = f"on the {plural(d.patients, 'patient')} of both"
    if d.gain == 0:
        return f"{quoted(d.loss)} and {quoted(d.baseline)} have the same mean {title}, {value}, {on}."
    superlative = SUPERLATIVES[facts.direction]
    return f"{who} scored {superlative} in {title}: {value}, against {less} for {quoted(other)}, {on}."


def _interim(c: Comparison) -> str:
    if not c.interim:
        return ""
    look = f" Verdicts are at the level of this look, {number(c.level, 5)}." if c.level < 0.05 else ""
    return f"Interim, {c.ended} of {plural(c.planned, 'trial')}.{look}"


def _all_empty(c: Comparison) -> str:
    """The losses that predicted nothing at all, in cases with lesions."""
    of_them = [quoted(s.loss) for s in c.summaries if s.predictions and s.empty_predictions == s.predictions]
    return f"All predictions of {listed(of_them)} are empty." if of_them else ""


def _failed(c: Comparison) -> str:
    if not c.failed_of:
        return ""
    return f"Failed trials: {listed(f'{count} of {quoted(loss)}' for loss, count in c.failed_of)}."


def _verdicts(c: Comparison, compared: Sequence[PairedDifference]) -> list[str]:
    """What can be said of the losses: verdicts, or why there are none."""
    if all(d.interval is None for d in compared):
        return ["With 1 patient there is no interval and no test."]
    if "interim" in {d.unanswered for d in compared}:
        return ["There are no verdicts before all trials have ended."]
    if networks := _only_networks(c, compared):
        return [networks]
    if len(compared) == 1:
        return [difference_sentence(compared[0])]
    found = []
    for verdict in ("better", "worse", "equivalent"):
        of_it = [d for d in compared if d.verdict == verdict]
        if of_it:
            losses = _losses([_with_p(d) for d in of_it])
            found.append(
                f"{'Equivalent to' if verdict == 'equivalent' else verdict.capitalize() + ' than'} "
                f"{quoted(c.baseline)}: {losses}."
            )
    found.append(_undone(compared))
    rest = [d for d in compared if not d.decided]
    if rest:
        who = "all losses" if len(rest) == len(compared) else _losses([quoted(d.loss) for d in rest])
        found.append(f"Undecided: {who}." if any(not d.unanswered for d in rest) else f"No verdict on {who}.")
    return found


def _only_networks(c: Comparison, compared: Sequence[PairedDifference]) -> str:
    """What is known of these networks where there can be no verdict on the losses; empty where there can."""
    reasons = {d.unanswered for d in compared}
    if len(reasons) > 1 or any(d.interval is None for d in compared):
        return ""
    one_seed = ("one seed left in a fold" if c.failed_of else "one seed", _seeds(compared))
    known = {
        "seeds unknown": ("seeds that are not known", COLLECT_SEEDS),
        "one seed": one_seed,
        "two folds": ("two folds", "take five or more, or repeats"),
        "one split": ("one division of the patients", "take folds"),
    }
    words = known.get(reasons.pop())
    return _networks(compared, *words) if words else ""


def _undone(compared: Sequence[PairedDifference]) -> str:
    """The verdicts that failures too rare to be seen could undo."""
    undone = [quoted(d.loss) for d in compared if d.undone_by]
    patients = plural(max(d.patients for d in compared), "patient")
    return f"Failures too rare to be seen in {patients} could undo the verdict on {_losses(undone)}." if undone else ""


def _losses(names: Sequence[str]) -> str:
    """Few names; of more, their number."""
    return listed(names) if len(names) <= MOST_NAMES else f"{len(names)} losses"


def _with_p(d: PairedDifference) -> str:
    if d.verdict == "equivalent" or d.decision == "bayesian":
        return quoted(d.loss)
    return f"{quoted(d.loss)} ({probability(d.p_holm)}{f' after {d.correction}' if d.comparisons > 1 else ''})"


def _networks(compared: Sequence[PairedDifference], with_what: str, need: str) -> str:
    """What is known where only these networks are known."""
    differing = [d for d in compared if d.networks_differ]
    if differing:
        losses = listed(f"{quoted(d.loss)} ({probability(d.p_patients_holm)})" for d in differing)
        start = f"These networks differ from those of {quoted(differing[0].baseline)} on new patients: {losses}"
    else:
        start = "There is no evidence that these networks differ on new patients"
    return f"{start}; whether the losses do is unknown with {with_what}: {need}."


def _seeds(compared: Sequence[PairedDifference]) -> str:
    """The fewest seeds that could lead to a verdict on any loss whose networks differ, else on any loss."""
    needed = [seeds_needed(d) for d in compared if d.networks_differ] or [seeds_needed(d) for d in compared]
    known = [count for count in needed if count is not None]
    return f"run at least {min(known)} seeds" if known else "run at least 20 seeds, or more folds"


def _new_training_runs(c: Comparison, d: PairedDifference) -> str:
    """The difference with its own standard error over training sets and seeds, and how often the winner changes."""
    found = [seed_variability_sentence(c.seed_variability)] if c.seed_variability else []
    if d.error is not None and d.mean is not None and d.unanswered not in NETWORKS_ONLY:
        unit = f" {unit_text(c.unit)}" if c.unit else ""
        decimals = decimals_for([d.mean, d.error])
        runs = f"{plural(d.folds, 'fold')} and {plural(d.seeds, 'seed')}"
        error = f"a standard error of {number(d.error, decimals)} ({runs})"
        size = f"{number(d.mean, decimals, sign=True)}{unit}"
        found.insert(0, f"Over training sets and seeds the difference is {size} with {error}.")
    return " ".join(found)

"""A plan to start from that fits a data set, as TOML text with the reason for each decision."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import tomli_w

from lesionloss.core.errors import UsageError
from lesionloss.core.number_text import plural
from lesionloss.data.checking.facts import DataFacts
from lesionloss.data.layouts.records import LayoutGroup
from lesionloss.data.preparation.recipe import PreparationRecipe

HEADS = (LayoutGroup.LONGITUDINAL, LayoutGroup.CROSS_SECTIONAL)
LOSSES = ("dice_ce", "dice", "cross_entropy", "hytver")
CONTEXT_MM = 12.0  # around a lesion on each side
LARGEST_SIDE = {2: 256, 3: 64}
MULTIPLE = {2: 16, 3: 8}  # of the sides that the network takes
NETWORK = {2: "unet2d(filters={filters})", 3: "unet3d(filters={filters})"}
BATCH = {2: 8, 3: 4}
DEFAULT_STEPS, FEWEST_STEPS, MOST_STEPS = 1000, 100, 50_000
TRAINING_SHARE = 0.6  # of the time; the rest is for preparing images, making batches and scoring


@dataclass(frozen=True)
class Choice:
    """A key of a plan, its value, and why."""

    key: str
    value: object
    why: str = ""


@dataclass(frozen=True)
class StartingPlan:
    """The choices that depend on the data or the time."""

    facts: DataFacts
    patch: tuple[int, ...]
    recipe: PreparationRecipe
    preparation_why: str
    filters: int
    seeds: tuple[int, ...] = (1, 2)
    losses: tuple[str, ...] = LOSSES
    steps: int = DEFAULT_STEPS
    steps_why: str = "a first try; lesionloss init --hours N chooses the number for the time you have"

    @property
    def folds(self) -> int:
        """Five, or as many as there are patients."""
        return min(5, self.facts.patients)


def plan_for(facts: DataFacts, device: str) -> StartingPlan:
    """Choose patch, preparation and network for a data set.

    Args:
        facts: The data set.
        device: cpu or cuda:N.

    Raises:
        UsageError: There are fewer than two patients.
    """
    if facts.patients < 2:
        raise UsageError(f"{facts.cohort.root}: one patient only; folds of a benchmark need two or more")
    recipe, why = _preparation(facts)
    return StartingPlan(facts, _patch(facts), recipe, why, 8 if device == "cpu" else 32)


def fit_hours(plan: StartingPlan, hours: float, seconds_of: Callable[[StartingPlan], float]) -> StartingPlan:
    """Choose the training steps, and fewer seeds and losses where time is short.

    Args:
        plan: The plan.
        hours: The time for all trials.
        seconds_of: Gives the seconds that all trials of a plan take.

    Raises:
        UsageError: The time is not enough for two losses and one seed.
    """
    rate = seconds_of(plan) / (plan.steps * len(plan.losses) * len(plan.seeds))
    budget = 3600 * hours * TRAINING_SHARE
    for seeds, losses in ((plan.seeds, plan.losses), ((1,), plan.losses), ((1,), plan.losses[:2])):
        steps = int(budget / (rate * len(seeds) * len(losses)))
        if steps >= FEWEST_STEPS:
            why = f"as many as fit {hours:g} h on this machine, {100 * TRAINING_SHARE:.0f} % of it for training steps"
            steps = min(MOST_STEPS, _two_digits(steps))
            return replace(plan, seeds=seeds, losses=losses, steps=steps, steps_why=why)
    least = rate * 2 * FEWEST_STEPS / (3600 * TRAINING_SHARE)
    raise UsageError(
        f"--hours {hours:g}: two losses, one seed and {FEWEST_STEPS} steps need about {least:.2g} h on this machine; "
        "give more time, or start without --hours and choose smaller patches"
    )


def _two_digits(number: int) -> int:
    unit = int(10 ** max(0, len(str(number)) - 2))
    return number // unit * unit


def _preparation(facts: DataFacts) -> tuple[PreparationRecipe, str]:
    """The steps of preparation, and why."""
    masks = sum(case.brain_mask for case in facts.read)
    if facts.cohort.layout.group in HEADS or masks:
        steps, brain = ["orient", "brain", "crop", "normalise"], "auto"
        why = "heads: the brain mask, else a simple one that keeps parts of the skull (see prepare --brain-from)"
    else:
        steps, brain = ["orient", "brain", "normalise"], "whole"
        why = 'no brain mask anywhere: the whole image counts; for heads say brain.source = "auto"'
    if facts.axes == 2:
        steps.remove("orient")
    resample: dict[str, object] = {}
    if facts.spacings_differ:
        steps.insert(steps.index("brain") + 1, "resample")
        resample = {"spacing_mm": [round(edge, 3) for edge in facts.spacing_mm]}
        why += "; voxel sizes differ, so all cases get the median one"
    if facts.visits > 1:
        steps.append("subtract")
        why += "; two visits: their difference is a channel"
    return PreparationRecipe.model_validate({"steps": steps, "brain": {"source": brain}, "resample": resample}), why


def _patch(facts: DataFacts) -> tuple[int, ...]:
    """Sides that hold most lesions and some of their surroundings, as the network and the images allow."""
    diameters = facts.lesion_diameters_mm() or (0.0,)
    wanted_mm = float(np.percentile(diameters, 95)) + 2 * CONTEXT_MM
    multiple, largest = MULTIPLE[facts.axes], LARGEST_SIDE[facts.axes]
    return tuple(
        max(multiple, min(largest, math.ceil(wanted_mm / edge / multiple) * multiple, side // multiple * multiple))
        for edge, side in zip(facts.spacing_mm, facts.sides, strict=True)
    )


def plan_text(plan: StartingPlan, name: str, source: str) -> str:
    """Return the plan as TOML with comments.

    Args:
        plan: The choices.
        name: The name of the plan.
        source: The folder of the data.
    """
    sections = {"": _design(plan, name), "data": _data(plan, source), **_prepare(plan), "network": _network(plan)}
    sections["training"] = _training(plan)
    lines = [_comment(line) for line in _seen(plan.facts)]
    for title, choices in sections.items():
        lines += ["", f"[{title}]"] if title else [""]
        for choice in choices:
            lines += [_comment(choice.why)] if choice.why else []
            lines.append(f"{choice.key} = {_value(choice.value)}")
    return "\n".join(lines) + "\n"


def _comment(text: str) -> str:
    """A comment in one line; names of channels and classes may hold anything."""
    return "# " + "".join(letter if letter.isprintable() else " " for letter in text)


def _value(value: object) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_value, value))}]"
    return tomli_w.dumps({"key": value}).removeprefix("key = ").rstrip()


def _seen(facts: DataFacts) -> list[str]:
    """What the folder holds, in lines."""
    cohort, read = facts.cohort, len(facts.read)
    sizes = facts.lesion_diameters_mm()
    spread = f"{np.percentile(sizes, 5):.3g} to {np.percentile(sizes, 95):.3g} mm across" if sizes else "none"
    lines = [
        f"{plural(len(cohort.cases), 'case')} of {plural(facts.patients, 'patient')}, {cohort.layout.title}; "
        f"{read} of them read for this plan.",
        f"{plural(facts.visits, 'visit')}, {plural(facts.contrasts, 'contrast')}, classes: {', '.join(facts.classes)}; "
        f"voxels of {' x '.join(f'{edge:.3g}' for edge in facts.spacing_mm)} mm.",
        f"{sum(case.lesions for case in facts.read)} lesions, most of them {spread}; "
        f"{100 * facts.lesion_share:.3g} % of all voxels.",
    ]
    return [*lines, *(f"not read: {problem}" for problem in facts.problems[:5])]


def _design(plan: StartingPlan, name: str) -> list[Choice]:
    patients = plan.facts.patients
    few = "; with so few patients no test can tell losses apart" if patients < 6 else ""
    lesions = plan.facts.cohort.layout.group is not LayoutGroup.ORGANS
    return [
        Choice("name", name),
        Choice("losses", plan.losses, "any loss or sum of losses: lesionloss losses"),
        Choice("baseline_loss", plan.losses[0], "what the others are compared with"),
        Choice("primary_metric", "dice"),
        Choice(
            "metrics",
            ("dice", "precision", "recall", "hd95", "assd", *(("lesion_f1",) if lesions else ())),
            "lesionloss metrics lists all",
        ),
        Choice("folds", plan.folds, f"each of {plural(patients, 'patient')} is tested once{few}"),
        Choice("seeds", plan.seeds, "more seeds show how much of a difference is chance"),
    ]


def _data(plan: StartingPlan, source: str) -> list[Choice]:
    layout, target = plan.facts.cohort.layout, plan.facts.cohort.target
    others = [each.name for each in layout.targets if each.name != target.name]
    return [
        Choice("source", source),
        Choice("layout", layout.name),
        Choice("target", target.name, target.title + (f"; others: {', '.join(others)}" if others else "")),
    ]


def _prepare(plan: StartingPlan) -> dict[str, list[Choice]]:
    recipe = plan.recipe
    found = {"data.prepare": [Choice("steps", recipe.steps, plan.preparation_why)]}
    found["data.prepare.brain"] = [Choice("source", recipe.brain.source)]
    if recipe.resample.spacing_mm:
        found["data.prepare.resample"] = [Choice("spacing_mm", recipe.resample.spacing_mm)]
    return found


def _network(plan: StartingPlan) -> list[Choice]:
    text = NETWORK[plan.facts.axes].format(filters=plan.filters)
    return [Choice("text", text, "inputs and outputs follow the data; others: lesionloss networks")]


def _training(plan: StartingPlan) -> list[Choice]:
    millimetres = " x ".join(f"{side * edge:.3g}" for side, edge in zip(plan.patch, plan.facts.spacing_mm, strict=True))
    largest = f"at most {LARGEST_SIDE[plan.facts.axes]} voxels a side, and no more than the images have"
    return [
        Choice("steps", plan.steps, plan.steps_why),
        Choice("batch", BATCH[plan.facts.axes]),
        Choice(
            "patch", plan.patch, f"{millimetres} mm: the largest lesions with {CONTEXT_MM:g} mm around them; {largest}"
        ),
        Choice("jitter", max(1, min(plan.patch) // 3), "a lesion lies anywhere in the patch but at its border"),
        Choice("foreground_share", 0.75, "the other patches come from anywhere in the image"),
    ]

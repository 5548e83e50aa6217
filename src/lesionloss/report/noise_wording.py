"""How far two equal training runs differ, in a sentence, beside the differences between losses."""

from dataclasses import asdict
from typing import Any

from lesionloss.core.number_text import decimals_for, listed, number, plural, quoted
from lesionloss.runs.metric_facts import metric_facts
from lesionloss.statistics.noise_floor import NoiseFloor


def noise_floor_sentence(floor: NoiseFloor | None) -> str:
    """What the noise floor shows; empty where it was not measured."""
    if floor is None:
        return ""
    title, patients = metric_facts(floor.metric).title, plural(floor.patients, "patient")
    trained = f"{quoted(floor.loss)} was trained twice (fold {floor.fold}, seed {floor.seed})"
    where = f" The two differ in {listed(floor.differing)}, too." if floor.differing else ""
    if floor.largest == 0:
        return f"Noise floor: {trained}; both scored the same in {title} on {patients}.{where}"
    means = [mean for _, mean in floor.losses]
    decimals = decimals_for([min([floor.mean, *means]) or floor.largest])
    found = f"Noise floor: {trained}; {title} differs by {number(floor.mean, decimals)} over {patients}"
    found += f", by {number(floor.largest, decimals)} at most in a case."
    if means:
        least, most = number(min(means), decimals), number(max(means), decimals)
        size = least if least == most else f"{least} to {most}"
        found += f" Other losses differ from it by {size} there."
    if below := [quoted(loss) for loss, mean in floor.losses if mean <= floor.mean]:
        found += f" That is no more than the noise floor for {listed(below)}."
    return found + where


def noise_floor_record(floor: NoiseFloor | None) -> dict[str, Any] | None:
    """Return the noise floor for programs, with its sentence; None where it was not measured."""
    return None if floor is None else asdict(floor) | {"sentence": noise_floor_sentence(floor)}

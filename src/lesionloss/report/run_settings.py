"""Settings of a run in words: sections of its plan, and the steps that made its cohort."""

from collections.abc import Mapping, Sequence
from typing import Any

from lesionloss.runs.results import Results
from lesionloss.runs.run_files import read_json


def part(results: Results, name: str) -> Mapping[str, Any]:
    """A section of the plan; empty where it has none."""
    found = results.plan.get(name, {})
    return found if isinstance(found, Mapping) else {}


def data(results: Results) -> str:
    """The data sets of the trials; of built-in data, what they are, since their name is a number."""
    asked = part(results, "data")
    seed = asked.get("synth_seed")
    if asked.get("source") == "synth":
        return f"synthetic patients, profile {asked.get('synth_profile')}, seed {seed}"
    if asked.get("source") == "shapes":
        return f"synthetic shapes, seed {seed}"
    names = {str(trial.record.get("dataset") or "") for trial in results.trials}
    return ", ".join(sorted(names - {""}))


def in_words(settings: Mapping[str, Any], but: Sequence[str] = ()) -> str:
    """`steps 120, batch 4`; settings that are empty, and those named in `but`, are left out."""
    said = ((name, value) for name, value in settings.items() if name not in but and value not in ("", [], None))
    return ", ".join(f"{name.replace('_', ' ')} {plain(value)}" for name, value in said)


def section(results: Results, name: str) -> str:
    """A section of the plan as a sentence, but for the text of a network, which is said elsewhere."""
    said = in_words(part(results, name), but=("text",))
    return f"{name.capitalize()} settings: {said}." if said else ""


def preparation(results: Results) -> str:
    """The steps that made the cohort, with their settings, as a sentence; empty where the cohort does not say."""
    made = read_json(results.folder / "cohort" / "index.json").get("preparation", {})
    steps = made.get("steps", []) if isinstance(made, Mapping) else []
    said = [f"{step} ({words})" if (words := in_words(made.get(step, {}))) else str(step) for step in steps]
    return f" Preparation: {', '.join(said)}." if said else ""


def plain(value: object) -> str:
    """`yes`, `32 × 32 × 32`, `01, 03`, `a: 1; b: 2`."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return "; ".join(f"{key}: {plain(each)}" for key, each in value.items())
    if isinstance(value, list):
        numbers = all(isinstance(each, int | float) for each in value)
        return (" × " if numbers else ", ").join(map(plain, value))
    return str(value)

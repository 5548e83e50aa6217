"""The settings of a run in words: sections of its plan, and the preparation steps of its cohort."""

from collections.abc import Mapping, Sequence
from typing import Any

from lesionloss.core.number_text import plural
from lesionloss.runs.results import Results
from lesionloss.runs.run_files import read_json
from lesionloss.runs.trial_manifest import COHORT_INDEX, MIXED


def plan_section(results: Results, name: str) -> Mapping[str, Any]:
    """A section of the plan; empty where it has none."""
    found = results.plan.get(name, {})
    return found if isinstance(found, Mapping) else {}


def data_words(results: Results) -> str:
    """The data sets of the trials; for generated data their kind and seed."""
    section = plan_section(results, "data")
    seed = section.get("synth_seed")
    if section.get("source") == "synth":
        return f"synthetic patients, profile {section.get('synth_profile')}, seed {seed}"
    if section.get("source") == "shapes":
        return f"synthetic shapes, seed {seed}"
    names = {str(trial.record.get("dataset") or "") for trial in results.trials}
    return ", ".join(sorted(names - {""}))


def mixed_words(results: Results) -> list[str]:
    """What was mixed into the training cases: `synth: 20 cases (...), 50 % of the training patches` and so on."""
    found = []
    for section in plan_section(results, "data").get("mix", []):
        cases = read_json(results.folder / MIXED / str(section.get("name")) / COHORT_INDEX).get("cases", [])
        share, source, seed = section.get("share"), section.get("source"), section.get("synth_seed")
        how = f"{100 * share:.3g} % of the training patches" if share else "each as one more training case"
        origins = {
            "synth": f"synthetic, profile {section.get('synth_profile')}, seed {seed}",
            "shapes": f"synthetic shapes, seed {seed}",
        }
        found.append(f"{section.get('name')}: {plural(len(cases), 'case')} ({origins.get(source, source)}), {how}")
    return found


def settings_words(settings: Mapping[str, Any], but: Sequence[str] = ()) -> str:
    """`steps 120, batch 4`; settings that are empty, and those named in `but`, are left out."""
    stated = ((name, value) for name, value in settings.items() if name not in but and value not in ("", [], None))
    return ", ".join(f"{name.replace('_', ' ')} {value_words(value)}" for name, value in stated)


def section_sentence(results: Results, name: str) -> str:
    """A section of the plan as a sentence, without the text of the network."""
    words = settings_words(plan_section(results, name), but=("text", "mix"))
    return f"{name.capitalize()} settings: {words}." if words else ""


def preparation_sentence(results: Results) -> str:
    """The preparation steps of the cohort with their settings, as a sentence; empty if the cohort has no record."""
    made = read_json(results.folder / "cohort" / "index.json").get("preparation", {})
    steps = made.get("steps", []) if isinstance(made, Mapping) else []
    described = [f"{step} ({words})" if (words := settings_words(made.get(step, {}))) else str(step) for step in steps]
    return f" Preparation: {', '.join(described)}." if described else ""


def value_words(value: object) -> str:
    """`yes`, `32 × 32 × 32`, `01, 03`, `a: 1; b: 2`."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return "; ".join(f"{key}: {value_words(each)}" for key, each in value.items())
    if isinstance(value, list):
        numbers = all(isinstance(each, int | float) for each in value)
        return (" × " if numbers else ", ").join(map(value_words, value))
    return str(value)

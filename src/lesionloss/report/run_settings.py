"""The settings of a run in words: sections of its plan, and the preparation steps of its cohort."""

from collections.abc import Mapping
from typing import Any

from lesionloss.core.number_text import listed, plural
from lesionloss.runs.results import Results
from lesionloss.runs.run_files import read_json
from lesionloss.runs.trial_manifest import COHORT_INDEX, MIXED

_PREPARED = {
    "orient": "turned to one orientation",
    "register": "registered",
    "n4": "corrected for bias fields (N4)",
    "brain": "masked by the brain",
    "resample": "resampled",
    "crop": "cropped",
    "clip": "clipped",
    "normalise": "normalised to z-scores",
    "scale_to_unit": "scaled to the range from 0 to 1",
    "match": "matched between the visits",
}


def plan_section(results: Results, name: str) -> Mapping[str, Any]:
    """A section of the plan; empty where it has none."""
    found = results.plan.get(name, {})
    return found if isinstance(found, Mapping) else {}


def data_words(results: Results) -> str:
    """The data sets of the trials; for generated data their kind and seed."""
    section = plan_section(results, "data")
    seed = section.get("synth_seed")
    if section.get("source") in ("synth", "shapes"):
        profile = section.get("synth_profile") if section["source"] == "synth" else None
        kind = "synthetic patients" if section["source"] == "synth" else "synthetic shapes"
        known = (f"profile {profile}" if profile else "", f"seed {seed}" if seed is not None else "")
        return ", ".join(filter(None, (kind, *known)))
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


def preparation_record(results: Results) -> Mapping[str, Any]:
    """How the cohort was prepared, from its index; empty if it has no record."""
    made = read_json(results.folder / "cohort" / "index.json").get("preparation", {})
    return made if isinstance(made, Mapping) else {}


def prepared_words(results: Results) -> str:
    """The steps of preparation as a sentence; empty if the cohort has no record."""
    made = preparation_record(results)
    steps = [str(step) for step in made.get("steps", [])]
    silent = {"subtract"} | ({"brain"} if made.get("brain", {}).get("source") == "whole" else set())
    done = [_PREPARED.get(step, step) for step in steps if step not in silent]
    channel = " Their difference, follow-up minus baseline, was one more channel." if "subtract" in steps else ""
    return f"The images were {listed(done)}.{channel}" if done else ""


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

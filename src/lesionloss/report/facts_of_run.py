"""What was run, as pairs of a title and a text, for the page."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from lesionloss.core.number_text import plural
from lesionloss.report.collected_words import collected_patients, unknown_words
from lesionloss.report.run_settings import data_words, mixed_words
from lesionloss.runs.results import Results

_SHOWN_OF_MACHINE = (
    ("processor", "Processor"),
    ("device", "Device"),
    ("cores", "Cores"),
    ("threads", "Threads"),
    ("system", "System"),
    ("python", "Python"),
    ("torch", "PyTorch"),
    ("lesionloss", "lesionloss"),
)


def run_facts(results: Results) -> list[tuple[str, str]]:
    """Data, patients, folds, seeds, network, training, time and machine, in full."""
    records = _network_records(results)
    pairs = [
        ("Data", data_words(results)),
        ("Target", distinct(record.get("target") for record in records)),
        ("Patients", _patients(results)),
        ("Unknown", unknown_words(results)),
        ("Mixed into training folds", "; ".join(mixed_words(results))),
        ("Folds", distinct([results.plan.get("folds")])),
        ("Seeds", ", ".join(str(seed) for seed in results.plan.get("seeds", []))),
        ("Network", distinct(record.get("network") for record in records)),
        *_time_and_machine(results),
    ]
    return [(title, text) for title, text in pairs if text]


def short_run_facts(results: Results) -> list[tuple[str, str]]:
    """The same for the top of the page, in a few words each."""
    records = _network_records(results)
    machines = [results.machine(trial.key) for trial in results.trials]
    seconds = sum(_total_seconds(machine) for machine in machines)
    where = (distinct(m.get("processor") if m.get("device", "cpu") == "cpu" else m.get("device") for m in machines),)
    threads = distinct(machine.get("threads") for machine in machines)
    pairs = [
        ("Data", " ".join(filter(None, (data_words(results), _target(records))))),
        ("Patients", _patients_in_short(results)),
        ("Training", "elsewhere, not by this program" if results.collected else ""),
        ("Mixed in", ", ".join(words.partition(" (")[0] for words in mixed_words(results))),
        ("Training runs", _training_runs(results)),
        ("Network", distinct(record.get("network") for record in records)),
        ("Steps", distinct(record.get("steps") for record in records)),
        ("Time", f"{_duration(seconds)} in all" if seconds else ""),
        (
            "Machine",
            ", ".join(filter(None, (*where, f"{threads} thread{'' if threads == '1' else 's'}" if threads else ""))),
        ),
    ]
    return [(title, text) for title, text in pairs if text]


def _network_records(results: Results) -> list[Mapping[str, Any]]:
    networks = [trial for trial in results.trials if trial.loss not in results.untrained]
    return [trial.record for trial in networks or results.trials]


def _target(records: Sequence[Mapping[str, Any]]) -> str:
    target = distinct(record.get("target") for record in records).replace("_", " ")
    return f"({target})" if target else ""


def _patients_in_short(results: Results) -> str:
    if not results.cohort:
        return collected_patients(results) if results.collected else ""
    patients = len({case.patient for case in results.cohort})
    without = sum(case.reference_mm3 == 0 for case in results.cohort)
    cases = "" if len(results.cohort) == patients else f", {plural(len(results.cohort), 'case')}"
    return f"{patients}{cases}" + (f", {without} without lesions" if without else "")


def _training_runs(results: Results) -> str:
    folds, seeds = results.plan.get("folds"), results.plan.get("seeds", [])
    losses = len({trial.loss for trial in results.trials} - results.untrained)
    parts = [
        plural(losses, "loss"),
        plural(folds, "fold") if isinstance(folds, int) else "",
        plural(len(seeds), "seed") if seeds or not results.collected else "seeds unknown",
    ]
    return " × ".join(part for part in parts if part)


def _patients(results: Results) -> str:
    if not results.cohort:
        return collected_patients(results) if results.collected else ""
    patients = plural(len({case.patient for case in results.cohort}), "patient")
    without = sum(case.reference_mm3 == 0 for case in results.cohort)
    volumes = [case.reference_mm3 / 1000 for case in results.cohort if case.reference_mm3]
    median = f", median lesion volume {np.median(volumes):.2f} ml in cases with lesions" if volumes else ""
    return f"{patients}, {plural(len(results.cohort), 'case')}, {without} without lesions{median}"


def _time_and_machine(results: Results) -> list[tuple[str, str]]:
    machines = {trial.key: results.machine(trial.key) for trial in results.trials}
    seconds = {trial.loss: 0.0 for trial in results.trials}
    for trial in results.trials:
        seconds[trial.loss] += _total_seconds(machines[trial.key])
    total = sum(seconds.values())
    each = ", ".join(f"{loss} {_duration(spent)}" for loss, spent in seconds.items())
    machine_facts = [
        (title, distinct(machine.get(key) for machine in machines.values())) for key, title in _SHOWN_OF_MACHINE
    ]
    return [("Time", f"{_duration(total)} in all ({each})" if total else ""), *machine_facts]


def _total_seconds(machine: dict[str, Any]) -> float:
    seconds = machine.get("seconds", 0.0)
    total = seconds.get("total", 0.0) if isinstance(seconds, dict) else seconds
    return float(total) if isinstance(total, int | float) else 0.0


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def distinct(values: Iterable[object]) -> str:
    """The different values, sorted, with commas between them; None and empty texts are left out."""
    return ", ".join(sorted({str(value) for value in values if value not in (None, "")}))

"""What was run, in pairs of a word and its answer, for the end of the page."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from lesionloss.bench.results import Results
from lesionloss.wording import plural

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


def what_was_run(results: Results) -> list[tuple[str, str]]:
    """Data, patients, folds, seeds, network, training, time and machine."""
    networks = [trial for trial in results.trials if trial.method == "network"]
    records = [trial.record for trial in networks] or [trial.record for trial in results.trials]
    pairs = [
        ("Data", distinct(record.get("dataset") for record in records)),
        ("Target", distinct(record.get("target") for record in records)),
        ("Patients", _patients(results)),
        ("Folds", distinct([results.plan.get("folds")])),
        ("Seeds", ", ".join(str(seed) for seed in results.plan.get("seeds", []))),
        ("Network", distinct(record.get("network") for record in records)),
        *_training(results),
        *_time_and_machine(results),
    ]
    return [(word, answer) for word, answer in pairs if answer]


def _patients(results: Results) -> str:
    if not results.cohort:
        return ""
    patients = plural(len({case.patient for case in results.cohort}), "patient")
    without = sum(case.reference_mm3 == 0 for case in results.cohort)
    volumes = [case.reference_mm3 / 1000 for case in results.cohort if case.reference_mm3]
    median = f", median lesion volume {np.median(volumes):.2f} ml where there is any" if volumes else ""
    return f"{patients}, {plural(len(results.cohort), 'case')}, {without} without lesions{median}"


def _training(results: Results) -> list[tuple[str, str]]:
    settings = results.plan.get("training", {})
    known = settings.items() if isinstance(settings, dict) else ()
    return [("Training", ", ".join(f"{name.replace('_', ' ')} {plain(value)}" for name, value in known))]


def _time_and_machine(results: Results) -> list[tuple[str, str]]:
    machines = {trial.key: results.machine(trial.key) for trial in results.trials}
    seconds = {trial.loss: 0.0 for trial in results.trials}
    for trial in results.trials:
        seconds[trial.loss] += _total_seconds(machines[trial.key])
    total = sum(seconds.values())
    each = ", ".join(f"{loss} {_duration(spent)}" for loss, spent in seconds.items())
    answers = [(title, distinct(machine.get(key) for machine in machines.values())) for key, title in _SHOWN_OF_MACHINE]
    return [("Time", f"{_duration(total)} in all ({each})" if total else ""), *answers]


def _total_seconds(machine: dict[str, Any]) -> float:
    seconds = machine.get("seconds", 0.0)
    total = seconds.get("total", 0.0) if isinstance(seconds, dict) else seconds
    return float(total) if isinstance(total, int | float) else 0.0


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def plain(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return " × ".join(str(part) for part in value) if isinstance(value, list) else str(value)


def distinct(values: Iterable[object]) -> str:
    return ", ".join(sorted({str(value) for value in values if value not in (None, "")}))

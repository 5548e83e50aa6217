"""The records of a collected run: collected.toml, and trial.toml of each training run. They hold only what is known."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lesionloss.collecting.found_predictions import Collection, TrialName
from lesionloss.collecting.mismatches import Design
from lesionloss.core.catalogue import nearest
from lesionloss.core.errors import UsageError
from lesionloss.core.version import __version__

FORMAT = 1
UNKNOWN = ("network", "training settings", "steps", "machine")


@dataclass(frozen=True)
class RunFacts:
    """What collected.toml says beside losses, folds and seeds."""

    name: str
    baseline: str
    metrics: tuple[str, ...]
    compares: str


def baseline_of(losses: Sequence[str], named: str) -> str:
    """Return the baseline: the loss that is named, else the first one.

    Raises:
        UsageError: No such loss was found.
    """
    if named and named not in losses:
        raise UsageError(f"--baseline: no loss {named!r} was found; {nearest(named, list(losses))}")
    return named or losses[0]


def collected_record(
    collection: Collection, design: Design, facts: RunFacts, unknown_here: Sequence[str] = UNKNOWN
) -> dict[str, Any]:
    """Return the content of collected.toml: the keys of a plan where they have a meaning, and what is unknown."""
    unknown = [*unknown_here, *(() if design.seeds else ("seeds",)), *(() if collection.train else ("training cases",))]
    if {each.trial for each in collection.predictions} <= set(collection.proofs):
        told = {name for each in collection.proofs.values() for name in (*each.trial, *each.machine)}
        unknown = [each for each in unknown if {"steps": "steps", "machine": "device"}.get(each) not in told]
    else:
        unknown.append("initial weights and batches")
    return {
        "name": facts.name,
        "losses": list(design.losses),
        "baseline_loss": facts.baseline,
        "primary_metric": facts.metrics[0],
        "metrics": list(facts.metrics),
        "folds": design.planned_folds,
        "repeats": design.repeats,
        "seeds": list(design.seeds),
        "collected": {
            "format": FORMAT,
            "lesionloss": __version__,
            **collection.source,
            "compares": facts.compares,
            "images": any(each.image is not None for each in collection.predictions),
            "unknown": unknown,
            "differs": list(dict.fromkeys(text for each in collection.proofs.values() for text in each.differs)),
            "mismatches": [str(each) for each in collection.mismatches],
        },
    }


def trial_record(trial: TrialName, dataset: str, cases: Sequence[str], more: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of trial.toml but its key; nothing of training, of which nothing is known."""
    return {
        "method": "collected",
        "loss": trial.loss,
        "dataset": dataset,
        "fold": trial.fold,
        "seed": trial.seed,
        "test": list(cases),
        **more,
    }

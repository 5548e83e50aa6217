"""lesionloss: is this loss really better for my lesions, or was it a lucky seed?

Losses: `build`, `list_losses`, `loss`, `from_module`, `TargetForm`, `reference_map`, `Loss`, `DeepSupervision`,
`Voxels`, `Counts`, and a class for each loss, such as `DiceLoss`. Metrics: `score`, `list_metrics`, `Case`. Networks:
`build_network`, `list_networks`, `network`. Benchmark: `Plan`, `run`, `load`, `collect`, `Prediction`, `compare`,
`write_report`. Errors: `LesionLossError`, `UsageError`, `DataError`.

A public name loads what it needs when it is first used, so importing the package costs next to nothing. Type checkers
read `__init__.pyi`, which `python -m lesionloss.losses.write_stub` writes.
"""

import importlib
from typing import Any

from lesionloss.core.extras import require
from lesionloss.core.version import __version__

PUBLIC_NAMES = {
    # losses
    "build": "losses.criterion",
    "list_losses": "losses.registry",
    "loss": "losses.registry",
    "from_module": "losses.from_module",
    "TargetForm": "losses.from_module",
    "reference_map": "losses.reference_maps",
    "Loss": "losses.criterion",
    "DeepSupervision": "losses.supervision",
    "Voxels": "losses.voxels",
    "Counts": "losses.voxels",
    # metrics
    "score": "metrics",
    "list_metrics": "metrics",
    "Case": "metrics",
    # networks
    "build_network": "networks",
    "list_networks": "networks",
    "network": "networks",
    # benchmark
    "Plan": "bench.plan",
    "run": "bench.run",
    "load": "runs.load_run",
    "collect": "collecting",
    "Prediction": "collecting",
    "compare": "statistics",
    "write_report": "report",
    # errors
    "LesionLossError": "core.errors",
    "UsageError": "core.errors",
    "DataError": "core.errors",
}

# The rooms that need more than `pip install lesionloss` brings, and the extra that has it.
_BENCH = ("bench", "runs", "statistics", "report", "collecting")
_EXTRA_OF = {"metrics": "metrics", **dict.fromkeys(_BENCH, "bench")}

__all__ = ["__version__"]
__all__ += list(PUBLIC_NAMES)


def __getattr__(name: str) -> Any:
    """A public name, or the class of a registered loss.

    Raises:
        AttributeError: if there is no such name.
    """
    if name.endswith("Loss") and name not in PUBLIC_NAMES:
        from lesionloss.losses.named_classes import named_class

        return named_class(name)
    if name not in PUBLIC_NAMES:
        raise AttributeError(f"module 'lesionloss' has no attribute {name!r}")
    room = PUBLIC_NAMES[name].partition(".")[0]
    if room in _EXTRA_OF:
        require(_EXTRA_OF[room], f"lesionloss.{name}")
    value = getattr(importlib.import_module(f"lesionloss.{PUBLIC_NAMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """All public names, with the classes of all registered losses."""
    from lesionloss.losses.registry import list_losses

    return sorted([*__all__, *(record.class_name for record in list_losses())])

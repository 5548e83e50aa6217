"""lesionloss: is this loss really better for my lesions, or was it a lucky seed?

The public names load what they need when they are first used, so importing the package costs next to nothing.
"""

import importlib
from typing import Any

from lesionloss.core.version import __version__

_PUBLIC = {
    # losses
    "Voxels": "losses.voxels",
    "Counts": "losses.voxels",
    "loss": "losses.registry",
    "list_losses": "losses.registry",
    "Loss": "losses.criterion",
    "build": "losses.criterion",
    "DeepSupervision": "losses.supervision",
    # metrics
    "list_metrics": "metrics",
    "Case": "metrics",
    "score": "metrics",
    # networks
    "build_network": "networks",
    "list_networks": "networks",
    # benchmark
    "Plan": "bench.plan",
    "run": "bench.run",
    "load": "runs.load_run",
    "compare": "statistics",
    "write_report": "report",
    # errors
    "LesionLossError": "core.errors",
    "UsageError": "core.errors",
    "DataError": "core.errors",
}

__all__ = ["__version__"]
__all__ += list(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name.endswith("Loss") and name not in _PUBLIC:
        from lesionloss.losses.criterion import named_class

        return named_class(name)
    if name not in _PUBLIC:
        raise AttributeError(f"module 'lesionloss' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"lesionloss.{_PUBLIC[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)

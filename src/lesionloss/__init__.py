"""lesionloss: is this loss really better for my lesions, or was it a lucky seed?

The public names load what they need when they are first used, so importing the package costs next to nothing.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    # losses
    "Voxels": "voxels",
    "Counts": "voxels",
    "loss": "registry",
    "losses": "registry",
    "Loss": "criterion",
    "build": "criterion",
    "DeepSupervision": "supervision",
    # metrics
    "Case": "metrics",
    "score": "metrics",
    # benchmark
    "Plan": "bench.plan",
    "run": "bench.run",
    "load": "bench.results",
    "compare": "statistics",
    "report": "reporting",
    # errors
    "LesionLossError": "errors",
    "UsageError": "errors",
    "DataError": "errors",
}

__all__ = ["__version__"]
__all__ += list(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name.endswith("Loss") and name not in _PUBLIC:
        from lesionloss.criterion import named_class

        return named_class(name)
    if name not in _PUBLIC:
        raise AttributeError(f"module 'lesionloss' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"lesionloss.{_PUBLIC[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)

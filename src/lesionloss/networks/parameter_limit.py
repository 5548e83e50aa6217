"""A network is refused by its number of parameters while it is built, before they take memory or time."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from lesionloss.core.errors import UsageError

MOST_PARAMETERS = 10**9  # 4 GB in float32, and four times that in training
MOST_LAYERS = 5000  # ten times as many as the deepest networks for images have


@contextmanager
def parameters_without_memory(name: str) -> Iterator[None]:
    """Move every parameter to the meta device as soon as a module gets it, and count them.

    Raises:
        UsageError: a network in the block has more than `MOST_PARAMETERS`, or more than `MOST_LAYERS` parts with some.
    """
    total = layers = 0

    def count(_module: nn.Module, key: str, parameter: nn.Parameter | None) -> nn.Parameter | None:
        nonlocal total, layers
        if parameter is None:
            return None
        total += parameter.numel()
        if total > MOST_PARAMETERS:
            raise UsageError(f"network {name!r} has more than {MOST_PARAMETERS:,} parameters; choose fewer features")
        layers += key == "weight"
        if layers > MOST_LAYERS:
            raise UsageError(f"network {name!r} has more than {MOST_LAYERS:,} layers; choose fewer")
        return None if parameter.is_meta else nn.Parameter(parameter.to("meta"), parameter.requires_grad)

    handle = register_module_parameter_registration_hook(count)  # type: ignore[arg-type]  # a new one is allowed
    try:
        yield
    finally:
        handle.remove()

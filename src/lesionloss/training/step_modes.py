"""How the passes of a network run in a training step: as they are written, or compiled by torch.compile.

CUDA graphs are no mode: see docs/explanation/speed.md.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from lesionloss.networks import Outputs
from lesionloss.networks.layers import ChannelDropout, draw_channels

EAGER, COMPILED = "eager", "compiled"
STEP_MODES = (EAGER, COMPILED)

Passes = Callable[[Tensor], Tensor | Outputs]


def passes_of(network: nn.Module, mode: str) -> Passes:
    """Return what computes the forward pass in training; its backward pass is of the same kind.

    Validation and prediction use the network itself, which has the same weights and is never compiled.

    Args:
        network: The network.
        mode: One of STEP_MODES.
    """
    if mode == EAGER:
        return network
    for module in network.modules():
        if isinstance(module, ChannelDropout):
            module.draw = _drawn_outside()
    compiled = torch.compile(network, dynamic=False)

    def passes(x: Tensor) -> Tensor | Outputs:
        with _no_silent_change():
            found: Tensor | Outputs = compiled(x)
        return found

    return passes


@functools.cache
def _drawn_outside() -> Callable[[ChannelDropout, Tensor], Tensor]:
    """Random channels, drawn outside the compiled program from the generator of the step."""
    disable: Callable[[Any], Any] = torch.compiler.disable  # torch leaves it without types
    outside: Callable[[ChannelDropout, Tensor], Tensor] = disable(draw_channels)
    return outside


@contextlib.contextmanager
def _no_silent_change() -> Iterator[None]:
    """Let torch raise where it would stop compiling: then one loss would be computed in another way than the next."""
    from torch._dynamo import config  # on request, because it takes a second to import

    before, config.fail_on_recompile_limit_hit = config.fail_on_recompile_limit_hit, True
    try:
        yield
    finally:
        config.fail_on_recompile_limit_hit = before

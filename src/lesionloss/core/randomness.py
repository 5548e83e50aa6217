"""Random draws by name, not by order: the generator for ("patches", 3) is the same whatever was drawn before.

Nothing in the package touches a global random state. Because a generator depends only on its name, resuming,
evaluating in between or changing the number of workers can't move any stream.
"""

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def _digest(parts: tuple[str | int, ...]) -> int:
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "little")


def numpy_generator(*parts: str | int) -> np.random.Generator:
    """A NumPy generator that depends on nothing but `parts`, e.g. (pair, "patches", step)."""
    return np.random.Generator(np.random.PCG64(_digest(parts)))


def torch_generator(*parts: str | int) -> "torch.Generator":
    """A CPU torch generator that depends on nothing but `parts`."""
    import torch

    return torch.Generator().manual_seed(_digest(parts) % 2**63)

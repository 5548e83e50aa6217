"""Random generators by name: the generator of ("patches", 3) is the same, whatever was drawn before.

The package never uses a global random state. A generator depends only on its name, so resuming a training run,
evaluating during it, or another number of workers changes no random number.
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
    """A NumPy generator that depends only on `parts`, such as (pair, "patches", step)."""
    return np.random.Generator(np.random.PCG64(_digest(parts)))


def torch_generator(*parts: str | int) -> "torch.Generator":
    """A torch generator on the CPU that depends only on `parts`."""
    import torch

    return torch.Generator().manual_seed(_digest(parts) % 2**63)

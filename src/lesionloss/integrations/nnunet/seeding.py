"""Batches that depend on their number alone.

nnU-Net draws from the global generators of Python, NumPy and torch. Here they are set anew before every batch, from the
names of the pair and the number of the batch: so a batch is the same whatever was drawn before, with any number of
worker processes, and after a training run continues.
"""

import contextlib
import os
import random
from collections.abc import Iterator, Sequence
from typing import TypedDict

import numpy as np
import torch
from torch import Tensor

from lesionloss.core.randomness import numpy_generator


class NnunetBatch(TypedDict):
    """What nnU-Net's loader makes: images (B, C, *space), references at each resolution, names of the cases."""

    data: Tensor
    target: Tensor | list[Tensor]
    keys: Sequence[str]


def set_generators(*name: str | int) -> None:
    """Set all global generators of this process by a name, such as ("pair", "weights")."""
    numbers = numpy_generator("nnunet", *name)
    random.seed(int(numbers.integers(2**63)))
    np.random.seed(numbers.integers(2**32, size=8, dtype=np.uint32))  # noqa: NPY002  (the generator that nnU-Net draws from)
    torch.manual_seed(int(numbers.integers(2**63)))


class SeededBatches:
    """The batches of one of nnU-Net's loaders, in the part of the order that falls to one worker."""

    def __init__(self, loader: Iterator[NnunetBatch], name: tuple[str | int, ...], first: int, workers: int) -> None:
        """Wrap a loader.

        Args:
            loader: Makes a batch from what the global generators draw.
            name: Of the stream of batches.
            first: Number of the first batch, from 0.
            workers: How many processes take turns; each has a copy of this object.
        """
        self.loader = loader
        self.name = name
        self.workers = workers
        self.number = first
        without_timing(getattr(loader, "transforms", None))

    def set_thread_id(self, worker: int) -> None:
        """Take the turns of a worker (called in its process)."""
        torch.set_num_threads(1)  # the threads of the first process don't exist in this one
        self.number += worker

    def __iter__(self) -> "SeededBatches":
        """Itself."""
        return self

    def __next__(self) -> NnunetBatch:
        """The next batch of this worker."""
        set_generators(*self.name, self.number)
        self.number += self.workers
        return next(self.loader)


def without_timing(transform: object) -> None:
    """Let the parts of an augmentation decide nothing by timing, as the Gaussian blur does between two computations."""
    if getattr(transform, "benchmark", False):
        vars(transform)["benchmark"] = False
    for value in vars(transform).values() if hasattr(transform, "__dict__") else ():
        for part in value if isinstance(value, list | tuple) else (value,):
            if type(part).__module__.startswith("batchgenerators"):
                without_timing(part)


@contextlib.contextmanager
def environment(name: str, value: str) -> Iterator[None]:
    """Set an environment variable in the block."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        del os.environ[name]
        if before is not None:
            os.environ[name] = before

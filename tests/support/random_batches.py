"""Random batches for the tests: every head, several shapes, few and many lesion voxels, with and without a mask."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lesionloss.core.randomness import numpy_generator

SHAPES: tuple[tuple[int, ...], ...] = ((1, 3, 7), (3, 4, 2), (2, 2, 3, 4), (4, 5), (1, 1, 9))


@dataclass(frozen=True)
class Batch:
    """logits (B, C, *space), labels (B, *space), valid (B, *space) or None, as float64, int64 and bool arrays."""

    logits: np.ndarray
    labels: np.ndarray
    valid: np.ndarray | None

    @property
    def space(self) -> tuple[int, ...]:
        return self.labels.shape[1:]

    @property
    def flat(self) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """The same with the axes of space in one."""
        batch, channels = self.logits.shape[:2]
        valid = None if self.valid is None else self.valid.reshape(batch, -1)
        return self.logits.reshape(batch, channels, -1), self.labels.reshape(batch, -1), valid


def random_batch(*name: str | int, channels: int | None = None) -> Batch:
    """A batch that depends on nothing but its name. Logits are rounded, so that stored ones are the same."""
    stream = numpy_generator("random_batch", *name)
    channels = channels or int(stream.choice([1, 2, 3]))
    space = SHAPES[int(stream.integers(3))] if stream.random() < 0.8 else (3, 8)
    space = space if len(space) in (2, 3) else space[1:]
    images = int(stream.integers(1, 4))
    logits = np.round(stream.normal(0, stream.choice([0.5, 2.0, 6.0]), (images, channels, *space)), 3)
    lesion = stream.random((images, *space)) < stream.choice([0.02, 0.2, 0.5])
    labels = np.where(lesion, stream.integers(1, max(2, channels), (images, *space)), 0)
    labels.reshape(images, -1)[:, int(stream.integers(labels[0].size))] = 1
    valid = stream.random((images, *space)) < 0.85 if stream.random() < 0.5 else None
    if valid is not None:
        valid.reshape(images, -1)[:, 0] = True
    return Batch(logits, labels, valid)


def random_hyperparameters(defaults: Mapping[str, object], *name: str | int) -> dict[str, object]:
    """Other values for some hyperparameters, all inside their ranges."""
    stream = numpy_generator("random_hyperparameters", *name)
    chosen: dict[str, object] = {}
    for key, default in defaults.items():
        if stream.random() < 0.4:
            continue
        if isinstance(default, bool):
            chosen[key] = bool(stream.integers(2))
        elif key == "k":
            chosen[key] = float(stream.choice([5, 30, 70, 100]))
        elif isinstance(default, int):
            chosen[key] = int(stream.integers(1, 5))
        elif key == "gamma" and default == 0.5:
            chosen[key] = float(np.round(stream.uniform(0, 0.9), 2))
        elif key in ("gamma", "sharpen"):
            chosen[key] = float(np.round(stream.uniform(1, 3), 2))
        else:
            chosen[key] = float(np.round(stream.uniform(0.05, 0.95), 2))
    return chosen

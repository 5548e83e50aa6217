"""Batches for training: a pure function of the step, and the stream of those of all steps."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace

from lesionloss.core.errors import DataError, LesionLossError
from lesionloss.core.randomness import numpy_generator
from lesionloss.data.batches.augmentation import DrawnPatch, draw_patch, make_patch
from lesionloss.data.batches.augmentation_presets import Steps
from lesionloss.data.batches.patch_samplers import Cases, Draws
from lesionloss.data.batches.patch_stream import PatchStream
from lesionloss.data.batches.patches import Patch, Stream
from lesionloss.data.batches.training_batch import MapsOf, TrainingBatch, joined

__all__ = ["BatchStream", "MapsOf", "TrainingBatch", "draw_batch", "make_batch"]


def draw_batch(cases: Cases, draws: Draws, steps: Steps, stream: Stream, step: int, batch: int) -> list[DrawnPatch]:
    """Draw the patches of one step and their augmentation; this depends on nothing but the arguments.

    Args:
        cases: Cases by name.
        draws: What a sampler draws from them.
        steps: The augmentation.
        stream: Name of the stream of random numbers.
        step: Number of the step, from 1.
        batch: Patches in the batch.

    Raises:
        DataError: A patch can't be drawn (names case and step).
    """
    drawn = []
    for place in range(batch):
        window = draws.window(stream, step, place, batch)
        with _name_case(window.case, step):
            rng = numpy_generator(*stream, "augment", step, place)
            drawn.append(draw_patch(window, draws.size, cases[window.case], steps, rng))
    return drawn


def make_batch(cases: Cases, draws: Draws, steps: Steps, stream: Stream, step: int, batch: int) -> TrainingBatch:
    """Make the batch of one step in main memory.

    Args:
        cases: Cases by name.
        draws: What a sampler draws from them.
        steps: The augmentation.
        stream: Name of the stream of random numbers.
        step: Number of the step, from 1.
        batch: Patches in the batch.

    Returns:
        The batch.

    Raises:
        DataError: A patch can't be cut or augmented (names case and step), or the cases have different channels.
    """
    patches: list[Patch] = []
    names: list[str] = []
    for drawn in draw_batch(cases, draws, steps, stream, step, batch):
        name = drawn.window.case
        with _name_case(name, step):
            patches.append(make_patch(cases[name], drawn, draws.size, padding_counts=draws.padding_counts))
        names.append(name)
    channels = {len(patch.image): name for patch, name in zip(patches, names, strict=True)}
    if len(channels) > 1:
        raise DataError(
            f"cases {', '.join(channels.values())} have {', '.join(map(str, channels))} channels: not one cohort"
        )
    return joined(patches, tuple(names), step, tuple(cases[name].spacing_mm for name in names))


@contextlib.contextmanager
def _name_case(name: str, step: int) -> Iterator[None]:
    """Name case and step in the error of a patch."""
    try:
        yield
    except LesionLossError:
        raise
    except Exception as error:
        raise DataError(f"{name}: no patch for step {step}: {type(error).__name__}: {error}") from error


class BatchStream(PatchStream[TrainingBatch]):
    """The batches of the steps from `start_step` on, made in main memory."""

    def _make(self, step: int) -> TrainingBatch:
        made = make_batch(self.cases, self.draws, self.augmentation, self.stream, step, self.batch)
        return made if self.maps is None else replace(made, maps=self.maps(made))

"""Samplers: which window of which case each place of each batch holds.

A sampler is a frozen record with one method, `over(cases)`. It reads once what it must know about the cases and returns
`Draws`. These know the window of any step without the steps before, so that the number of workers, resuming and
evaluating in between can't change it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
import numpy.typing as npt

from lesionloss.core.errors import UsageError
from lesionloss.core.randomness import numpy_generator
from lesionloss.data.batches.patches import Size, Stream, check_crop, check_fits, check_size, crop_start, start_around
from lesionloss.data.prepared import PreparedCase

Cases = Mapping[str, PreparedCase]
DIVISOR = 16  # what a network with four halvings asks of the length of every axis
TRIES = 1000  # for a voxel without lesion; a brain in which that fails is all lesion


@dataclass(frozen=True)
class Window:
    """Where one patch lies: its first voxel in the case (negative: padding), and the axes along which it is flipped."""

    case: str
    start: tuple[int, ...]
    flipped: tuple[int, ...] = ()


@dataclass(frozen=True)
class Draws:
    """What a sampler draws from given cases.

    Attributes:
        size: Voxels of a patch along each axis.
        window: The window of (stream, step, place, batch): one place in the batch of one step; steps count from 1.
        per_epoch: Patches of an epoch, None where draws are independent and there are no epochs.
        padding_counts: Whether voxels outside the image are background; else they are masked.
    """

    size: Size
    window: Callable[[Stream, int, int, int], Window]
    per_epoch: int | None = None
    padding_counts: bool = True

    def steps_per_epoch(self, batch: int) -> int | None:
        """Count the steps after which an epoch is complete; the last of them may begin the next epoch."""
        return None if self.per_epoch is None else -(-self.per_epoch // batch)


class Sampler(Protocol):
    """Anything that decides where patches lie."""

    def over(self, cases: Cases) -> Draws:
        """Prepare the draws from these cases.

        Raises:
            UsageError: There is nothing to draw.
        """
        ...


@dataclass(frozen=True)
class WeightedCrop:
    """Windows around random lesion voxels (HyTver, weighted cropping: 80 voxels, moved by up to 10).

    The case of each patch is drawn uniformly. An image smaller than the patch lies in its middle.

    Attributes:
        size: Voxels of a patch along each axis.
        jitter: Largest shift of the centre along each axis, in voxels.
        foreground_share: Share of patches that are centred on a lesion voxel; the others, and those of cases without
            lesions, are centred on any voxel of the brain.
        padding_counts: Whether padding counts as background; else it is masked.
    """

    size: Size
    jitter: int = 10
    foreground_share: float = 1.0
    padding_counts: bool = True

    def __post_init__(self) -> None:
        """Check the settings."""
        check_crop(self.size, self.jitter, self.foreground_share)

    def over(self, cases: Cases) -> Draws:
        """Prepare independent draws; no case is read before it is drawn.

        Raises:
            UsageError: There are no cases.
        """
        names = names_of(cases)

        def window(stream: Stream, step: int, place: int, batch: int) -> Window:
            rng = numpy_generator(*stream, "patches", step, place)
            name = names[int(rng.integers(len(names)))]
            return Window(name, crop_start(cases[name], self.size, self.jitter, self.foreground_share, rng))

        return Draws(self.size, window, padding_counts=self.padding_counts)


@dataclass(frozen=True)
class PositiveNegative:
    """A fixed ratio of patches centred on lesion and on healthy voxels.

    In turn, `positive` patches are centred on lesion and `negative` ones on healthy voxels. Positive patches come from
    cases with a lesion, and their centre is any of its lesion voxels. Negative patches come from any case, and their
    centre is a voxel of the brain that is not lesion (a lesion may still reach into the patch). Padding is as in
    `WeightedCrop`.
    """

    size: Size
    positive: int = 1
    negative: int = 1
    jitter: int = 0
    padding_counts: bool = True

    def __post_init__(self) -> None:
        """Check the settings."""
        check_crop(self.size, self.jitter, 1.0)
        if min(self.positive, self.negative) < 0 or self.positive + self.negative < 1:
            raise UsageError(
                f"positive and negative are whole numbers of 0 or more, one of them at least 1, "
                f"got {self.positive} and {self.negative}"
            )

    def over(self, cases: Cases) -> Draws:
        """Prepare independent draws; reads every case once.

        Raises:
            UsageError: No case has a lesion to centre on.
        """
        names = names_of(cases)
        with_lesion = [name for name in names if len(cases[name].lesion_voxels)]
        if self.positive and not with_lesion:
            raise UsageError(f"none of the {len(names)} cases has a lesion: ask for positive=0 or give other cases")

        def window(stream: Stream, step: int, place: int, batch: int) -> Window:
            rng = numpy_generator(*stream, "patches", step, place)
            wanted = ((step - 1) * batch + place) % (self.positive + self.negative) < self.positive
            among = with_lesion if wanted else names
            case = cases[among[int(rng.integers(len(among)))]]
            check_fits(case, self.size)
            centre = _voxel(case, rng, lesion=wanted)
            shift = rng.integers(-self.jitter, self.jitter, size=len(self.size), endpoint=True)
            return Window(case.name, start_around(case.shape, self.size, centre + shift))

        return Draws(self.size, window, padding_counts=self.padding_counts)


@dataclass(frozen=True)
class WholeImages:
    """Whole images, each once in an epoch, in an order drawn from stream and epoch.

    All are padded to one size: `size`, or else the longest case along each axis, rounded up to a multiple of
    `multiple`. The image lies in the middle; padding is masked unless `padding_counts`.
    """

    size: Size | None = None
    multiple: int = DIVISOR
    padding_counts: bool = False

    def __post_init__(self) -> None:
        """Check the settings."""
        if self.size is not None:
            check_size(self.size)
        if self.multiple < 1:
            raise UsageError(f"multiple is a whole number of 1 or more, got {self.multiple}")

    def over(self, cases: Cases) -> Draws:
        """Prepare draws by epochs; reads every case once.

        Raises:
            UsageError: A case is larger than `size`.
        """
        shapes = {name: cases[name].shape for name in names_of(cases)}
        size = self.size or _common_size(shapes, self.multiple)
        windows = [Window(name, _middle(name, shape, size)) for name, shape in shapes.items()]
        return _each_once(windows, size, self.padding_counts)


@dataclass(frozen=True)
class WholeSlices:
    """Whole slices of volumes, each once in an epoch, in an order drawn from stream and epoch.

    Slices lie across the last axis. Each is padded to `size`, (x, y, 1), and lies in its middle; padding is masked
    unless `padding_counts`.
    """

    size: Size
    padding_counts: bool = False

    def __post_init__(self) -> None:
        """Check the settings."""
        check_size(self.size)
        if self.size[2:] != (1,):
            raise UsageError(
                f"slices are drawn for a patch [x, y, 1], got {list(self.size)}; the sampler whole takes it"
            )

    def over(self, cases: Cases) -> Draws:
        """Prepare draws by epochs; reads every case once.

        Raises:
            UsageError: A slice is larger than `size`, or a case is no volume.
        """
        windows = []
        for name in names_of(cases):
            check_fits(cases[name], self.size)
            *plane, slices = cases[name].shape
            x, y, _ = _middle(name, (*plane, 1), self.size)
            windows += [Window(name, (x, y, number)) for number in range(slices)]
        return _each_once(windows, self.size, self.padding_counts)


def _middle(name: str, shape: Size, size: Size) -> Size:
    """First voxel of the window that holds a whole image in its middle; raise UsageError where it is too small."""
    if len(shape) != len(size) or any(length > width for length, width in zip(shape, size, strict=True)):
        raise UsageError(f"{name} is {shape}, which does not fit in {size}; give a larger size or leave it out")
    return tuple(-(-(length - width) // 2) for length, width in zip(shape, size, strict=True))


def _each_once(windows: Sequence[Window], size: Size, padding_counts: bool) -> Draws:
    """Draws that visit each window once in an epoch, in an order of its own."""

    def window(stream: Stream, step: int, place: int, batch: int) -> Window:
        return windows[shuffled_index(stream, len(windows), (step - 1) * batch + place)]

    return Draws(size, window, len(windows), padding_counts)


def names_of(cases: Cases) -> list[str]:
    """List the names of the cases in the order that all samplers use.

    Raises:
        UsageError: There are no cases.
    """
    if not cases:
        raise UsageError("there are no cases to draw patches from")
    return sorted(cases)


def shuffled_index(stream: Stream, count: int, position: int) -> int:
    """Find which of `count` things stands at a position, if each epoch visits each once in its own order."""
    epoch, place = divmod(position, count)
    return int(_order(stream, epoch, count)[place])


@lru_cache(maxsize=8)
def _order(stream: Stream, epoch: int, count: int) -> tuple[int, ...]:
    return tuple(numpy_generator(*stream, "order", epoch).permutation(count).tolist())


def _voxel(case: PreparedCase, rng: np.random.Generator, *, lesion: bool) -> npt.NDArray[np.int64]:
    """Draw a voxel (axes,) of the lesions, or of the brain without them (with them where it is all lesion)."""
    among = case.lesion_voxels if lesion else case.brain_voxels
    chosen = int(among[int(rng.integers(len(among)))])
    if not lesion:
        # Lesions are rare, so drawing again is quicker than listing what is healthy.
        for _ in range(TRIES):
            if not case.reference.flat[chosen]:
                break
            chosen = int(among[int(rng.integers(len(among)))])
    return np.array(np.unravel_index(chosen, case.shape), dtype=np.int64)


def _common_size(shapes: Mapping[str, Size], multiple: int) -> Size:
    axes = {len(shape) for shape in shapes.values()}
    if len(axes) > 1:
        raise UsageError("some cases have two axes and some three: they can't stand in one batch")
    return tuple(-(-max(lengths) // multiple) * multiple for lengths in zip(*shapes.values(), strict=True))

"""What a model finds in a pair of visits that belongs to its user: synthetic lesions of known size and contrast.

Ellipsoids with partial-volume borders brighten the follow-up of a prepared case, many at a time and far from one
another, in tissue of medium intensity where the model marks nothing. A lesion counts as found if the model then marks
one of its voxels. The visits are prepared before the lesions are put in.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lesionloss.core.argument_types import check_field_types
from lesionloss.core.errors import DataError, UsageError
from lesionloss.core.randomness import numpy_generator
from lesionloss.data.prepared import PreparedCase
from lesionloss.inference.difference_threshold import depth_below_surface_mm

FINE = 3  # parts of a voxel along each axis, for partial volume
AT_ONCE = 12  # lesions in one image
TRIES = 400  # places that are tried for a lesion
_MEDIUM = (25, 75)  # percentiles of the intensities of tissue that lesions are put in
_WIDEST = 1.5  # an ellipsoid's longest axis over that of a ball, at most

Marked = Callable[[PreparedCase], NDArray[np.bool_]]


@dataclass(frozen=True)
class SelfCheckSettings:
    """Which lesions are put in, and where.

    Attributes:
        volumes_mm3: Their volumes.
        contrasts: How much they brighten the follow-up, in standard deviations of the brain's intensities.
        lesions: Lesions of each volume and contrast.
        depth_mm: Smallest distance of a lesion's centre from the outside of the brain.
        apart_mm: Smallest distance between the borders of two lesions, and of what the model marks anyway.
        seed: Of places and shapes.

    Raises:
        UsageError: A value is out of range.
    """

    volumes_mm3: tuple[float, ...] = (10.0, 20.0, 50.0, 100.0, 200.0, 500.0)
    contrasts: tuple[float, ...] = (0.5, 1.0, 1.5, 2.0)
    lesions: int = 12
    depth_mm: float = 8.0
    apart_mm: float = 8.0
    seed: int = 1

    def __post_init__(self) -> None:
        """Check the values."""
        check_field_types(self)
        for name in ("volumes_mm3", "contrasts"):
            values = getattr(self, name)
            if not values or not all(0 < value < float("inf") for value in values):
                raise UsageError(f"{name} must be one or more numbers above 0, got {values!r}")
            if len(set(values)) < len(values):
                raise UsageError(f"{name} must be different numbers, got {values!r}; leave out what is there twice")
        if self.lesions < 1:
            raise UsageError(f"lesions must be 1 or more, got {self.lesions}")


@dataclass(frozen=True)
class SelfCheckRow:
    """How many lesions of a volume and a contrast were put in, and how many the model found."""

    volume_mm3: float
    contrast: float
    lesions: int
    found: int


@dataclass(frozen=True, eq=False)
class _Lesion:
    """A lesion in an image: its voxels' shares of lesion tissue in a box, and how much it brightens them."""

    volume_mm3: float
    contrast: float
    box: tuple[slice, ...]
    shares: NDArray[np.float32]


def self_check(
    case: PreparedCase,
    marked: Marked,
    settings: SelfCheckSettings,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[SelfCheckRow, ...]:
    """Put synthetic lesions into the follow-up of a case and count those that a model finds.

    Args:
        case: Two visits, z-scored, as the model takes them.
        marked: The model: from a case to the voxels (*space) that it marks.
        settings: Sizes, contrasts and places of the lesions.
        progress: Called with 0 after the pair itself, then with the number of each image, and with the number of all.

    Returns:
        A row for each volume and contrast, in the order of the settings.

    Raises:
        DataError: The case has one visit only, or no room for the lesions.
    """
    if not any(name.startswith("baseline") for name in case.channels):
        raise DataError(f"{case.name}: new lesions need two visits; the model's images have one")
    rng = numpy_generator("self-check", settings.seed)
    before = marked(case)
    kinds = [(v, c) for v in settings.volumes_mm3 for c in settings.contrasts for _ in range(settings.lesions)]
    order = [kinds[index] for index in rng.permutation(len(kinds))]  # each image holds lesions of all kinds
    images = [order[start : start + AT_ONCE] for start in range(0, len(order), AT_ONCE)]
    counts = dict.fromkeys(kinds, 0)
    if progress is not None:
        progress(0, len(images))
    for number, wanted in enumerate(images, 1):
        lesions = list(_placed(case, before, wanted, settings, rng))
        after = marked(with_lesions(case, [(each.box, each.contrast * each.shares) for each in lesions]))
        for each in lesions:
            counts[each.volume_mm3, each.contrast] += bool((after[each.box] & (each.shares > 0)).any())
        if progress is not None:
            progress(number, len(images))
    return tuple(SelfCheckRow(*kind, settings.lesions, found) for kind, found in counts.items())


def with_lesions(case: PreparedCase, brighter: Sequence[tuple[tuple[slice, ...], NDArray[np.float32]]]) -> PreparedCase:
    """The case with a follow-up, and a difference, that are brighter by some amounts in some boxes."""
    image = case.image.copy()
    for index, name in enumerate(case.channels):
        if not name.startswith("baseline"):
            for box, amount in brighter:
                image[index][box] += amount
    return replace(case, image=image)


def _placed(
    case: PreparedCase,
    before: NDArray[np.bool_],
    wanted: Sequence[tuple[float, float]],
    settings: SelfCheckSettings,
    rng: np.random.Generator,
) -> Iterator[_Lesion]:
    """The wanted lesions, one by one at a place with room for it."""
    import edt

    room = np.asarray(edt.edt(~before, anisotropy=case.spacing_mm, parallel=1)) if before.any() else None
    followup = case.image[len(case.channels) // 2]
    low, high = np.percentile(followup[case.brain], _MEDIUM)
    deep = depth_below_surface_mm(case.brain, case.spacing_mm) >= settings.depth_mm
    centres = np.argwhere(deep & (followup >= low) & (followup <= high))
    taken: list[tuple[NDArray[np.float64], float]] = []
    for volume, contrast in wanted:
        radius = _WIDEST * _ball_radius(volume)
        for index in rng.integers(0, len(centres), TRIES) if len(centres) else ():
            centre = centres[index]
            point = centre * np.asarray(case.spacing_mm)
            free = room is None or room[tuple(centre)] > radius + settings.apart_mm
            if free and all(np.linalg.norm(point - at) > radius + r + settings.apart_mm for at, r in taken):
                taken.append((point, radius))
                yield _Lesion(volume, contrast, *_ellipsoid(case, centre, volume, rng))
                break
        else:
            raise DataError(
                f"{case.name}: no room for a lesion of {volume:g} mm³ at {settings.depth_mm:g} mm below the brain's "
                "surface; take smaller volumes, or check the brain mask"
            )


def _ball_radius(volume_mm3: float) -> float:
    return float((3 * volume_mm3 / (4 * np.pi)) ** (1 / 3))


def _ellipsoid(
    case: PreparedCase, centre: NDArray[np.int64], volume_mm3: float, rng: np.random.Generator
) -> tuple[tuple[slice, ...], NDArray[np.float32]]:
    """A box in the image, and the share of each of its voxels that lies in an ellipsoid turned at random."""
    spacing = np.asarray(case.spacing_mm)
    ratios = rng.uniform(1 / _WIDEST, _WIDEST, 3)
    semi_axes = _ball_radius(volume_mm3) * ratios / ratios.prod() ** (1 / 3)
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    reach = np.ceil(semi_axes.max() / spacing).astype(int) + 1
    box = tuple(
        slice(max(0, int(c - r)), min(side, int(c + r) + 1))
        for c, r, side in zip(centre, reach, case.shape, strict=True)
    )
    middle = centre + rng.uniform(-0.5, 0.5, 3)
    parts = (np.arange(FINE) + 0.5) / FINE - 0.5
    axes = [
        ((np.arange(side.start, side.stop)[:, None] + parts) - at).ravel() * edge
        for side, at, edge in zip(box, middle, spacing, strict=True)
    ]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1) @ turn
    inside = ((points / semi_axes) ** 2).sum(-1) <= 1
    counted = inside.reshape([size for side in box for size in (side.stop - side.start, FINE)])
    return box, counted.mean(axis=(1, 3, 5), dtype=np.float32)

"""Small built-in data for plans that need pictures or several classes: rare bright shapes on a textured ground.

They are no phantom of any organ, but they have what makes lesions hard for a loss: few voxels, soft borders, and blobs
that look alike and are none. Each image is a patient. They depend on a seed only. Pictures are written in the form of
the nuclei's `.npz` file, volumes in nnU-Net's.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lesionloss.core.errors import UsageError
from lesionloss.core.files import atomic_file, atomic_folder, write_text
from lesionloss.core.randomness import numpy_generator
from lesionloss.synth.patient_files import nifti_bytes

CLASSES = ("disc", "ring", "bar")
GROUND, LOOKALIKES = 0.35, 3  # standard deviation of the texture; blobs that are no lesion
BRIGHT = (1.3, 1.0, 0.8)  # of each class above the ground, in arbitrary units
NOISE = 0.15


@dataclass(frozen=True)
class ShapesSettings:
    """Axes of space (2 or 3), voxels along each, and how many of `CLASSES` there are."""

    axes: int = 2
    side: int = 64
    classes: int = 1


def write_shapes(folder: Path, patients: int, seed: int, settings: ShapesSettings) -> str:
    """Write the images of a seed, unless they are there.

    Args:
        folder: Where they go.
        patients: How many images; each is a patient.
        seed: Seed of the images.
        settings: Their kind.

    Returns:
        `LAYOUT:PATH`, to open them by.

    Raises:
        UsageError: There are several classes in two dimensions.
    """
    if settings.axes == 2 and settings.classes > 1:
        raise UsageError("data.shapes_classes: pictures have one class; give shapes_axes = 3 for several")
    path = folder / ("shapes.npz" if settings.axes == 2 else "volumes")
    if not path.exists():
        images = [draw_shapes(seed, index, settings) for index in range(patients)]
        if settings.axes == 2:
            _write_pictures(path, images)
        else:
            _write_volumes(path, images, settings)
    return f"{'dsb2018' if settings.axes == 2 else 'nnunet'}:{path}"


def draw_shapes(seed: int, index: int, settings: ShapesSettings) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Draw one image; every class is in it, unless its shapes are covered by others.

    Args:
        seed: Seed of the images.
        index: Number of the image, from 0.
        settings: Its kind.

    Returns:
        Image float32 (*space) and class numbers uint8 (*space).
    """
    rng = numpy_generator("shapes", settings.axes, settings.side, settings.classes, seed, index)
    space = (settings.side,) * settings.axes
    image = GROUND * _texture(space, rng)
    labels = np.zeros(space, dtype=np.uint8)
    for _ in range(LOOKALIKES):
        # As bright as a shape but without a border: only its surroundings tell.
        distance, radius = _distance(space, rng), settings.side * rng.uniform(0.08, 0.14)
        image += BRIGHT[0] * np.exp(-((distance / radius) ** 2))
    for number in range(1, settings.classes + 1):
        for _ in range(int(rng.integers(1, 4))):
            inside, soft = _shape(CLASSES[number - 1], space, settings.side, rng)
            image += BRIGHT[number - 1] * soft
            labels[inside] = number
    image += NOISE * rng.standard_normal(space)
    return image.astype(np.float32), labels


def _shape(
    kind: str, space: Sequence[int], side: int, rng: np.random.Generator
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Draw a shape: its mask, and its brightness from 0 to 1, soft over about a voxel."""
    radius = side * rng.uniform(0.05, 0.1)
    if kind == "bar":
        far = _bar_distance(space, rng, 2.0 * radius) - 0.4 * radius
    elif kind == "ring":
        far = np.abs(_distance(space, rng) - 1.4 * radius) - 0.4 * radius
    else:
        far = _distance(space, rng) - radius
    return far < 0, 1 / (1 + np.exp(np.clip(2.5 * far, -30, 30)))


def _points(space: Sequence[int], rng: np.random.Generator) -> NDArray[np.float64]:
    """Compute offsets (axes, *space) in voxels from a random centre that is not near the border."""
    centre = [rng.uniform(0.18, 0.82) * length for length in space]
    return np.stack(np.meshgrid(*(np.arange(n) - c for n, c in zip(space, centre, strict=True)), indexing="ij"))


def _distance(space: Sequence[int], rng: np.random.Generator) -> NDArray[np.float64]:
    return np.asarray(np.linalg.norm(_points(space, rng), axis=0))


def _bar_distance(space: Sequence[int], rng: np.random.Generator, half: float) -> NDArray[np.float64]:
    """Compute the distance from a straight piece of 2 `half` voxels in a random direction."""
    points = _points(space, rng)
    direction = rng.standard_normal(len(space))
    direction /= np.linalg.norm(direction)
    along = np.clip(np.tensordot(direction, points, axes=1), -half, half)
    return np.asarray(np.linalg.norm(points - direction.reshape(-1, *[1] * len(space)) * along, axis=0))


def _texture(space: Sequence[int], rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw a smooth random field of mean 0 and standard deviation 1."""
    from scipy.ndimage import gaussian_filter

    field = gaussian_filter(rng.standard_normal(space), 3.0, mode="wrap")
    return np.asarray((field - field.mean()) / field.std())


Images = Sequence[tuple[NDArray[np.float32], NDArray[np.uint8]]]


def _write_pictures(path: Path, images: Images) -> None:
    """Write pictures in 8-bit colours; the shapes are a little redder than the look-alikes."""
    pictures = np.stack([_coloured(image, labels) for image, labels in images])
    masks = np.stack([labels.T for _, labels in images])
    with atomic_file(path) as temporary, temporary.open("wb") as handle:
        ids = np.array([f"shape{number:03d}" for number in range(1, len(images) + 1)])
        np.savez_compressed(handle, allow_pickle=False, images=pictures, masks=masks, ids=ids)


def _coloured(image: NDArray[np.float32], labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Colour an image (X, Y): (rows, columns, 3)."""
    grey = np.clip(90 + 55 * image, 0, 255)
    tint = 12.0 * labels
    colours = np.stack([grey + tint, grey, grey - tint], axis=-1)
    return np.asarray(np.clip(np.rint(colours), 0, 255).transpose(1, 0, 2), dtype=np.uint8)


def _write_volumes(folder: Path, images: Images, settings: ShapesSettings) -> None:
    """Write two contrasts; the second shows the ground inverted, as T1 does FLAIR."""
    with atomic_folder(folder) as partial:
        (partial / "imagesTr").mkdir()
        (partial / "labelsTr").mkdir()
        for number, (image, labels) in enumerate(images, 1):
            second = np.where(labels > 0, -0.6, -image).astype(np.float32)
            for contrast, array in enumerate((image, second)):
                name = f"shape{number:03d}_{contrast:04d}.nii.gz"
                (partial / "imagesTr" / name).write_bytes(nifti_bytes(array, np.eye(4)))
            (partial / "labelsTr" / f"shape{number:03d}.nii.gz").write_bytes(nifti_bytes(labels, np.eye(4)))
        names = {name: number for number, name in enumerate(("background", *CLASSES[: settings.classes]))}
        record = {
            "channel_names": {"0": "bright", "1": "dark"},
            "labels": names,
            "numTraining": len(images),
            "file_ending": ".nii.gz",
        }
        write_text(partial / "dataset.json", json.dumps(record, indent=2) + "\n")

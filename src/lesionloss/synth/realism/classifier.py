"""A small network that learns to distinguish real from synthetic patches; its AUC says how well that works.

An AUC of 0.5 means that it can't. It is cross-validated by patient: no patient is in training and in test.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lesionloss.core.errors import UsageError
from lesionloss.core.randomness import numpy_generator, torch_generator
from lesionloss.data.prepared import PreparedCase

if TYPE_CHECKING:
    import torch
    from torch import nn

VIEWS = {"one visit": (1,), "difference": (2,), "both visits and difference": (0, 1, 2)}
SIDE_MM = 24.0
SIDE = 32  # pixels to which a patch is interpolated, so that grids of different spacing meet in one size


@dataclass(frozen=True)
class ClassifierResult:
    """How well one view separates real from synthetic patches: AUC over all test patches, and of each fold."""

    view: str
    auc: float
    folds: tuple[float, ...]
    patches: tuple[int, int]


@dataclass(frozen=True)
class ClassifierSettings:
    """Patches of a case, folds, and the training of the small network."""

    patches: int = 60
    folds: int = 3
    steps: int = 150
    batch: int = 32
    learning_rate: float = 2e-3


@dataclass(frozen=True, eq=False)
class CasePatches:
    """Patches of one patient (n, 3, SIDE, SIDE) float32: axial, z-scored visits and their difference."""

    patient: str
    real: bool
    images: NDArray[np.float32]


def draw_patches(case: PreparedCase, *, real: bool, settings: ClassifierSettings) -> CasePatches:
    """Cut axial squares of 24 mm around random voxels of the brain, rotated and flipped at random.

    Args:
        case: A prepared pair of visits.
        real: Whether the patient is real.
        settings: How many patches.

    Returns:
        The patches.
    """
    from scipy import ndimage

    draw = numpy_generator("telling", case.name, int(real))
    centres = draw.choice(case.brain_voxels, settings.patches)
    across = int(np.argmax(case.spacing_mm)) if max(case.spacing_mm) > 1.5 * min(case.spacing_mm) else 2
    plane = [axis for axis in range(3) if axis != across]
    grid = (np.indices((SIDE, SIDE)) - (SIDE - 1) / 2) * (SIDE_MM / SIDE)
    images = np.empty((settings.patches, 3, SIDE, SIDE), np.float32)
    for index, centre in enumerate(np.array(np.unravel_index(centres, case.shape)).T):
        where = [centre[axis] + grid[number] / case.spacing_mm[axis] for number, axis in enumerate(plane)]
        for channel, volume in enumerate(case.image):
            flat = np.asarray(volume.take(int(centre[across]), axis=across))
            images[index, channel] = ndimage.map_coordinates(flat, where, order=1, mode="constant", output=np.float32)
        turned = np.rot90(images[index], int(draw.integers(4)), axes=(1, 2))
        images[index] = turned[:, ::-1] if draw.random() < 0.5 else turned
    return CasePatches(case.patient, real, images)


def cross_validate(patches: Sequence[CasePatches], settings: ClassifierSettings) -> Iterator[ClassifierResult]:
    """Train and test the classifier for each view, cross-validated by patient.

    Args:
        patches: Patches of all patients.
        settings: Folds and training.

    Yields:
        The result of each view.

    Raises:
        UsageError: There are fewer than two real or two synthetic patients.
    """
    folds = _folds(patches, settings)
    for view, channels in VIEWS.items():
        scores, truths, each = [], [], []
        for number, out in enumerate(folds):
            learned = [found for found in patches if found.patient not in out]
            judged = [found for found in patches if found.patient in out]
            x, y = _joined(learned, channels)
            unseen, truth = _joined(judged, channels)
            score = _learn(x, y, unseen, settings, (view, number))
            scores.append(score)
            truths.append(truth)
            each.append(auc(score, truth))
        truth = np.concatenate(truths)
        yield ClassifierResult(
            view, auc(np.concatenate(scores), truth), tuple(each), (int((truth == 1).sum()), int((truth == 0).sum()))
        )


def auc(scores: NDArray[np.floating], truth: NDArray[np.floating]) -> float:
    """Compute the probability that a real patch gets a higher score than a synthetic one; ties count half.

    Args:
        scores: (n,).
        truth: 1 for real, 0 for synthetic patches (n,).

    Returns:
        The area under the ROC curve.
    """
    from scipy import stats

    ranks = stats.rankdata(scores)
    positive = truth == 1
    count = int(positive.sum())
    return float((ranks[positive].sum() - count * (count + 1) / 2) / (count * int((~positive).sum())))


def _folds(patches: Sequence[CasePatches], settings: ClassifierSettings) -> list[set[str]]:
    """Choose the patients of each test fold: each has some of either kind."""
    real, synthetic = ([found.patient for found in patches if found.real is kind] for kind in (True, False))
    count = min(settings.folds, len(real), len(synthetic))
    if count < 2:
        raise UsageError(
            f"telling patches apart needs two complete patients of either kind, got {len(real)} real and "
            f"{len(synthetic)} synthetic; add patients or leave the classifier out"
        )
    return [{*real[fold::count], *synthetic[fold::count]} for fold in range(count)]


def _joined(
    patches: Sequence[CasePatches], channels: tuple[int, ...]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    images = np.concatenate([found.images[:, list(channels)] for found in patches])
    truth = np.concatenate([np.full(len(found.images), float(found.real), np.float32) for found in patches])
    return images, truth


def _learn(
    x: NDArray[np.float32],
    y: NDArray[np.float32],
    unseen: NDArray[np.float32],
    settings: ClassifierSettings,
    name: tuple[str, int],
) -> NDArray[np.floating]:
    """Train on x (n, C, SIDE, SIDE), with equally many real and synthetic patches in a batch.

    Returns the scores of `unseen`.
    """
    import torch
    from torch import nn

    network = _network(x.shape[1], torch_generator("telling", *name))
    optimiser = torch.optim.Adam(network.parameters(), settings.learning_rate)
    kinds = [np.flatnonzero(y == kind) for kind in (0, 1)]
    draw = numpy_generator("telling", *name)
    network.train()
    for _ in range(settings.steps):
        chosen = np.concatenate([draw.choice(kind, settings.batch // 2) for kind in kinds])
        logits = network(torch.from_numpy(x[chosen])).squeeze(1)
        loss = nn.functional.binary_cross_entropy_with_logits(logits, torch.from_numpy(y[chosen]))
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimiser.step()
    network.eval()
    with torch.no_grad():
        scores = [network(part).squeeze(1) for part in torch.split(torch.from_numpy(unseen), 256)]
    return np.asarray(torch.cat(scores).numpy())


def _network(channels: int, generator: "torch.Generator") -> "nn.Module":
    import torch
    from torch import nn

    widths = (channels, 12, 24, 32)
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2)]
    network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(widths[-1], 1))
    for parameter in network.parameters():
        if parameter.ndim > 1:
            bound = (6 / parameter[0].numel()) ** 0.5
            with torch.no_grad():
                parameter.uniform_(-bound, bound, generator=generator)
    return network

"""What laws are made of: the loss under test, small float64 batches that are the same in each run, and comparisons."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from lesionloss.core.errors import UsageError
from lesionloss.core.randomness import torch_generator
from lesionloss.losses import registry
from lesionloss.losses.criterion import Loss, build
from lesionloss.losses.kernels import Kernel
from lesionloss.losses.spec import Spec, SpecTerm, parse

ZERO_TOLERANCE = 1e-3  # a loss "of 0" may be that large: smoothing, and the floor under powers below 1


class LawBroken(Exception):
    """A law does not hold; the message is the counterexample."""


class NotApplicable(Exception):
    """A law does not apply to a loss; the message says why."""


@dataclass(frozen=True)
class LawBatch:
    """logits (B, C, *space) in float64, labels (B, *space) class numbers, valid and weight (B, *space) or None."""

    logits: Tensor
    labels: Tensor
    valid: Tensor | None = None
    weight: Tensor | None = None
    spacing_mm: tuple[float, ...] | None = None
    maps: dict[str, Tensor] | None = None

    @property
    def lesion(self) -> Tensor:
        """Lesion voxels, (B, *space) bool."""
        return self.labels > 0

    @property
    def background(self) -> Tensor:
        """Background voxels, (B, *space) bool."""
        return self.labels == 0

    def describe(self) -> str:
        """Shape, share of lesion voxels and mask, for messages."""
        share = 100 * self.lesion.double().mean().item()
        masked = "" if self.valid is None else ", some voxels masked"
        return f"logits {tuple(self.logits.shape)}, {share:.1f} % lesion{masked}"

    def with_logits(self, logits: Tensor) -> "LawBatch":
        """The same labels and mask with other logits."""
        return replace(self, logits=logits)


def make_batch(
    name: str, channels: int = 1, space: tuple[int, ...] = (4, 5, 6), images: int = 2, lesion: float = 0.1
) -> LawBatch:
    """A random batch that depends on nothing but its arguments; each image holds each class at least once.

    Args:
        name: seeds the random numbers.
        channels: C of the logits, (images, C, *space).
        space: sides in voxels.
        images: B, the number of images.
        lesion: share of lesion voxels.
    """
    stream = torch_generator("laws", name, channels, images, *space)
    logits = 1.5 * torch.randn((images, channels, *space), generator=stream, dtype=torch.float64)
    labels = (torch.rand((images, *space), generator=stream) < lesion).long()
    classes = max(2, channels)
    if classes > 2:
        labels = labels * torch.randint(1, classes, labels.shape, generator=stream)
    flat = labels.view(images, -1)
    for number in range(classes):
        flat[:, int(torch.randint(number, flat.shape[1] - classes, (1,), generator=stream))] = number
        flat[:, number] = number
    return LawBatch(logits, labels)


def perfect_logits(batch: LawBatch, size: float) -> Tensor:
    """Logits of the perfect prediction, (B, C, *space); `size` is the distance between right and wrong classes."""
    channels = batch.logits.shape[1]
    if channels == 1:
        return torch.where(batch.lesion, size, -size)[:, None].to(batch.logits.dtype)
    numbers = torch.arange(channels).view(1, -1, *[1] * (batch.labels.dim() - 1))
    return torch.where(batch.labels[:, None] == numbers, size, 0.0).to(batch.logits.dtype)


def make_lesions(channels: int, space: tuple[int, ...]) -> LawBatch:
    """Two lesions of the first class in opposite corners, and one of the last class; in voxels that are no cubes.

    No voxel is as near to one lesion as to the other, because which one is nearer would depend on the order.

    Args:
        channels: C of the logits, (1, channels, *space).
        space: sides in voxels, 5 or more of the last axis.
    """
    logits = make_batch("lesions", channels, space, images=1).logits
    labels = torch.zeros((1, *space), dtype=torch.long)
    flat = labels.view(-1, space[-1])
    flat[-1, -2:] = 1
    if channels > 2:
        flat[len(flat) // 2, 2:4] = channels - 1
    flat[0, :1] = 1
    return LawBatch(logits, labels, spacing_mm=(0.71, 1.37, 1.13)[: len(space)])


def _called(criterion: Loss, batch: LawBatch, *, reduce: bool) -> Tensor:
    return criterion(
        batch.logits,
        batch.labels,
        valid=batch.valid,
        reduce=reduce,
        weight=batch.weight,
        spacing_mm=batch.spacing_mm,
        maps=batch.maps,
    )


@dataclass(frozen=True)
class LossUnderTest:
    """The loss that laws are tested on: its text, and its kernel (None: the one used in training)."""

    text: str
    kernel: Kernel | None = None

    @cached_property
    def spec(self) -> Spec:
        """The parsed text."""
        return parse(self.text)

    def loss(
        self,
        text: str | None = None,
        *,
        pooled: bool = False,
        multilabel: bool = False,
        class_weights: tuple[float, ...] | None = None,
    ) -> Loss:
        """The criterion of this loss, or of another text."""
        return build(
            text or self.text,
            kernel=self.kernel,
            pooled=pooled,
            multilabel=multilabel,
            class_weights=class_weights,
        )

    def each(
        self, batch: LawBatch, text: str | None = None, *, pooled: bool = False, multilabel: bool = False
    ) -> Tensor:
        """One value per image, (B,), or (1,) if the batch is pooled."""
        criterion = self.loss(text, pooled=pooled, multilabel=multilabel)
        return _called(criterion, batch, reduce=False)

    def value(self, batch: LawBatch, text: str | None = None) -> float:
        """The mean over images."""
        return float(self.each(batch, text).mean())

    def gradient(self, batch: LawBatch, text: str | None = None, scale: float = 1.0) -> Tensor:
        """The gradient of the mean over images with respect to the logits, (B, C, *space), times `scale`."""
        logits = batch.logits.clone().requires_grad_()
        value = _called(self.loss(text), batch.with_logits(logits), reduce=True)
        if not value.requires_grad:
            raise LawBroken("the value does not depend on the logits, so there is no gradient")
        (gradient,) = torch.autograd.grad(scale * value, logits)
        return gradient

    @property
    def geometric(self) -> bool:
        """Whether it depends on where voxels lie."""
        return any(registry.get(term.name).geometric for term in self.spec.terms)

    @cached_property
    def channels(self) -> tuple[int, ...]:
        """The numbers of channels that the loss takes: 1 and 2, and 3 unless it refuses more than two classes."""
        try:
            self.value(make_batch("heads", channels=3))
        except UsageError:
            return (1, 2)
        return (1, 2, 3)

    def batches(self, name: str) -> Iterator[LawBatch]:
        """Batches with every number of channels, in 2-D and 3-D, with few and many lesion voxels."""
        for channels in self.channels:
            yield make_batch(name, channels, (5, 6), images=3, lesion=0.3)
            yield make_batch(name, channels, (4, 5, 6), lesion=0.02)

    def variants(self, term: SpecTerm, key: str, values: tuple[float, ...]) -> list[str]:
        """Texts of one summand, with a hyperparameter at each of these values."""
        given = dict(term.given)
        return [str(SpecTerm(1.0, term.name, tuple((given | {key: value}).items()))) for value in values]

    def hyperparameters(self) -> Iterator[tuple[SpecTerm, str, float | None]]:
        """Each numerical hyperparameter: its summand, its name and its value."""
        for term in self.spec.terms:
            for key, default in registry.get(term.name).defaults.items():
                value = dict(term.given).get(key, default)
                if not isinstance(value, bool):
                    yield term, key, value


@dataclass(frozen=True)
class Law:
    """A statement that holds for every loss, and the function that searches for a counterexample."""

    name: str
    statement: str
    check: Callable[[LossUnderTest], None]


def law(name: str) -> Callable[[Callable[[LossUnderTest], None]], Law]:
    """Make a law from a function, whose docstring is its statement."""

    def make(check: Callable[[LossUnderTest], None]) -> Law:
        return Law(name, " ".join((check.__doc__ or "").split()), check)

    return make


def equal(found: Tensor, expected: Tensor, words: str, tolerance: float = 1e-9) -> None:
    """Compare two results.

    Raises:
        LawBroken: if they differ, with both in the message.
    """
    difference = (found - expected).abs()
    # Negated, so that NaN breaks the law.
    if not bool((difference <= tolerance * (1 + expected.abs())).all()):
        worst = int(difference.nan_to_num(nan=torch.inf).argmax())
        raise LawBroken(f"{words}: {found.flatten()[worst]:.12g} instead of {expected.flatten()[worst]:.12g}")

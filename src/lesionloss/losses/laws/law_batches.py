"""What a law looks at: one loss, and batches to try it on. Everything is small, in float64 and without chance."""

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

NOTHING = 1e-3  # what "costs nothing" may cost: smoothing, and the floor under powers below 1


class Broken(Exception):
    """A law does not hold; the message is the counterexample."""


class NotApplicable(Exception):
    """A law says nothing about this loss; the message says why."""


@dataclass(frozen=True)
class Batch:
    """logits (B, C, *space) in float64, labels (B, *space) class numbers, valid (B, *space) or None."""

    logits: Tensor
    labels: Tensor
    valid: Tensor | None = None

    @property
    def lesion(self) -> Tensor:
        """(B, *space) bool."""
        return self.labels > 0

    @property
    def background(self) -> Tensor:
        return self.labels == 0

    def describe(self) -> str:
        """Enough to build it again by hand."""
        share = 100 * self.lesion.double().mean().item()
        masked = "" if self.valid is None else ", some voxels masked"
        return f"logits {tuple(self.logits.shape)}, {share:.1f} % lesion{masked}"

    def with_logits(self, logits: Tensor) -> "Batch":
        return replace(self, logits=logits)


def make_batch(
    name: str, channels: int = 1, space: tuple[int, ...] = (4, 5, 6), images: int = 2, lesion: float = 0.1
) -> Batch:
    """A varied batch; each image holds each class at least once."""
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
    return Batch(logits, labels)


def perfect_logits(batch: Batch, size: float) -> Tensor:
    """Logits of the right answer, with that many units between right and wrong."""
    channels = batch.logits.shape[1]
    if channels == 1:
        return torch.where(batch.lesion, size, -size)[:, None].to(batch.logits.dtype)
    numbers = torch.arange(channels).view(1, -1, *[1] * (batch.labels.dim() - 1))
    return torch.where(batch.labels[:, None] == numbers, size, 0.0).to(batch.logits.dtype)


@dataclass(frozen=True)
class Subject:
    """A loss under examination: its text, and the kernel it is computed with (None: as usual)."""

    text: str
    kernel: Kernel | None = None

    @cached_property
    def spec(self) -> Spec:
        return parse(self.text)

    def loss(self, text: str | None = None, **options: bool) -> Loss:
        return build(text or self.text, kernel=self.kernel, **options)  # type: ignore[arg-type]  # flags by name

    def each(self, batch: Batch, text: str | None = None, **options: bool) -> Tensor:
        """One value per image."""
        value: Tensor = self.loss(text, **options)(batch.logits, batch.labels, valid=batch.valid, reduce=False)
        return value

    def value(self, batch: Batch, text: str | None = None) -> float:
        return float(self.each(batch, text).mean())

    def gradient(self, batch: Batch, text: str | None = None, scale: float = 1.0) -> Tensor:
        """Of the mean over images with respect to the logits, times `scale`."""
        logits = batch.logits.clone().requires_grad_()
        value = self.loss(text)(logits, batch.labels, valid=batch.valid)
        if not value.requires_grad:
            raise Broken("the value does not depend on the logits: there is no gradient at all")
        (gradient,) = torch.autograd.grad(scale * value, logits)
        return gradient

    @cached_property
    def channels(self) -> tuple[int, ...]:
        """The heads that the loss takes: 1 and 2, and 3 unless it refuses more than two classes."""
        try:
            self.value(make_batch("heads", channels=3))
        except UsageError:
            return (1, 2)
        return (1, 2, 3)

    def batches(self, name: str) -> Iterator[Batch]:
        """Every head, 2-D and 3-D, few and many lesion voxels."""
        for channels in self.channels:
            yield make_batch(name, channels, (5, 6), images=3, lesion=0.3)
            yield make_batch(name, channels, (4, 5, 6), lesion=0.02)

    def variants(self, term: SpecTerm, key: str, values: tuple[float, ...]) -> list[str]:
        """The text of one summand with a hyperparameter at each of these values."""
        given = dict(term.given)
        return [str(SpecTerm(1.0, term.name, tuple((given | {key: value}).items()))) for value in values]

    def hyperparameters(self) -> Iterator[tuple[SpecTerm, str, float | None]]:
        """Each number that a summand takes: the summand, the name and the value in force."""
        for term in self.spec.terms:
            for key, default in registry.get(term.name).defaults.items():
                value = dict(term.given).get(key, default)
                if not isinstance(value, bool):
                    yield term, key, value


@dataclass(frozen=True)
class Law:
    """A sentence that every loss must make true, and the function that looks for a counterexample."""

    name: str
    statement: str
    check: Callable[[Subject], None]


def law(name: str) -> Callable[[Callable[[Subject], None]], Law]:
    """Make a law of a function; its docstring is the sentence."""

    def make(check: Callable[[Subject], None]) -> Law:
        return Law(name, " ".join((check.__doc__ or "").split()), check)

    return make


def equal(found: Tensor, expected: Tensor, words: str, tolerance: float = 1e-9) -> None:
    """Raises Broken if two results differ, with both in the message."""
    difference = (found - expected).abs()
    # Written so that NaN breaks the law.
    if not bool((difference <= tolerance * (1 + expected.abs())).all()):
        worst = int(difference.nan_to_num(nan=torch.inf).argmax())
        raise Broken(f"{words}: {found.flatten()[worst]:.12g} instead of {expected.flatten()[worst]:.12g}")

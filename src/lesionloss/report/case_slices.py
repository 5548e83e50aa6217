"""The slice of a case that the figures show, and what each loss predicts there; all planes are (rows, columns)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesionloss.core.slice_pictures import (
    CLOSE_PIXEL_MM,
    CLOSE_UP_MM,
    Field,
    Pixels,
    around,
    close_up,
    covering,
    fullest_slice,
    grey,
    overlay,
)
from lesionloss.metrics.thresholds import is_lesion
from lesionloss.report.case_views import CaseViews
from lesionloss.report.probability_maps import Probability

PICTURE_PIXELS = 300
SMALL_SLICE = 0.5  # a close-up that would show more of the slice is not shown


@dataclass(frozen=True, eq=False)
class LossSlice:
    """The prediction of one trial in the slice.

    Attributes:
        loss: The loss.
        note: Its score in the case, and its seed.
        trained: Whether it is a map of a trained network; the difference threshold and masks of others are not.
        threshold: The threshold that was scored; None: each voxel has its most probable class (arg max).
        probability: Of any lesion.
        labels: The class numbers that were scored; 1 for lesion in a run of one class.
        of_classes: The probability of each class (classes, rows, columns); None if it was not kept.
    """

    loss: str
    note: str
    trained: bool
    threshold: float | None
    probability: Probability
    labels: NDArray[np.uint8]
    of_classes: Probability | None


@dataclass(frozen=True)
class Frame:
    """A rectangle of the slice, and the side of a pixel of its picture in mm."""

    name: str
    field: Field
    pixel_mm: float


@dataclass(frozen=True, eq=False)
class CaseSlice:
    """The slice with most lesion of a chosen case.

    Attributes:
        case: The case.
        role: Why it was chosen: worst, median, best.
        rule: In words, what it was chosen from.
        number: The slice, counted from 1, from the feet.
        images: Title and plane of each image.
        window: The values shown as black and white.
        reference: Class numbers; 0 in ignored voxels, too.
        classes: Names of the classes.
        counted: False in ignored voxels.
        brain: The brain, or the whole picture.
        plane_mm: The size of a voxel: row, column.
        flat: Whether the case is a two-dimensional picture.
        losses: The predictions, in the order of the run.
        absent: Losses without a prediction, and why.
    """

    case: str
    role: str
    rule: str
    number: int
    images: tuple[tuple[str, NDArray[Any]], ...]
    window: tuple[float, float]
    reference: NDArray[np.uint8]
    classes: tuple[str, ...]
    counted: NDArray[np.bool_]
    brain: NDArray[np.bool_]
    plane_mm: tuple[float, float]
    flat: bool
    losses: tuple[LossSlice, ...]
    absent: Mapping[str, str]

    @cached_property
    def frames(self) -> tuple[Frame, ...]:
        """The whole slice and a close-up of its largest lesion; the whole alone if it is small or two-dimensional."""
        field = around(self.brain | (self.reference > 0), self.plane_mm)
        whole = Frame("picture" if self.flat else "axial slice", field, max(field.size_mm) / PICTURE_PIXELS)
        close = close_up(self.reference > 0, self.plane_mm, CLOSE_UP_MM)
        if self.flat or np.prod(close.size_mm) > SMALL_SLICE * np.prod(field.size_mm):
            return (whole,)
        return whole, Frame("close-up", close, CLOSE_PIXEL_MM)

    @property
    def whole(self) -> str:
        """The word for what the whole picture shows."""
        return "picture" if self.flat else "slice"

    @property
    def detail(self) -> Frame:
        """Where to look for details: the close-up of the largest lesion, the whole slice of several classes."""
        return self.frames[0] if self.several else self.frames[-1]

    @property
    def all_lesions(self) -> Frame:
        """Where all lesions of the slice are seen: as near as possible, the whole slice of several classes."""
        if self.flat or self.several:
            return self.frames[0]
        field = covering(self.reference > 0, self.plane_mm, CLOSE_UP_MM)
        return Frame("all lesions", field, max(field.size_mm) / PICTURE_PIXELS)

    @property
    def several(self) -> bool:
        """Whether the run has several classes."""
        return len(self.classes) > 1

    @property
    def place(self) -> str:
        """The case and the slice in words."""
        return f"{self.case}" + ("" if self.flat else f", axial slice {self.number}")

    @property
    def chosen(self) -> str:
        """Case, slice, and why they are shown, as the first sentence of a caption."""
        most = "" if self.flat else ", which has most lesion"
        return f"Case {self.place}{most}: the {self.role} {self.rule}."

    @property
    def decision(self) -> str:
        """How voxels became lesion, in words: `threshold 0.5`, or `most probable class`."""
        used = sorted({each.threshold for each in self.losses if each.threshold is not None})
        if not used:
            return "most probable class"
        words = "threshold" + ("s " if len(used) > 1 else " ") + ", ".join(f"{value:g}" for value in used)
        return f"{words} for any class, then the most probable class" if self.several else words

    def grey(self, frame: Frame, title: str = "") -> Pixels:
        """An image of the case, by default the last, inside the brain."""
        plane = dict(self.images)[title or self.images[-1][0]]
        inside = np.where(self.brain, plane, self.window[0]) if self.brain.any() else plane
        return grey(inside, frame.field, self.window, frame.pixel_mm)

    def errors(self, each: LossSlice, frame: Frame) -> Pixels:
        """The last image with true positives, false positives, false negatives and wrong classes."""
        return overlay(self.grey(frame), each.labels, self.reference, frame.field, frame.pixel_mm)


@dataclass(frozen=True)
class ChosenCase:
    """A case that the figures show: its name, its role, and in words what it was chosen from."""

    case: str
    role: str
    rule: str


def case_slice(
    chosen: ChosenCase, views: CaseViews, losses: Sequence[LossSlice], absent: Mapping[str, str]
) -> CaseSlice:
    """The slice of a case with most lesion, from its views and from predictions in that slice."""
    plane = fullest_slice(views.reference)
    return CaseSlice(
        case=views.case,
        role=chosen.role,
        rule=chosen.rule,
        number=plane + 1,
        images=tuple((title, image[plane]) for title, image in views.images),
        window=views.window,
        reference=views.labels[plane],
        classes=views.classes,
        counted=views.counted[plane] != 2,
        brain=views.brain[plane],
        plane_mm=views.plane_mm,
        flat=views.flat,
        losses=tuple(losses),
        absent=absent,
    )


def mask_labels(probability: Probability, threshold: float) -> NDArray[np.uint8]:
    """The labels of a run of one class: 1 for lesion."""
    return is_lesion(probability, threshold).astype(np.uint8)

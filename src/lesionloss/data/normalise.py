"""From a subject to a prepared case: crop to the brain, z-score each visit inside it, subtract."""

from dataclasses import dataclass

from lesionloss.core.errors import UsageError
from lesionloss.data.preparation_recipe import Crop, Recipe
from lesionloss.data.preparation_steps import carry_out
from lesionloss.data.prepared import PreparedCase, channels_of
from lesionloss.data.read_case import reading_of
from lesionloss.data.subject import Subject
from lesionloss.data.subject_cases import case_of, work_of

__all__ = ["Preparation", "channels_of", "prepare"]


@dataclass(frozen=True)
class Preparation:
    """Settings. `margin_voxels` is kept on each side of the smallest box around brain and reference."""

    margin_voxels: int = 4

    def __post_init__(self) -> None:
        if self.margin_voxels < 0:
            raise UsageError(f"margin_voxels must be 0 or more, got {self.margin_voxels}")


def prepare(subject: Subject, settings: Preparation) -> PreparedCase:
    """Crop, normalise and subtract; see `PreparedCase` for what comes out.

    The box holds the brain and the whole reference, also where it leaves the brain mask. Without a brain mask a simple
    one is made from the mean of the visits' first contrasts; of a picture, all is kept. Outside the brain the image is
    0, the mean of the brain. Two visits get a difference of their first contrasts.
    Raises DataError where a visit is constant inside the brain.
    """
    recipe = Recipe(crop=Crop(margin_voxels=settings.margin_voxels))
    return case_of(carry_out(work_of(reading_of(subject)), recipe))

"""How a cohort is prepared: which steps, in which order, with which settings. TOML, checked as a whole."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from lesionloss.core.errors import UsageError
from lesionloss.core.validation_errors import explain_validation_error

Step = Literal[
    "orient", "register", "n4", "brain", "field_of_view", "resample", "crop", "clip", "normalise", "scale_to_unit",
    "match", "subtract",
]  # fmt: skip
FORMER_STEPS = {"difference": "subtract"}  # steps of version 0.1
Edge = Annotated[float, Field(ge=0.05, le=50)]
Side = Annotated[int, Field(ge=8, le=4096)]


class StepSettings(BaseModel):
    """Base of the settings of one step: frozen, and without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class OrientSettings(StepSettings):
    """Axes permuted and flipped, without interpolation: `to` names where each of the three runs, e.g. RAS or LPS."""

    to: str = "RAS"

    @model_validator(mode="after")
    def _three_directions(self) -> "OrientSettings":
        if sorted(self.to.translate(str.maketrans("LPI", "RAS"))) != ["A", "R", "S"] or len(self.to) != 3:
            raise ValueError(
                f"to must name three directions, one each of R/L, A/P and S/I, such as RAS; got {self.to!r}"
            )
        return self


class RegisterSettings(StepSettings):
    """Rigid registration of two visits, to the space halfway between them or to the follow-up's."""

    to: Literal["halfway", "followup"] = "halfway"


class N4Settings(StepSettings):
    """Bias field correction on voxels of about `voxel_mm`; `iterations` on each level of the field."""

    voxel_mm: Edge = 4.0
    iterations: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] = (50, 50, 50)


class BrainSettings(StepSettings):
    """The brain mask: the given one, one made by a simple threshold, an external program's, or the whole image.

    `auto` takes the given mask, and makes a simple one where there is none; `whole` ignores a given one. `tool` runs
    `command` on the first contrast of each visit: {image} stands for the image, {folder} for an empty folder; `mask` is
    the file that the program writes.
    """

    source: Literal["auto", "given", "builtin", "tool", "whole"] = "auto"
    command: tuple[str, ...] = ()
    mask: str = ""

    @model_validator(mode="after")
    def _consistent(self) -> "BrainSettings":
        if self.source == "tool" and not (self.command and self.mask):
            raise ValueError('source "tool" needs command (program and arguments) and mask (the file it writes)')
        return self


class ResampleSettings(StepSettings):
    """The edge lengths of the voxels in mm; empty keeps them. [0.5, 0.75, 0.75] are those of the HyTver paper.

    `size` replaces them: the number of voxels along each axis, whatever the edge lengths become (pictures of many
    sizes). Two numbers for a volume are those of its slices: the last axis stays as it is. `interpolation` of the
    images: cubic B-splines, or linear between neighbours, without smoothing before.
    """

    spacing_mm: tuple[Edge, Edge, Edge] | tuple[Edge, Edge] | tuple[()] = ()
    size: tuple[Side, Side, Side] | tuple[Side, Side] | tuple[()] = ()
    interpolation: Literal["cubic", "linear"] = "cubic"


class CropSettings(StepSettings):
    """The box around brain and reference, with a margin on each side."""

    margin_voxels: Annotated[int, Field(ge=0)] = 4


class NormaliseSettings(StepSettings):
    """Z-scores by mean and standard deviation of the brain; `robust`: by its median and median absolute deviation."""

    robust: bool = False


class MatchVisitsSettings(StepSettings):
    """The baseline's intensities matched to the follow-up's: a robust line, then a local mean over `local_mm`.

    Voxels further than `outliers` standard deviations from the line have no influence. `local_mm = 0`: the line alone.
    """

    outliers: Annotated[float, Field(ge=1, le=10)] = 2.5
    local_mm: Annotated[float, Field(ge=0, le=100)] = 12.0


class ClipSettings(StepSettings):
    """The lowest and the highest intensity: values beyond become these, e.g. [-125, 275] for abdominal CT."""

    between: tuple[float, float] | tuple[()] = ()


HD_BET = BrainSettings(
    source="tool",
    command=("hd-bet", "-i", "{image}", "-o", "{folder}/brain.nii.gz", "-device", "cpu", "--disable_tta",
             "--save_bet_mask"),
    mask="{folder}/brain_bet.nii.gz",
)  # fmt: skip
DEEPBET = BrainSettings(
    source="tool",
    command=("deepbet-cli", "-i", "{image}", "-o", "{folder}/brain.nii.gz", "-m", "{folder}/mask.nii.gz", "--no_gpu"),
    mask="{folder}/mask.nii.gz",
)
# Programs whose command is known here: a model may name them, and `--brain-from` takes their names.
BRAIN_TOOLS = {"hd-bet": HD_BET, "deepbet": DEEPBET}


class PreparationRecipe(StepSettings):
    """The steps in their order, and the settings of each; a step that is not named is not done."""

    steps: tuple[Step, ...] = ("orient", "brain", "crop", "normalise", "subtract")
    orient: OrientSettings = OrientSettings()
    register_: Annotated[RegisterSettings, Field(alias="register")] = RegisterSettings()
    n4: N4Settings = N4Settings()
    brain: BrainSettings = BrainSettings()
    resample: ResampleSettings = ResampleSettings()
    crop: CropSettings = CropSettings()
    clip: ClipSettings = ClipSettings()
    normalise: NormaliseSettings = NormaliseSettings()
    match: MatchVisitsSettings = MatchVisitsSettings()

    @model_validator(mode="after")
    def _consistent(self) -> "PreparationRecipe":
        twice = sorted({step for step in self.steps if self.steps.count(step) > 1})
        if twice:
            raise ValueError(f"steps names {', '.join(twice)} twice")
        if "orient" in self.steps and self.steps[0] != "orient":
            raise ValueError("orient must be the first of steps: all others count axes and voxels")
        if "register" in self.steps and set(self.steps[: self.steps.index("register")]) - {"orient"}:
            raise ValueError("register must be the first of steps, or follow orient: all others need one grid")
        if "resample" in self.steps and bool(self.resample.spacing_mm) == bool(self.resample.size):
            raise ValueError("the step resample needs resample.spacing_mm, e.g. [0.5, 0.75, 0.75], or resample.size")
        if "resample" in self.steps and "crop" in self.steps[: self.steps.index("resample")]:
            raise ValueError("crop must follow resample: the margin is counted in the voxels that are kept")
        if "clip" in self.steps and not self.clip.between[:1] < self.clip.between[1:]:
            raise ValueError("the step clip needs clip.between, the lowest and the highest value, e.g. [-125, 275]")
        after_brain = self.steps[self.steps.index("brain") :] if "brain" in self.steps else ()
        if "field_of_view" in self.steps and "field_of_view" not in after_brain[:2]:
            raise ValueError("field_of_view must follow brain directly: it takes voxels out of the brain mask")
        if "match" in self.steps and "brain" not in self.steps[: self.steps.index("match")]:
            raise ValueError("match must follow brain: visits are matched inside the brain mask")
        if "match" in self.steps and {"resample", "clip", "normalise"} & set(self.steps[self.steps.index("match") :]):
            raise ValueError("match must follow resample, clip and normalise, which would undo it")
        if "subtract" in self.steps and self.steps[-1] != "subtract":
            raise ValueError("subtract must be the last of steps: it needs the results of all others")
        return self

    @property
    def axes(self) -> str:
        """The orientation that images are brought to, such as RAS; empty where they stay as they are."""
        return self.orient.to if "orient" in self.steps else ""

    def settings(self) -> dict[str, Any]:
        """Return what determines the result: the steps, and the settings of those that are done."""
        whole = self.model_dump(mode="json", by_alias=True)
        # What was prepared before a setting existed is not made again.
        if self.resample.interpolation == "cubic":
            del whole["resample"]["interpolation"]
        if not self.normalise.robust:
            del whole["normalise"]
        return {"steps": whole["steps"], **{step: whole[step] for step in whole["steps"] if step in whole}}

    def to_toml(self) -> str:
        """Write the whole recipe, defaults included; `load_recipe` reads it back."""
        return tomli_w.dumps(self.model_dump(mode="json", by_alias=True))


def load_recipe(path: Path) -> PreparationRecipe:
    """Read a recipe from a TOML file.

    Raises:
        UsageError: The file is missing, not TOML, or wrong; lists all errors at once, each with its key.
    """
    if not path.is_file():
        raise UsageError(f"{path}: no such plan; give a TOML file with the steps, or leave out --plan")
    try:
        record = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{path} is not valid TOML: {error}") from error
    return make_recipe(record, str(path))


def make_recipe(record: Mapping[str, object], where: str) -> PreparationRecipe:
    """Make a recipe from plain values.

    Raises:
        UsageError: The values are wrong; begins with `where` and lists all errors at once, each with its key.
    """
    try:
        return PreparationRecipe.model_validate(record)
    except ValidationError as error:
        raise UsageError(
            explain_validation_error(error, PreparationRecipe, where, former_names=FORMER_STEPS)
        ) from error

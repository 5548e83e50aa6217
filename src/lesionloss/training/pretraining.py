"""Pretraining on synthetic patients, as a text of a plan: `synth(patients=40, steps=400)`.

`synth:patients=40,steps=400` means the same.

One loss, named in the text, trains the start of all trials of a seed, so that the compared losses start from the same
weights. If each loss trained its own start, a pair would differ in more than the loss.
"""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lesionloss.core.call_text import format_call, parse_call
from lesionloss.core.catalogue import nearest
from lesionloss.core.errors import UsageError
from lesionloss.core.validation_errors import explain_validation_error
from lesionloss.training.trial import TrainingRecipe, Trial

NAME = "synth"
FOLDER = "pretrained"  # in the folder of a run or of a single training run
WEIGHTS = "model.safetensors"
_NOUN = "training.pretrain"


class Pretraining(BaseModel):
    """The settings of pretraining.

    Attributes:
        patients: Number of synthetic patients.
        seed: Seed of the synthetic patients.
        profile: Profile of the synthetic patients.
        config: A TOML file of their settings, instead of a profile.
        truth: What counts as lesion: "new", "positive" (new or enlarging) or "change".
        spacing_mm: Voxel size in mm; 0: that of the simulated scanner.
        visible: Lesions whose mean difference is at most this (z-scores) do not count, because nobody would mark them.
        steps: Training steps of pretraining; all else is as in the trial.
        learning_rate: 0: that of the trial.
        loss: Empty: the plan's baseline loss.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    patients: Annotated[int, Field(ge=2)] = 40
    seed: Annotated[int, Field(ge=0)] = 1
    profile: str = "mixed"
    config: str = ""
    truth: Literal["new", "positive", "change"] = "new"
    spacing_mm: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    visible: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.4
    steps: Annotated[int, Field(ge=1)] = 400
    learning_rate: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    loss: str = ""


def read_pretraining(text: str) -> Pretraining:
    """Return the settings of a text.

    Raises:
        UsageError: Another name than `synth`, an unknown key, or a value out of range.
    """
    name, colon, rest = text.partition(":")
    name, values = parse_call(f"{name}({rest})" if colon and "(" not in name else text, _NOUN)
    if name != NAME:
        raise UsageError(f"{_NOUN}: nothing is named {name!r}; {nearest(name, [NAME])}")
    try:
        settings = Pretraining.model_validate(values, strict=True)
    except ValidationError as error:
        raise UsageError(explain_validation_error(error, Pretraining, _NOUN)) from error
    if settings.profile != _default("profile"):
        from lesionloss.synth import profile_settings

        profile_settings(settings.profile)
    if settings.loss:
        from lesionloss.losses.criterion import build

        settings = settings.model_copy(update={"loss": str(build(settings.loss))})
    return settings


def format_pretraining(settings: Pretraining) -> str:
    """Return the text that `read_pretraining` reads back, with the values that differ from their defaults."""
    values = settings.model_dump()
    return format_call(NAME, {key: value for key, value in values.items() if value != _default(key)})


def check_pretraining(text: str) -> str:
    """Return the canonical text; empty stays empty.

    Raises:
        UsageError: As `read_pretraining`.
    """
    return format_pretraining(read_pretraining(text)) if text else ""


def with_loss(text: str, baseline_loss: str) -> str:
    """Return the text with its loss named, so that it determines the start; empty stays empty."""
    if not text:
        return ""
    settings = read_pretraining(text)
    return format_pretraining(settings.model_copy(update={"loss": settings.loss or baseline_loss}))


def config_of(text: str) -> str:
    """Return the file of settings that a text names; empty where it names none."""
    return read_pretraining(text).config if text else ""


def pretraining_trial(trial: Trial) -> Trial:
    """Return the trial that trains the start of `trial`: the same for all losses and folds of a seed.

    Its data set is the text, which names the synthetic cohort; all patients are trained on.
    """
    settings = read_pretraining(trial.recipe.pretrain)
    return Trial(
        loss=settings.loss,
        dataset=trial.recipe.pretrain,
        target=settings.truth,
        network=trial.network,
        fold=-1,
        seed=trial.seed,
        train=(),
        test=(),
        recipe=_pretraining_recipe(trial.recipe, settings),
    )


def _pretraining_recipe(recipe: TrainingRecipe, settings: Pretraining) -> TrainingRecipe:
    """The trial's recipe with steps and rate of pretraining, without validation, frozen parts and mixtures."""
    rate = settings.learning_rate or recipe.learning_rate
    own = replace(recipe, steps=settings.steps, learning_rate=rate, pretrain="", freeze=(), mix=())
    return replace(own, validation_share=0.0, patience=0, check_every=50)


def start_of(trial: Trial, folder: Path) -> Path | None:
    """Return the pretrained weights that a trial starts from.

    Args:
        trial: The trial.
        folder: Its folder. The weights lie in it (a single training run), or in the run folder two levels above.

    Returns:
        The file; None without pretraining.

    Raises:
        UsageError: The file is missing.
    """
    if not trial.recipe.pretrain:
        return None
    key = pretraining_trial(trial).key
    places = [base / FOLDER / key / WEIGHTS for base in (folder, folder.parent.parent)]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise UsageError(f"{places[-1]} is missing: the pretrained weights of seed {trial.seed}; run the plan again")
    return found


def _default(key: str) -> Any:
    return Pretraining.model_fields[key].default

"""Pretraining on synthetic patients as a text of a plan: `synth(patients=40, steps=400)`.

`synth:patients=40,steps=400` says the same.

One loss, declared in the text, trains the start of every trial of a seed: losses that are compared begin with the very
same weights, whatever loss taught them. (A start taught by each loss itself would not be a common one: the pair would
no longer differ in the loss alone.)
"""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lesionloss.core.call_text import format_call, parse_call
from lesionloss.core.catalogue import nearest
from lesionloss.core.errors import UsageError
from lesionloss.training.trial import Recipe, Trial

NAME = "synth"
FOLDER = "pretrained"  # in the folder of a run or of a single training
WEIGHTS = "model.safetensors"
_NOUN = "training.pretrain"


class Pretraining(BaseModel):
    """What `synth(...)` may say.

    patients, seed, profile: of the synthetic cohort; `config` is a TOML file of its settings, in place of a profile.
    truth: what is lesion there: "new", "positive" (new or enlarging) or "change". spacing_mm: 0 for a scanner's voxels.
    visible: lesions whose mean difference (z-scores) is not above it are no lesions, as nobody would mark them.
    steps: of pretraining; everything else is as in the trial. learning_rate: 0 for the trial's. loss: empty for the
    plan's baseline loss.
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
    """The settings of a text. Raises UsageError for other names, unknown keys and values out of range."""
    name, colon, rest = text.partition(":")
    name, values = parse_call(f"{name}({rest})" if colon and "(" not in name else text, _NOUN)
    if name != NAME:
        raise UsageError(f"{_NOUN}: nothing is named {name!r}; {nearest(name, [NAME])}")
    try:
        settings = Pretraining.model_validate(values, strict=True)
    except ValidationError as error:
        raise UsageError("; ".join(_explain(dict(item)) for item in error.errors())) from error
    if settings.profile != _default("profile"):
        from lesionloss.synth import profile_settings

        profile_settings(settings.profile)
    if settings.loss:
        from lesionloss.losses.criterion import build

        settings = settings.model_copy(update={"loss": str(build(settings.loss))})
    return settings


def format_pretraining(settings: Pretraining) -> str:
    """The text that `read_pretraining` reads back, with the values that differ from the defaults."""
    values = settings.model_dump()
    return format_call(NAME, {key: value for key, value in values.items() if value != _default(key)})


def check_pretraining(text: str) -> str:
    """The canonical text; empty stays empty. Raises UsageError as `read_pretraining` does."""
    return format_pretraining(read_pretraining(text)) if text else ""


def with_loss(text: str, baseline_loss: str) -> str:
    """The text with its loss said, so that it determines the start; empty stays empty."""
    if not text:
        return ""
    settings = read_pretraining(text)
    return format_pretraining(settings.model_copy(update={"loss": settings.loss or baseline_loss}))


def config_of(text: str) -> str:
    """The file of settings that a text names; empty where it names none."""
    return read_pretraining(text).config if text else ""


def pretraining_trial(trial: Trial) -> Trial:
    """The training that makes the start of `trial`: equal for all losses and folds of one seed, network and recipe.

    Its data set is the text, which names the cohort; everybody is learned from.
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


def _pretraining_recipe(recipe: Recipe, settings: Pretraining) -> Recipe:
    """The trial's, with steps and rate of its own; nobody is set aside, and no part is frozen yet."""
    rate = settings.learning_rate or recipe.learning_rate
    own = replace(recipe, steps=settings.steps, learning_rate=rate, pretrain="", freeze=())
    return replace(own, validation_share=0.0, patience=0, check_every=50)


def start_of(trial: Trial, folder: Path) -> Path | None:
    """The weights that `trial`, which is being filled in `folder`, begins with; None without pretraining.

    They lie in the folder of a single training, or in that of the run, two levels above a trial's. Raises UsageError if
    they are not there.
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


def _explain(item: dict[str, Any]) -> str:
    key = str(item["loc"][0]) if item["loc"] else ""
    if item["type"] == "extra_forbidden":
        return f"{_NOUN} has no setting {key!r}; {nearest(key, list(Pretraining.model_fields))}"
    return f"{_NOUN}: {key}: {item['msg']}, got {item['input']!r}"

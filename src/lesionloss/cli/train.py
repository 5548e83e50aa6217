"""`lesionloss train`: one training run, from options or one trial of a plan, safe to kill."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lesionloss.cli import panels
from lesionloss.cli.commands import command
from lesionloss.cli.plan_options import chosen_plan, data_keys, parse_setting, put_setting
from lesionloss.cli.terminal import say
from lesionloss.core.errors import LesionLossError, UsageError

if TYPE_CHECKING:
    from lesionloss.bench.plan import Plan

EXAMPLES = """
lesionloss train --data DATA/msseg2 --loss hytver --out models/hytver   # all patients, none tested
lesionloss train --data DATA/lit --loss dice --fold 0 --set training.validation_share=0.2 --out models/dice
lesionloss train quickstart --loss hytver --fold 1 --seed 2 --out models/quick   # one trial of a plan
lesionloss train quickstart --loss hytver --fold 1 --seed 2 --out models/quick --resume   # after a kill
lesionloss train --data DATA --loss dice_ce --set 'training.optimiser="sgd(momentum=0.99)"' --out models/sgd
"""


@command(
    panel=panels.TRAIN,
    examples=EXAMPLES,
    options={
        panels.DATA: "data fold",
        panels.TRAINING: "loss seed network steps batch patch learning_rate precision settings resume "
        "checkpoint_seconds",
        panels.REPEATABLE: "deterministic batches_on_cpu",
        panels.MACHINE: "device",
        panels.OUTPUT: "out track licence data_note force",
    },
)
def train(
    plan: Annotated[
        str | None,
        typer.Argument(metavar="PLAN|PRESET", help="Take the settings from a plan or preset; else defaults."),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder for the model and everything about it.")] = None,
    data: Annotated[
        str | None, typer.Option("--data", metavar="PATH", help="Folder of the patients, or LAYOUT:PATH.")
    ] = None,
    loss: Annotated[str | None, typer.Option("--loss", metavar="SPEC", help="The loss.")] = None,
    fold: Annotated[
        str | None,
        typer.Option("--fold", help="Fold to test on; all: train on all patients. Default: 0 of a plan, else all."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Seed of weights and batches; default: the plan's first.")
    ] = None,
    network: Annotated[str | None, typer.Option("--network", metavar="TEXT", help="See lesionloss networks.")] = None,
    steps: Annotated[int | None, typer.Option("--steps", help="Training steps.")] = None,
    batch: Annotated[int | None, typer.Option("--batch", help="Patches in a step.")] = None,
    patch: Annotated[str | None, typer.Option("--patch", metavar="AxBxC", help="Voxels, such as 80x80x80.")] = None,
    learning_rate: Annotated[float | None, typer.Option("--learning-rate", help="At the first step.")] = None,
    precision: Annotated[str | None, typer.Option("--precision", help="auto, float32, bf16 or fp16.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any other key of a plan, as in TOML; may be repeated."),
    ] = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu or cuda:N.")] = "auto",
    checkpoint_seconds: Annotated[
        float, typer.Option("--checkpoint-seconds", min=0, help="Time between two checkpoints.")
    ] = 120,
    deterministic: Annotated[
        bool, typer.Option("--deterministic", help="On a GPU: the same bits every time, more slowly.")
    ] = False,
    track: Annotated[
        str, typer.Option("--track", metavar="NAME", help="Also show curves in tensorboard, mlflow or wandb (files).")
    ] = "",
    batches_on_cpu: Annotated[
        bool,
        typer.Option("--batches-on-cpu", help="Make batches in main memory, also where the cases fit on the GPU."),
    ] = False,
    licence: Annotated[str | None, typer.Option("--licence", help="Licence of the model, kept in model.json.")] = None,
    data_note: Annotated[
        str | None, typer.Option("--data-note", help="A note on the training data, for users of the model.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue from the last checkpoint in --out.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a training run in --out.")] = False,
) -> None:
    """Train one network with one loss; --resume continues a killed training run, to the same bits."""
    if out is None:
        raise UsageError("train needs a folder for its results: --out FOLDER")
    from lesionloss.bench.train_one import (
        TrainRequest,
        clear_refused,
        is_finished,
        prepare_folder,
        refuse_other_settings,
        train_one,
    )
    from lesionloss.cli.progress import TerminalWatcher
    from lesionloss.core.devices import resolve_device

    training = {
        "steps": steps,
        "batch": batch,
        "patch": parse_sides(patch),
        "learning_rate": learning_rate,
        "precision": precision,
    }
    given = {f"training.{key}": value for key, value in training.items() if value is not None}
    if network is not None:
        given["network.text"] = network
    if data is not None:
        given |= {f"data.{key}": value for key, value in data_keys(data).items()}
    chosen = one_trial(plan, loss, seed, given | dict(map(parse_setting, settings or [])))
    request = TrainRequest(
        chosen,
        parse_fold(fold, plan),
        out,
        resolve_device(device),
        checkpoint_seconds,
        licence,
        data_note,
        deterministic,
        batches_on_cpu,
        track,
    )
    if resume and not force and is_finished(out):
        refuse_other_settings(request)
        say(f"{out} is finished already")
        return
    started = prepare_folder(request, resume=resume, force=force)
    try:
        with TerminalWatcher(chosen.name) as watcher:
            trial = train_one(request, watcher)
    except LesionLossError:
        if started:
            clear_refused(out)
        raise
    tested = f"; tested on {len(trial.test)} cases, see {out}/scores.csv" if trial.test else ""
    say(f"{out}: trained on {len(trial.train)} cases{tested}")


def one_trial(name: str | None, loss: str | None, seed: int | None, given: dict[str, Any]) -> "Plan":
    """Return a plan of one loss and one seed: a file, a preset or the defaults, changed by the options.

    Raises:
        UsageError: The loss is missing or ambiguous, or a value is wrong.
    """
    from lesionloss.bench.plan import Plan

    if name is None:
        if loss is None:
            raise UsageError("train needs a loss, such as --loss hytver, or a plan; see lesionloss losses")
        plan = Plan(name="train", losses=(loss,), baseline_loss=loss, folds=5, seeds=(1,))
    else:
        plan = chosen_plan(name, None, [])
    if loss is None and len(plan.losses) > 1:
        raise UsageError(f"plan {plan.name} has {len(plan.losses)} losses; choose one: --loss {'|'.join(plan.losses)}")
    changes: dict[str, Any] = {"seeds": (plan.seeds[0] if seed is None else seed,)}
    changes["losses"] = (plan.losses[0] if loss is None else loss,)
    changes["baseline_loss"] = changes["losses"][0]
    record = plan.model_dump() | changes
    for key, value in given.items():
        put_setting(record, key, value)
    return plan.changed(record)


def parse_sides(text: str | None) -> list[int] | None:
    """Read sides such as `80x80x80`; None stays None.

    Raises:
        UsageError: They are not two or three numbers.
    """
    if text is None:
        return None
    words = text.lower().replace("×", "x").split("x")
    if len(words) not in (2, 3) or not all(word.isdecimal() for word in words):
        raise UsageError(f"--patch must be two or three numbers such as 80x80x80, got {text!r}")
    return [int(word) for word in words]


def parse_fold(text: str | None, plan: str | None) -> int:
    """Return the number of a fold, `ALL` for all; `plan` decides the default.

    Raises:
        UsageError: The text is neither a number nor `all`.
    """
    from lesionloss.bench.train_one import ALL

    if text is None:
        return ALL if plan is None else 0
    if text == "all":
        return ALL
    if not text.isdecimal():
        raise UsageError(f"--fold must be all or a number from 0, got {text!r}")
    return int(text)

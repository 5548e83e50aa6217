"""`lesionloss nnunet`: nnU-Net trained with our losses, in pairs."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from lesionloss.cli import panels
from lesionloss.cli.app import app
from lesionloss.cli.commands import command
from lesionloss.cli.terminal import say

nnunet = typer.Typer(
    name="nnunet", no_args_is_help=True, help="Train nnU-Net with these losses, in pairs that differ in nothing else."
)
app.add_typer(nnunet, rich_help_panel=panels.TRAIN)

Dataset = Annotated[str, typer.Argument(metavar="DATASET", help="Number or full name, such as 501.")]
Configuration = Annotated[str, typer.Argument(metavar="CONFIGURATION", help="Of nnU-Net's plans, such as 3d_fullres.")]
Rest = Annotated[
    list[str] | None, typer.Argument(metavar="[-- OPTIONS]", help="Behind --: further options of nnU-Net's command.")
]
LossOption = Annotated[
    str, typer.Option("--loss", metavar="SPEC", help="The loss; nnunet: nnU-Net's own, seeded like the others.")
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed of weights, batches and augmentation.")]
Epochs = Annotated[int | None, typer.Option("--epochs", min=1, help="Instead of nnU-Net's 1000.")]
Iterations = Annotated[int | None, typer.Option("--iterations", min=1, help="Of an epoch, instead of 250.")]
Validation = Annotated[
    int | None, typer.Option("--validation-iterations", min=1, help="At the end of an epoch, instead of 50.")
]
Plans = Annotated[str, typer.Option("--plans", help="The name of nnU-Net's plans.")]
Device = Annotated[str, typer.Option("--device", help="cuda, cpu or mps.")]

TRAIN_EXAMPLES = """
lesionloss nnunet train 501 3d_fullres 0 --loss hytver --seed 1
lesionloss nnunet train 501 3d_fullres 0 --loss nnunet --seed 1 --epochs 100   # nnU-Net's own loss, for comparison
lesionloss nnunet train 501 3d_fullres 0 --loss "focal(gamma=2)" --seed 1 -- --npz -num_gpus 2
"""

PREDICT_EXAMPLES = """
lesionloss nnunet predict 501 3d_fullres --input IMAGES --output MASKS --loss hytver --seed 1
lesionloss nnunet predict 501 2d --input IMAGES --output MASKS --loss hytver --seed 1 --fold 0 -- --save_probabilities
"""

ENV_EXAMPLES = """
eval "$(lesionloss nnunet env)"; nnUNetv2_train 501 3d_fullres 0 -tr nnUNetTrainerLL_hytver_s1
lesionloss nnunet env --loss "0.5*dice + 0.5*focal(gamma=2)" --seed 1   # prints the name of its trainer, too
"""


@command(
    panel=None,
    examples=TRAIN_EXAMPLES,
    group=nnunet,
    options={
        panels.TRAINING: "loss seed epochs iterations validation_iterations plans go_on",
        panels.MACHINE: "device",
    },
)
def train(
    dataset: Dataset,
    configuration: Configuration,
    fold: Annotated[str, typer.Argument(metavar="FOLD", help="Number of the fold, or all.")],
    rest: Rest = None,
    loss: LossOption = "",
    seed: Seed = 0,
    epochs: Epochs = None,
    iterations: Iterations = None,
    validation_iterations: Validation = None,
    plans: Plans = "nnUNetPlans",
    device: Device = "cuda",
    go_on: Annotated[bool, typer.Option("--continue", help="From the last checkpoint, to the same weights.")] = False,
) -> None:
    """Do what nnUNetv2_train does, with a trainer made for the loss and the seed."""
    from lesionloss.core.errors import UsageError
    from lesionloss.integrations.nnunet.installation import call, configuration_of, dataset_name, folder_of

    trainer = _trainer(loss, seed, epochs, iterations, validation_iterations)
    folder_of("nnUNet_results")
    configuration_of(dataset_name(dataset), plans, configuration)
    if fold != "all" and not fold.isdecimal():
        raise UsageError(f"FOLD must be all or a number from 0, got {fold!r}")
    words = [dataset, configuration, fold, "-tr", trainer, "-p", plans, "-device", device]
    call("train", [*words, *(["--c"] if go_on else []), *(rest or [])])


@command(
    panel=None,
    examples=PREDICT_EXAMPLES,
    group=nnunet,
    options={
        panels.DATA: "images",
        panels.TRAINING: "loss seed epochs iterations validation_iterations plans folds",
        panels.OUTPUT: "out",
        panels.MACHINE: "device",
    },
)
def predict(
    dataset: Dataset,
    configuration: Configuration,
    rest: Rest = None,
    images: Annotated[
        Path | None, typer.Option("--input", help="Folder of images, named as nnU-Net wants them.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--output", help="Folder for the predictions.")] = None,
    folds: Annotated[
        list[str] | None, typer.Option("--fold", help="A fold whose network takes part; repeat. Default: 0 to 4.")
    ] = None,
    loss: LossOption = "",
    seed: Seed = 0,
    epochs: Epochs = None,
    iterations: Iterations = None,
    validation_iterations: Validation = None,
    plans: Plans = "nnUNetPlans",
    device: Device = "cuda",
) -> None:
    """Do what nnUNetv2_predict does, with the networks of a loss and a seed."""
    from lesionloss.core.errors import UsageError
    from lesionloss.integrations.nnunet.installation import call, trained_folder

    trainer = _trainer(loss, seed, epochs, iterations, validation_iterations)
    if images is None or out is None:
        raise UsageError("nnunet predict needs --input FOLDER and --output FOLDER")
    trained_folder(dataset, f"{trainer}__{plans}__{configuration}")
    words = ["-i", str(images), "-o", str(out), "-d", dataset, "-c", configuration, "-tr", trainer, "-p", plans]
    words += ["-device", device, *(["-f", *folds] if folds else [])]
    call("predict", [*words, *(rest or [])])


@command(panel=None, examples=ENV_EXAMPLES, group=nnunet)
def env(
    loss: Annotated[str, typer.Option("--loss", metavar="SPEC", help="Also print the name of its trainer.")] = "",
    seed: Seed = 0,
    epochs: Epochs = None,
    iterations: Iterations = None,
    validation_iterations: Validation = None,
) -> None:
    """Print the line for a shell that lets all commands of nnU-Net find the trainers."""
    import os

    from lesionloss.integrations.nnunet.installation import VARIABLE, check_installed, trainers_path

    check_installed()
    say(f"export {VARIABLE}={shlex.quote(trainers_path(os.environ))}")
    if loss:
        say(f"# -tr {_trainer(loss, seed, epochs, iterations, validation_iterations)}")


def _trainer(loss: str, seed: int, epochs: int | None, iterations: int | None, validation: int | None) -> str:
    """The name of the trainer that the options describe; its loss is kept where nnU-Net's commands find it."""
    from lesionloss.core.errors import UsageError
    from lesionloss.integrations.nnunet.installation import check_installed

    check_installed()
    if not loss:
        raise UsageError("name the loss, such as --loss hytver; see lesionloss losses")
    from lesionloss.integrations.nnunet.stored_losses import store_loss
    from lesionloss.integrations.nnunet.trainer_names import TrainerName

    return str(TrainerName(store_loss(loss), seed, epochs, iterations, validation))

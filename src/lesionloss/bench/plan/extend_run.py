"""Add losses and seeds to a run: its finished trials stay, and its earlier plan is kept beside the new one."""

from pathlib import Path

from lesionloss.bench.plan.plan_model import Plan, with_used_files
from lesionloss.core.errors import UsageError
from lesionloss.core.files import create_text, sha256_of
from lesionloss.runs.earlier_plans import FOLDER, MAY_GROW, earlier_plan_files, read_earlier_plans
from lesionloss.runs.run_files import read_toml

PLAN = "plan.toml"


def refuse_run_to_extend(folder: Path) -> None:
    """Check that there is a run to extend.

    Raises:
        UsageError: The folder has no plan.
    """
    if not (folder / PLAN).is_file():
        raise UsageError(f"{folder} holds no run that --extend could add to; leave --extend out to start one there")


def extended_plan(plan: Plan, folder: Path) -> Plan:
    """Return the plan of a run with the losses and seeds that `plan` has more, these at the end.

    Args:
        plan: The plan with everything: what the run has, and what is new, in any order.
        folder: The run folder, which holds a plan.

    Raises:
        UsageError: Something else differs, or a loss or seed of the run is not in `plan`.
        DataError: The plan of the run, or an earlier one, is damaged.
    """
    after = in_run_order(plan, folder)
    before = Plan.load(folder / PLAN)
    lost = [str(each) for each in (*before.losses, *before.seeds) if each not in (*after.losses, *after.seeds)]
    if lost:
        raise UsageError(
            f"{folder}: --extend adds losses and seeds, and this plan lacks {', '.join(lost)} of the run; "
            "give a plan that has them too"
        )
    if other := [key for key in after.changed_keys(before) if key not in MAY_GROW]:
        raise UsageError(
            f"{folder}: --extend adds losses and seeds, and this plan differs in {', '.join(other)}, too; "
            "choose another --out"
        )
    known = set(before.loss_file_hashes())
    new_files = [file for file in after.losses_files if sha256_of(Path(file)) not in known]
    return after.model_copy(update={"losses_files": (*before.losses_files, *new_files)})


def in_run_order(plan: Plan, folder: Path) -> Plan:
    """Return a plan with its losses and seeds in the order of a run, those that the run has not at the end.

    Args:
        plan: A plan, in any order.
        folder: The run folder, which holds a plan.

    Raises:
        UsageError: As `_refuse_changed_files`.
        DataError: The plan of the run, or an earlier one, is damaged.
    """
    after = with_used_files(plan)
    _refuse_changed_files(after, folder)
    read_earlier_plans(folder, read_toml(folder / PLAN))
    before = Plan.load(folder / PLAN)
    losses = [loss for loss in before.losses if loss in after.losses]
    seeds = [seed for seed in before.seeds if seed in after.seeds]
    order = {
        "losses": (*losses, *(loss for loss in after.losses if loss not in losses)),
        "seeds": (*seeds, *(seed for seed in after.seeds if seed not in seeds)),
    }
    return after.model_copy(update=order)


def has_more(plan: Plan, folder: Path) -> bool:
    """Whether a plan has all that the run in a folder has, and more losses or seeds."""
    try:
        extended = extended_plan(plan, folder)
    except UsageError:
        return False
    return bool(extended.changed_keys(Plan.load(folder / PLAN)))


def _refuse_changed_files(plan: Plan, folder: Path) -> None:
    """Check that a file with losses that the run has copied is still the same.

    Raises:
        UsageError: A file of the plan has the name of a copy, and another content.
    """
    copies = [folder / str(name) for name in read_toml(folder / PLAN).get("losses_files", ())]
    copied = {sha256_of(copy): copy.name for copy in copies if copy.is_file()}
    mine = {sha256_of(Path(file)): Path(file) for file in plan.losses_files}
    gone = {name for digest, name in copied.items() if digest not in mine}
    for digest, file in mine.items():
        if digest not in copied and file.name in gone:
            raise UsageError(
                f"{folder} holds a run of another plan (it differs in losses_files: {file} is no longer the file that "
                "its trials were made with); put new losses in a file of their own, or choose another --out"
            )


def keep_earlier_plan(folder: Path) -> None:
    """Copy the plan of a run to where its earlier plans are, unless the last one there is the same.

    Raises:
        UsageError: Another process did so at the same moment.
    """
    stored, kept = folder / PLAN, earlier_plan_files(folder)
    if kept and sha256_of(kept[-1]) == sha256_of(stored):
        return
    if not create_text(folder / FOLDER / f"{len(kept) + 1}.toml", stored.read_text(encoding="utf-8")):
        raise UsageError(f"{folder} is being extended by another process; try again when it is done")

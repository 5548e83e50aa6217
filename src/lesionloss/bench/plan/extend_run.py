"""Add losses and seeds to a run: its finished trials stay, and its earlier plan is kept beside the new one."""

from pathlib import Path

from lesionloss.bench.plan.plan_model import Plan, with_used_files
from lesionloss.core.errors import UsageError
from lesionloss.core.files import create_text, sha256_of
from lesionloss.runs.earlier_plans import FOLDER, MAY_GROW, earlier_plan_files


def extended_plan(plan: Plan, folder: Path) -> Plan:
    """Return the plan of a run with the losses and seeds that `plan` has more.

    Args:
        plan: The plan with everything: what the run has, and what is new.
        folder: The run folder, which holds a plan.

    Raises:
        UsageError: Something else differs, or a loss or seed of the run is not in `plan`.
    """
    before, after = Plan.load(folder / "plan.toml"), with_used_files(plan)
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
    if known - set(after.loss_file_hashes()):
        raise UsageError(f"{folder}: a file of losses has changed since the run started; choose another --out")
    return after.model_copy(update={"losses_files": (*before.losses_files, *new_files)})


def can_be_extended(plan: Plan, folder: Path) -> bool:
    """Whether a plan has all that the run in a folder has, and more losses or seeds."""
    try:
        extended_plan(plan, folder)
    except UsageError:
        return False
    return True


def keep_earlier_plan(folder: Path) -> None:
    """Copy the plan of a run to where its earlier plans are, unless the last one there is the same."""
    stored, kept = folder / "plan.toml", earlier_plan_files(folder)
    if not kept or sha256_of(kept[-1]) != sha256_of(stored):
        create_text(folder / FOLDER / f"{len(kept) + 1}.toml", stored.read_text(encoding="utf-8"))

"""Store a plan in its run folder with everything it needs: copies of the files with losses, shared prepared cases."""

import shutil
from pathlib import Path

from lesionloss.bench.plan.extend_run import (
    extended_plan,
    has_more,
    in_run_order,
    keep_earlier_plan,
    refuse_run_to_extend,
)
from lesionloss.bench.plan.plan_model import Plan, with_used_files
from lesionloss.core.errors import UsageError
from lesionloss.core.files import UNFINISHED, atomic_file, create_text, write_text
from lesionloss.runs.results import RUNS
from lesionloss.runs.run_files import refuse_former_run

LOSSES = "losses"


def store_plan(plan: Plan, folder: Path, *, extend: bool = False) -> bool:
    """Store the plan in the run folder.

    Args:
        plan: The plan of one run.
        folder: The run folder; it may be missing.
        extend: Whether losses and seeds of the plan may be added to the run that the folder holds.

    Returns:
        Whether this call stored it; False where an earlier call did.

    Raises:
        UsageError: The folder holds another plan, something else, or a run of version 0.1.
    """
    refuse_former_run(folder)
    stored, plan = folder / "plan.toml", with_used_files(plan)
    if not stored.exists():
        if _holds_something(folder):
            raise UsageError(f"{folder} exists and is not a run of lesionloss; choose another --out")
        if create_text(stored, _with_copied_losses(plan, folder).to_toml()):
            return True
    if not extend:
        refuse_other_plan(plan, folder)
    elif has_more(extended := extended_plan(plan, folder), folder):
        keep_earlier_plan(folder)
        write_text(stored, _with_copied_losses(extended, folder).to_toml())
    return False


def refuse_other_plan(plan: Plan, folder: Path) -> None:
    """Refuse a folder whose stored plan is not `plan`; a folder without a plan is fine.

    Raises:
        UsageError: The folder holds another plan.
        DataError: The plan in it, or an earlier one, is damaged.
    """
    stored = folder / "plan.toml"
    if not stored.exists():
        return
    changed = in_run_order(plan, folder).changed_keys(Plan.load(stored))
    if changed:
        way = "add --extend to add its losses and seeds to that run, or " if has_more(plan, folder) else ""
        raise UsageError(
            f"{folder} holds a run of another plan (it differs in {', '.join(changed)}); {way}choose another --out"
        )


def _holds_something(folder: Path) -> bool:
    """Whether there is more than what another process is writing at this moment."""
    if not folder.is_dir():
        return folder.exists()
    return any(not path.name.startswith(UNFINISHED) and path.name != LOSSES for path in folder.iterdir())


def _with_copied_losses(plan: Plan, folder: Path) -> Plan:
    """The plan with its files of losses copied to `folder`/losses and named relative to `folder`."""
    names: list[str] = []
    for index, file in enumerate(plan.losses_files):
        path = Path(file)
        name = f"{LOSSES}/{path.name}" if f"{LOSSES}/{path.name}" not in names else f"{LOSSES}/{index}-{path.name}"
        with atomic_file(folder / name) as temporary:
            shutil.copyfile(path, temporary)
        names.append(name)
    return plan.model_copy(update={"losses_files": tuple(names)}) if names else plan


def runs_of(plan: Plan, out: str | Path, *, extend: bool = False) -> list[tuple[Plan, Path]]:
    """Return the runs of a plan and their folders: `out` itself, or one in `out`/runs for each data set and network.

    Raises:
        UsageError: As `store_plan`; or there is no run to extend.
    """
    folder = Path(out)
    if extend:
        refuse_run_to_extend(folder)
    runs = plan.runs()
    if list(runs) == [""]:
        return [(plan, folder)]
    store_plan(plan, folder, extend=extend)
    return [(run, folder / RUNS / name) for name, run in runs.items()]


def link_cohort(folder: Path) -> None:
    """Share the cases that a neighbouring run of the same data set has prepared, by hard links.

    A prepared file is replaced, never changed, so both runs may share it; where it does not fit, it is prepared again.
    """
    if folder.parent.name != RUNS or (folder / "cohort").exists():
        return
    dataset = folder.name.rpartition("--")[0]
    for neighbour in sorted(folder.parent.glob(f"{dataset}--*")):
        if neighbour != folder and (neighbour / "cohort" / "index.json").is_file():
            (folder / "cohort").mkdir(parents=True)
            for file in (neighbour / "cohort").glob("*.npz"):
                (folder / "cohort" / file.name).hardlink_to(file)
            return

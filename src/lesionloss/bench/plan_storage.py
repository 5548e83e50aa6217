"""The plan in the run's folder, with all that it needs: files of losses are copied beside it."""

import shutil
from pathlib import Path

from lesionloss.bench.plan import Plan, with_used_files
from lesionloss.core.errors import UsageError
from lesionloss.core.files import UNFINISHED, create_text, whole_file
from lesionloss.runs.results import RUNS

LOSSES = "losses"


def claim(plan: Plan, folder: Path) -> bool:
    """Store the plan in the run folder; False where it is there already, from another call.

    Raises UsageError when another plan or something else is there.
    """
    stored, plan = folder / "plan.toml", with_used_files(plan)
    if not stored.exists():
        if _holds_something(folder):
            raise UsageError(f"{folder} exists and is not a run of lesionloss; choose another --out")
        if create_text(stored, with_copies(plan, folder).to_toml()):
            return True
    changed = plan.same_as(Plan.load(stored))
    if changed:
        raise UsageError(
            f"{folder} holds a run of another plan (it differs in {', '.join(changed)}); choose another --out"
        )
    return False


def _holds_something(folder: Path) -> bool:
    """Whether there is more than what another process is writing at this moment."""
    if not folder.is_dir():
        return folder.exists()
    return any(not path.name.startswith(UNFINISHED) and path.name != LOSSES for path in folder.iterdir())


def with_copies(plan: Plan, folder: Path) -> Plan:
    """The plan with its files of losses copied to `folder`/losses and named from there."""
    names: list[str] = []
    for place, file in enumerate(plan.losses_files):
        path = Path(file)
        name = f"{LOSSES}/{path.name}" if f"{LOSSES}/{path.name}" not in names else f"{LOSSES}/{place}-{path.name}"
        with whole_file(folder / name) as temporary:
            shutil.copyfile(path, temporary)
        names.append(name)
    return plan.model_copy(update={"losses_files": tuple(names)}) if names else plan


def runs_of(plan: Plan, out: str | Path) -> list[tuple[Plan, Path]]:
    """The runs of a plan and their folders: itself in `out`, or one in `out`/runs for each data set and network.

    Raises UsageError as `claim` does.
    """
    folder = Path(out)
    runs = plan.runs()
    if list(runs) == [""]:
        return [(plan, folder)]
    claim(plan, folder)
    return [(run, folder / RUNS / name) for name, run in runs.items()]


def link_cohort(folder: Path) -> None:
    """Take over the cases that a neighbouring run has prepared already, without copying them.

    A prepared file is never written in place, so both may share it; where it doesn't fit, it is made again.
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

"""`lesionloss nnunet bench`: losses, folds and seeds with nnU-Net, collected and reported."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lesionloss.cli.commands import command
from lesionloss.cli.nnunet import nnunet
from lesionloss.cli.terminal import hint, note, say, say_json

if TYPE_CHECKING:
    from lesionloss.integrations.nnunet.nnunet_runs import NnunetTrainingRun

EXAMPLES = """
lesionloss nnunet bench plan.toml --dry-run   # the training runs, and which are finished
lesionloss nnunet bench plan.toml --out runs/ms   # again: continues where it stopped
"""


@command(panel=None, examples=EXAMPLES, group=nnunet)
def bench(
    plan: Annotated[Path, typer.Argument(metavar="PLAN.toml", help="See docs/howto/nnunet.md.")],
    out: Annotated[Path | None, typer.Option("--out", help="The run folder, for compare, report and power.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check the plan, list the training runs, and stop.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="--dry-run: print JSON.")] = False,
) -> None:
    """Train every loss of a plan on every fold and seed; then score the predictions and write the report.

    Finished training runs are kept and started ones continue, so the same command goes on after a stop. Several
    commands may run at once, for several GPUs.
    """
    from lesionloss.core.errors import UsageError
    from lesionloss.integrations.nnunet.installation import check_installed
    from lesionloss.integrations.nnunet.nnunet_runs import score_all, train_all, training_runs_of
    from lesionloss.integrations.nnunet.training_plan import load_plan

    check_installed()
    from lesionloss.collecting.collected_run import refuse_foreign
    from lesionloss.report import write_report

    chosen = load_plan(plan)
    if dry_run:
        rows = [(_state(run), run) for run in training_runs_of(chosen)]
        if as_json:
            names = ("loss", "fold", "seed", "trainer")
            say_json([{"state": state, **{name: getattr(run, name) for name in names}} for state, run in rows])
            return
        for state, run in rows:
            say(f"{state:8}  {run}  ({run.trainer})")
        return
    if out is None:
        raise UsageError("nnunet bench needs a folder for its results: --out FOLDER")
    refuse_foreign(out)  # before anything is trained
    results = score_all(chosen, train_all(chosen, hint), out, lambda mismatch: note(str(mismatch)))
    page = write_report(results)
    say(f"{page}  (also: lesionloss compare {out}; lesionloss power {out} --difference 0.01)")


def _state(run: "NnunetTrainingRun") -> str:
    return "finished" if run.finished else "started" if run.started else "open"

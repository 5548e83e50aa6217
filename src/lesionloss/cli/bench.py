"""`lesionloss bench`: run a plan, on one machine or many; forecast what it needs; show its status."""

from pathlib import Path
from typing import Annotated

import typer

from lesionloss.cli import panels
from lesionloss.cli.commands import command
from lesionloss.cli.engine_options import chosen_engine, number_or_auto
from lesionloss.cli.plan_options import chosen_plan
from lesionloss.cli.terminal import hint, plain_console, say
from lesionloss.core.errors import ExitCode, UsageError

EXAMPLES = """
lesionloss bench quickstart --out runs/quick   # synthetic patients, no data needed
lesionloss bench lit-smoke --data DATA/lit --out runs/lit
lesionloss --with my_losses.py bench quickstart --loss root_tversky --out runs/mine
lesionloss bench my_plan.toml --out runs/mine   # again: continues where it stopped
lesionloss bench my_plan.toml --out runs/mine --extend   # with losses or seeds added to the plan: trains what is new
lesionloss bench quickstart --print > my_plan.toml   # a plan to start from
lesionloss bench my_plan.toml --dry-run   # trials, expected time, disk and memory
lesionloss bench --status runs/mine   # while it runs, from anywhere; --json for programs
lesionloss bench my_plan.toml --out runs/mine --jobs 4 --threads 2
lesionloss bench my_plan.toml --out runs/mine --track mlflow   # mlflow ui --backend-store-uri sqlite:///runs/mine/mlflow/mlflow.db
lesionloss bench hytver --paper --out runs/hytver   # the printed tables of the paper, beside the run's numbers
lesionloss bench my_plan.toml --out /shared/mine --engine ray --address auto --gpus-per-trial 0.5
lesionloss bench my_plan.toml --out /shared/mine --engine slurm --slurm-jobs 8 --slurm partition=gpu
"""


@command(
    panel=panels.TRAIN,
    examples=EXAMPLES,
    options={
        panels.DATA: "data",
        panels.TRAINING: "losses settings extend checkpoint_seconds",
        panels.REPEATABLE: "deterministic batches_on_cpu step noise_floor",
        panels.MACHINE: "device engine jobs together threads address gpus_per_trial slurm_jobs slurm",
        panels.SHOW: "show dry_run status paper",
        panels.OUTPUT: "out track as_json",
    },
)
def bench(
    plan: Annotated[
        str,
        typer.Argument(metavar="PLAN|PRESET", help="A TOML plan or the name of a preset; with --status, a run folder."),
    ],
    out: Annotated[Path | None, typer.Option("--out", help="The run folder; an existing run is continued.")] = None,
    data: Annotated[
        str | None, typer.Option("--data", metavar="PATH", help="Folder of the patients, or LAYOUT:PATH.")
    ] = None,
    losses: Annotated[
        list[str] | None, typer.Option("--loss", metavar="SPEC", help="Add a loss to the plan; may be repeated.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any other key of the plan, as in TOML; may be repeated."),
    ] = None,
    extend: Annotated[
        bool,
        typer.Option("--extend", help="Add the plan's new losses and seeds to the run in --out; its trials stay."),
    ] = False,
    device: Annotated[str, typer.Option("--device", help="auto, cpu or cuda:N.")] = "auto",
    engine: Annotated[
        str, typer.Option("--engine", help="local: processes of this machine; ray; slurm: a cluster.")
    ] = "local",
    jobs: Annotated[
        str,
        typer.Option("--jobs", metavar="auto|N", help="Processes at a time: as cores and memory allow, or N."),
    ] = "auto",
    together: Annotated[
        str,
        typer.Option(
            "--together",
            metavar="auto|N",
            help="Losses of a pair that train side by side in a process, on the same batches: as memory allows, or N.",
        ),
    ] = "auto",
    threads: Annotated[
        int | None,
        typer.Option("--threads", min=1, help="CPU threads of each trial; fixed when a run starts."),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option("--address", help="Ray: a cluster (auto, HOST:PORT); else one is started here."),
    ] = None,
    gpus_per_trial: Annotated[
        float, typer.Option("--gpus-per-trial", min=0, help="Ray: share of a GPU that a trial gets, such as 0.5.")
    ] = 0,
    slurm_jobs: Annotated[int, typer.Option("--slurm-jobs", min=1, help="Slurm: jobs of the array.")] = 4,
    slurm: Annotated[
        list[str] | None,
        typer.Option("--slurm", metavar="KEY=VALUE", help="Slurm: an option of sbatch, such as partition=gpu; repeat."),
    ] = None,
    show: Annotated[bool, typer.Option("--print", help="Print the whole plan as TOML and stop.")] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Check the data; list trials, disk and memory; then time a few training steps, for about a minute at "
            "most, to say the expected time; stop.",
        ),
    ] = False,
    status: Annotated[bool, typer.Option("--status", help="Show the status of a run folder and stop.")] = False,
    paper: Annotated[
        bool,
        typer.Option("--paper", help="Print the paper's tables, with --out beside the numbers of that run, and stop."),
    ] = False,
    checkpoint_seconds: Annotated[
        float, typer.Option("--checkpoint-seconds", min=0, help="Time between two checkpoints of a trial.")
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
    step: Annotated[
        str | None,
        typer.Option(
            "--step",
            metavar="MODE",
            help="How training steps are computed: eager (default); compiled: by torch.compile; auto: the faster one, "
            "timed when a run starts and then fixed.",
        ),
    ] = None,
    noise_floor: Annotated[
        bool | None,
        typer.Option(
            "--noise-floor/--no-noise-floor",
            help="Train one trial twice, to see how far equal training runs differ; default: on a GPU.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="--status, --dry-run and --paper: print JSON.")] = False,
) -> None:
    """Train the same network with every loss of a plan, on the same batches, and score whole images."""
    if status:
        show_status(out or Path(plan), as_json)
        return
    chosen = chosen_plan(plan, data, losses or [], settings)
    if show:
        say(chosen.to_toml(), nl=False)
        return
    if paper:
        from lesionloss.cli.paper_tables import show_paper

        show_paper(chosen.name, out, as_json)
        return
    number, beside = number_or_auto("--jobs", jobs), number_or_auto("--together", together)
    if extend and out is not None:
        from lesionloss.bench.plan.extend_run import refuse_run_to_extend

        refuse_run_to_extend(out)
    if dry_run:
        from lesionloss.cli.bench_forecast import show_forecast

        show_forecast(chosen, out, device, number, threads, beside, as_json, extend=extend)
        return
    if out is None:
        raise UsageError("bench needs a folder for its results: --out FOLDER")
    from lesionloss.cli.progress import TerminalWatcher

    worker = chosen_engine(engine, number, device, address, gpus_per_trial, slurm_jobs, slurm or [], beside)
    from lesionloss.bench.plan.run_folders import runs_of
    from lesionloss.bench.run import run

    failed = 0
    for part, folder in runs_of(chosen, out, extend=extend):
        try:
            with TerminalWatcher(chosen.name) as watcher:
                results = run(
                    part,
                    folder,
                    device=device,
                    watcher=watcher,
                    engine=worker,
                    threads=threads,
                    checkpoint_seconds=checkpoint_seconds,
                    deterministic=deterministic,
                    batches_on_cpu=batches_on_cpu,
                    noise_floor=noise_floor,
                    step=step,
                    track=track,
                    extend=extend,
                )
        except KeyboardInterrupt:
            say(_interrupted(folder), err=True)
            raise typer.Exit(ExitCode.INTERRUPTED) from None
        failed += len(results.failed)
        open_ = f", {len(results.missing)} not done (lesionloss bench --status {folder})" if results.missing else ""
        say(f"{folder}: {len(results.trials)} trials finished, {len(results.failed)} failed{open_}")
        hint(f"next: lesionloss compare {folder} --metric {chosen.primary_metric}; lesionloss report {folder}")
    if failed:
        raise typer.Exit(ExitCode.PROBLEM)


def _interrupted(out: Path) -> str:
    """What is kept, and how to continue."""
    from lesionloss.bench.bookkeeping.status import read_status
    from lesionloss.core.errors import LesionLossError

    try:
        counts = read_status(out).counts
        kept = f"{counts['done']} of {sum(counts.values())} trials are finished, others continue from a checkpoint"
    except LesionLossError:
        kept = "prepared patients are kept"
    return f"lesionloss: interrupted; {kept}; give the same command again to continue"


def show_status(folder: Path, as_json: bool) -> None:
    """Print the status of a run, or of each run of a plan of several data sets or networks."""
    from lesionloss.bench.bookkeeping.status import read_status, status_json
    from lesionloss.cli.bench_tables import one_or_named, print_status
    from lesionloss.runs.load_run import run_folders

    if not (folder / "plan.toml").is_file():
        raise UsageError(f"{folder} is not a run folder: it has no plan.toml; give what `lesionloss bench --out` wrote")
    found = [read_status(each) for each in run_folders(folder)]
    if as_json:
        say(one_or_named({each.folder.name: status_json(each) for each in found}))
        return
    for each in found:
        print_status(each, plain_console())

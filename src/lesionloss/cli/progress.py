"""Progress of a run in the terminal: all trials, and the steps of the running ones with loss, speed and time left."""

import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column

from lesionloss.cli.terminal import plain_console, text_column, verbosity

if TYPE_CHECKING:
    from lesionloss.bench.bookkeeping.status import Status, TrialStatus
    from lesionloss.training.loop import Step
    from lesionloss.training.trial import Trial

Item = TypeVar("Item")
LINES, MOST_LINES = 10, 100
WIDE = 110  # columns of a terminal that hold everything
_SMOOTH = 0.95  # of the running mean of the loss on display


class Bars(Progress):
    """Bars that also print a line for each of up to 100 steps, else for each tenth, with --verbose."""

    def update(self, task_id: TaskID, *args: Any, **fields: Any) -> None:
        """Change a bar."""
        task = self._tasks[task_id]
        before = _part(task.completed, task.total)
        super().update(task_id, *args, **fields)
        if verbosity.verbose and _part(task.completed, task.total) > before:
            total = f" of {task.total:g}" if task.total else ""
            self.console.print(
                f"{task.description}: {task.completed:g}{total} {task.fields.get('detail', '')}".rstrip()
            )


def _part(completed: float, total: float | None) -> int:
    """How many of the parts are done that are worth a line."""
    return int(completed * LINES / total) if total and total > MOST_LINES else int(completed)


def track(title: str, total: int, steps: Iterable[Item]) -> Iterator[Item]:
    """Go through items with a bar."""
    with progress_bar() as bar:
        task = bar.add_task(title, total=total, detail="")
        for item in steps:
            yield item
            bar.update(task, advance=1)


def progress_bar(console: Console | None = None) -> Progress:
    """Bars with a title, a detail and times, by default on stderr; titles and details give way on a narrow terminal."""
    console = console or plain_console(stderr=True)
    wide = console.width >= WIDE
    elapsed = (TimeElapsedColumn(table_column=Column(no_wrap=True, min_width=7)),)
    return Bars(
        text_column("{task.description}", 34 if wide else 20),
        BarColumn(bar_width=30 if wide else 12),
        MofNCompleteColumn(table_column=Column(no_wrap=True)),
        text_column("{task.fields[detail]}", 24 if wide else 16),
        *(elapsed if wide else ()),
        TimeRemainingColumn(table_column=Column(no_wrap=True, min_width=7)),
        console=console,
        transient=True,
        disable=verbosity.quiet or not console.is_terminal,
    )


class TerminalWatcher:
    """Two bars on a terminal; plain lines where the output goes to a file."""

    def __init__(self, name: str, console: Console | None = None) -> None:
        """Prepare the bars of a plan named `name`; by default on stderr."""
        self.console = console or plain_console(stderr=True)
        self.progress = progress_bar(self.console)
        self.name = name
        self.cohort_task: TaskID | None = None
        self.trials_task: TaskID | None = None
        self.running: dict[str, TaskID] = {}
        self.mean_loss: dict[str, float] = {}

    def __enter__(self) -> Self:
        """Show the bars."""
        self.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the bars."""
        self.progress.stop()

    def note(self, text: str) -> None:
        """Print a line above the bars, unless --quiet."""
        if verbosity.quiet:
            return
        self.console.print(text, highlight=False, markup=False)

    def cohort(self, name: str, done: int, total: int) -> None:
        """Advance the bar of patients."""
        if self.cohort_task is None:
            self.cohort_task = self.progress.add_task("patients", total=total, detail="")
        self.progress.update(self.cohort_task, completed=done, total=total, detail=name)

    def started(self, trial: "Trial", index: int, total: int) -> None:
        """Begin the bar of a trial in this process."""
        if self.trials_task is None:
            self.trials_task = self.progress.add_task(f"{self.name}: trials", total=total, detail="")
        self.progress.update(self.trials_task, completed=index - 1, total=total)
        title = f"{trial.loss}, fold {trial.fold}, seed {trial.seed}"
        self.running[trial.key] = self.progress.add_task(title, total=trial.recipe.steps, detail="")

    def step(self, trial: "Trial", step: "Step") -> None:
        """Advance the bar of the trial in this process."""
        loss = _SMOOTH * self.mean_loss.get(trial.key, step.loss) + (1 - _SMOOTH) * step.loss
        self.mean_loss[trial.key] = loss
        if trial.key in self.running:
            rate = step.step / max(step.seconds, 1e-9)
            detail = f"loss {loss:.4f}  {rate:.1f} steps/s"
            self.progress.update(self.running[trial.key], completed=step.step, detail=detail)

    def status(self, status: "Status") -> None:
        """Update the bar of all trials, and a bar for each running one."""
        counts = status.counts
        if self.trials_task is None:
            self.trials_task = self.progress.add_task(f"{self.name}: trials", total=len(status.trials), detail="")
        words = [f"{counts['failed']} failed"] if counts["failed"] else []
        if status.seconds_left is not None:
            words.append(f"until {clock(status.now + status.seconds_left, status.now)}")
        ended = counts["done"] + counts["failed"]
        self.progress.update(self.trials_task, completed=ended, total=len(status.trials), detail=", ".join(words))
        running = {trial.key: trial for trial in status.of("running")}
        for key in [key for key in self.running if key not in running]:
            self.progress.remove_task(self.running.pop(key))
        for key, trial in running.items():
            if key not in self.running:
                self.running[key] = self.progress.add_task(trial.title, total=trial.steps or None, detail="")
            detail = "scoring" if trial.steps and trial.step == trial.steps else ""
            self.progress.update(self.running[key], completed=trial.step, detail=detail)

    def trial_ended(self, trial: "TrialStatus", status: "Status") -> None:
        """Print a line where the output is no terminal."""
        if not self.console.is_terminal:
            counts = status.counts
            left = status.seconds_left
            end = f", until about {clock(status.now + left, status.now)}" if left is not None else ""
            ended = counts["done"] + counts["failed"]
            self.note(f"{trial.state}: {trial.title} ({ended} of {len(status.trials)}{end})")

    def ended(self, trial: "Trial") -> None:
        """Advance the bar of all trials, and remove that of this one."""
        if trial.key in self.running:
            self.progress.remove_task(self.running.pop(trial.key))
        if self.trials_task is not None:
            self.progress.update(self.trials_task, advance=1)
        if not self.console.is_terminal:
            self.note(f"done: {trial.loss}, fold {trial.fold}, seed {trial.seed}")


def clock(when: float, now: float) -> str:
    """Return a time of day, with the date if it is not today; both arguments are seconds of Unix time."""
    then = time.localtime(when)
    today = time.localtime(now)[:3] == then[:3]
    return time.strftime("%H:%M" if today else "%a %d %b %H:%M", then)

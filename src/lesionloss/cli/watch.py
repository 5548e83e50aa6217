"""Progress of a run in the terminal: all trials, and the steps of the present one with loss, rate and time left."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from lesionloss.training.loop import Step
from lesionloss.training.trial import Trial

_SMOOTH = 0.95  # of the running mean of the loss on display


class TerminalWatcher:
    """Two bars on a terminal; plain lines where the output goes to a file."""

    def __init__(self, name: str, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        self.progress = Progress(
            TextColumn("{task.description:<34}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[detail]:<24}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
        )
        self.name = name
        self.cohort_task: TaskID | None = None
        self.trials_task: TaskID | None = None
        self.steps_task: TaskID | None = None
        self.mean_loss = float("nan")

    def __enter__(self) -> Self:
        self.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.progress.stop()

    def note(self, text: str) -> None:
        self.console.print(text, highlight=False, markup=False)

    def cohort(self, name: str, done: int, total: int) -> None:
        if self.cohort_task is None:
            self.cohort_task = self.progress.add_task("patients", total=total, detail="")
        self.progress.update(self.cohort_task, completed=done, total=total, detail=name)

    def started(self, trial: Trial, index: int, total: int) -> None:
        if self.trials_task is None:
            self.trials_task = self.progress.add_task(f"{self.name}: trials", total=total, detail="")
        self.progress.update(self.trials_task, completed=index - 1)
        if self.steps_task is not None:
            self.progress.remove_task(self.steps_task)
        title = f"{trial.loss}, fold {trial.fold}, seed {trial.seed}"
        self.steps_task = self.progress.add_task(title, total=trial.recipe.steps, detail="")
        self.mean_loss = float("nan")

    def step(self, step: Step, steps: int) -> None:
        fresh = self.mean_loss != self.mean_loss
        self.mean_loss = step.loss if fresh else _SMOOTH * self.mean_loss + (1 - _SMOOTH) * step.loss
        if self.steps_task is not None:
            rate = step.step / max(step.seconds, 1e-9)
            detail = f"loss {self.mean_loss:.4f}  {rate:.1f} steps/s"
            self.progress.update(self.steps_task, completed=step.step, total=steps, detail=detail)

    def ended(self, trial: Trial) -> None:
        if self.trials_task is not None:
            self.progress.advance(self.trials_task)
        if not self.console.is_terminal:
            self.note(f"done: {trial.loss}, fold {trial.fold}, seed {trial.seed}")

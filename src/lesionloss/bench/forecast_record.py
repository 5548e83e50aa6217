"""What a forecast of a plan says."""

from dataclasses import dataclass

from lesionloss.bench.batch_shares import BatchShares


@dataclass(frozen=True)
class ForecastTrial:
    """One trial of the plan and its state: done, running, failed or open."""

    loss: str
    fold: int
    seed: int
    state: str


@dataclass(frozen=True)
class Forecast:
    """What a plan will need.

    Attributes:
        trials: All trials of networks.
        mixed: What is mixed into the training folds, in words.
        batches: The lesion share of training batches; None where nothing is prepared yet.
        source: Where the times come from.
        left_out: What they do not include.
        step_seconds: Of a training step, timed now; None where finished trials say more.
        seconds_each: Of a trial; None where its steps depend on patients that are not prepared yet.
        seconds: Of all open trials together.
        jobs: Processes at a time.
        gpus: GPUs that they share; 0: none.
        together: Losses of a pair that train side by side in each.
        threads: Threads of each.
        there_bytes: On disk already.
        trial_bytes: On disk, of a finished trial.
        checkpoint_bytes: On disk at most, of checkpoints while trials run.
        need_bytes: Memory of a trial.
        free_bytes: Free memory.
    """

    trials: tuple[ForecastTrial, ...]
    mixed: tuple[str, ...]
    batches: BatchShares | None
    source: str
    left_out: tuple[str, ...]
    step_seconds: float | None
    seconds_each: float | None
    seconds: float | None
    jobs: int
    gpus: int
    together: int
    threads: int
    there_bytes: int
    trial_bytes: int
    checkpoint_bytes: int
    need_bytes: int
    free_bytes: int

    @property
    def left(self) -> int:
        """The number of trials that are not done."""
        return sum(trial.state != "done" for trial in self.trials)

    @property
    def disk_bytes(self) -> int:
        """What these trials will add on disk."""
        return self.left * self.trial_bytes

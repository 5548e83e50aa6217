"""What a worker needs to know of a run: its folder, its device, and this call of `bench`."""

from dataclasses import dataclass
from pathlib import Path

from lesionloss.bench.bookkeeping.failures import read_failure
from lesionloss.bench.bookkeeping.trial_list import lock_name
from lesionloss.runs.run_records import TRIALS
from lesionloss.training.checkpoint import Checkpoints
from lesionloss.training.step_modes import EAGER


@dataclass(frozen=True)
class RunContext:
    """What a worker needs beside the key of its trial.

    Attributes:
        folder: The run folder.
        device: cpu or cuda:N of the worker; auto: its first GPU if it has one.
        call: Identifies this call of `bench`; a trial that failed in it is not tried again in it.
        checkpoint_seconds: Time between two checkpoints.
        deterministic: Whether all bits must repeat on a GPU, see `training.arithmetic`.
        noise_floor: Whether one trial is trained again, see `bench.engines.repeat_trial`; None: where a GPU trained it.
        step: How training steps are computed: a mode of `training.step_modes`, or auto: the faster one.
        batches_on_cpu: Whether batches are made in main memory even where the cases fit on a GPU.
        track: Where the curves of training are shown, see `training.trackers`; empty for nowhere.
        processes: How many processes share the cores of this machine.
        place: The folder inside the run folder where trials are written.
    """

    folder: Path
    device: str
    call: str
    checkpoint_seconds: float = 120.0
    deterministic: bool = False
    noise_floor: bool | None = None
    step: str = EAGER
    batches_on_cpu: bool = False
    track: str = ""
    processes: int = 1
    place: str = TRIALS

    @property
    def trials(self) -> Path:
        """Where trials are written."""
        return self.folder / self.place

    def lock_path(self, key: str) -> Path:
        """Return the lock of a trial."""
        return self.folder / "locks" / lock_name(self.place, key)

    def done(self, key: str) -> bool:
        """Return whether a trial is finished."""
        return (self.trials / key).is_dir()

    def failed(self, key: str) -> bool:
        """Return whether a trial failed in this call, in any process."""
        failure = read_failure(self.trials, key)
        return failure is not None and failure.call == self.call

    def checkpoints(self, key: str) -> Checkpoints:
        """Return where and how often a trial's checkpoints are written."""
        return Checkpoints(
            self.folder / "checkpoints" / lock_name(self.place, key), every_seconds=self.checkpoint_seconds
        )

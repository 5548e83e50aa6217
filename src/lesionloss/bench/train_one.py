"""Train one trial in a folder of its own: its files, the plan, the prepared patients, and a checkpoint meanwhile."""

import contextlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from lesionloss.bench.make_cohort import load_run_cohort
from lesionloss.bench.one_trial.run_trial import NetworkTrial, run_network_trial, shown_run
from lesionloss.bench.one_trial.trial_files import write_manifest
from lesionloss.bench.plan import Plan
from lesionloss.bench.plan.plan_model import with_used_files
from lesionloss.bench.plan.run_folders import LOSSES, store_plan
from lesionloss.bench.pretrained_starts import prepare_pretraining, pretrain_start
from lesionloss.bench.recipes import recipe_of
from lesionloss.bench.run_cohort import RunCohort
from lesionloss.bench.trials import code_digest, fit_network, fold_warnings, trials_of
from lesionloss.bench.watcher import Watcher
from lesionloss.core.errors import UsageError
from lesionloss.networks import code_digest as network_digest
from lesionloss.networks.bundle import annotate
from lesionloss.runs.run_files import read_toml
from lesionloss.runs.trial_manifest import MANIFEST, MIXED
from lesionloss.training.arithmetic import set_arithmetic
from lesionloss.training.checkpoint import Checkpoints
from lesionloss.training.execution import choose_execution
from lesionloss.training.pretraining import FOLDER
from lesionloss.training.trackers import TRACKERS, check_tracker, tracked
from lesionloss.training.trial import Trial

CHECKPOINT = "checkpoint"
ALL = -1  # as a fold: train on all patients, test on none
WRITTEN = (
    *(
        "plan.toml",
        "cohort",
        "synthetic",
        LOSSES,
        FOLDER,
        MIXED,
        "checkpoints",
        CHECKPOINT,
        "trial.toml",
        "machine.json",
    ),
    *("history.csv", "scores.csv", "model.safetensors", "model.json", "predictions", "log.txt"),
    *TRACKERS,
    MANIFEST,
)


@dataclass(frozen=True)
class TrainRequest:
    """What is to be trained and where.

    Attributes:
        plan: A plan of one loss and one seed.
        fold: The fold to test on; `ALL`: train on all patients.
        out: The folder of the training run.
        device: cpu or cuda:N.
        checkpoint_seconds: Time between two checkpoints.
        licence: Licence of the model; None: not stated.
        data_note: A note on the training data; None: their names.
        deterministic: Whether all bits must repeat on a GPU, see `training.arithmetic`.
        batches_on_cpu: Whether batches are made in main memory even where the cases fit on a GPU.
        track: Where the curves are shown, see `training.trackers`.
    """

    plan: Plan
    fold: int
    out: Path
    device: str
    checkpoint_seconds: float = 120.0
    licence: str | None = None
    data_note: str | None = None
    deterministic: bool = False
    batches_on_cpu: bool = False
    track: str = ""

    @property
    def trackers(self) -> tuple[str, ...]:
        """The tracker that was chosen, and TensorBoard where it is installed."""
        wanted = dict.fromkeys((self.track, "tensorboard" if find_spec("tensorboard") else ""))
        return tuple(filter(None, wanted))


def prepare_folder(request: TrainRequest, *, resume: bool, force: bool) -> bool:
    """Store the plan in the folder.

    Args:
        request: What is to be trained.
        resume: Continue an unfinished training run.
        force: Remove a former training run first.

    Returns:
        Whether this call started the folder.

    Raises:
        UsageError: The tracker is not known, or the folder holds a training run that is neither to be continued nor
            to be replaced.
    """
    check_tracker(request.track)
    out = request.out
    if force:
        _clear(out, WRITTEN)
    if is_finished(out):
        raise UsageError(f"{out} holds a finished training run; --force trains it anew, or choose another --out")
    if not resume and any((out / name).exists() for name in (CHECKPOINT, "history.csv")):
        raise UsageError(f"{out} holds an unfinished training run; --resume continues it, --force starts anew")
    return store_plan(request.plan, out)


def clear_refused(out: Path) -> None:
    """Remove what a refused training run has written, unless a patient was prepared or a checkpoint written.

    Only for the call that started the folder: before it, the folder was empty.
    """
    if not (out / CHECKPOINT).exists() and not any((out / "cohort").glob("*.npz")):
        _clear(out, [name for name in WRITTEN if name != LOSSES])  # a folder of that name may have been there before
        with contextlib.suppress(OSError):
            out.rmdir()


def _clear(out: Path, names: Sequence[str]) -> None:
    for name in names:
        path = out / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def refuse_other_settings(request: TrainRequest) -> None:
    """Check that a finished training run is the requested one.

    It is not continued to more steps: the schedule of the learning rate depends on their number from the start.

    Raises:
        UsageError: It has another loss, fold, data or other settings; the message names them.
        DataError: Its record can't be read.
    """
    out = request.out
    changes = Plan.load(out / "plan.toml").changes(with_used_files(request.plan))
    changes = {key: values for key, values in changes.items() if key not in ("baseline_loss", "name")}
    fold = read_toml(out / "trial.toml").get("fold")
    if fold != request.fold:
        changes["fold"] = (_fold_name(fold), _fold_name(request.fold))
    if changes:
        words = [f"{key} is {then!r}, now {now!r}" for key, (then, now) in changes.items()]
        raise UsageError(
            f"{out} holds a finished training run with other settings ({'; '.join(words)}); "
            "choose another --out, or --force trains it anew"
        )


def _fold_name(number: object) -> object:
    return "all" if number == ALL else number


def is_finished(out: Path) -> bool:
    """Return whether a folder holds a finished training run."""
    return (out / MANIFEST).exists() and not (out / CHECKPOINT).exists()


def train_one(request: TrainRequest, watcher: Watcher) -> Trial:
    """Prepare the patients, train, and write what a trial's folder holds.

    Args:
        request: What is to be trained; its folder is prepared by `prepare_folder`.
        watcher: Is notified of the progress.

    Returns:
        The trial.

    Raises:
        UsageError: The plan or the fold does not fit the data.
        DataError: The data can't be used.
        TrainingFailed: The loss became NaN or infinite.
    """
    cohort = load_run_cohort(request.plan, request.out, watcher)
    case = cohort.cases[0]
    plan = fit_network(request.plan, case.channels, case.classes, len(case.shape))
    request = replace(request, plan=plan)
    trial = _trial_of(request, cohort, watcher)
    execution = choose_execution(trial.recipe, trial.network, len(cohort.cases[0].channels), request.device)
    watcher.note(execution.describe())
    checkpoints = Checkpoints(request.out / CHECKPOINT, every_seconds=request.checkpoint_seconds, note=watcher.note)
    shown = shown_run(trial, request.out, plan.name, alone=True)
    logs = tuple(partial(tracked, name, shown, watcher.note) for name in request.trackers)
    with set_arithmetic(request.device, request.deterministic):
        prepare_pretraining(request.plan, (trial,), cohort, request.out, watcher)
        pretrain_start(request.plan, trial, request.out, request.device, watcher)
        watcher.started(trial, 1, 1)
        work = NetworkTrial(trial, request.out, watcher, checkpoints, logs)
        run_network_trial(work, cohort, request.plan, request.device, batches_on_cpu=request.batches_on_cpu)
    annotate(request.out, licence=request.licence, data_note=request.data_note)
    write_manifest(request.out, trial.key, request.out)
    checkpoints.clear()
    watcher.ended(trial)
    return trial


def _trial_of(request: TrainRequest, cohort: RunCohort, watcher: Watcher) -> Trial:
    plan = request.plan
    if request.fold == ALL:
        return Trial(
            loss=plan.losses[0],
            dataset=cohort.dataset,
            target=cohort.target,
            network=plan.network.text,
            fold=ALL,
            seed=plan.seeds[0],
            train=(*(case.name for case in cohort.cases), *cohort.mixed_names),
            test=(),
            recipe=recipe_of(plan, request.device, (*cohort.cases, *cohort.mixed), cohort.mixtures),
            loss_sha256=code_digest(plan.losses[0]),
            network_sha256=network_digest(plan.network.text),
        )
    if request.fold >= plan.all_folds:
        raise UsageError(f"--fold must be all or a number from 0 to {plan.all_folds - 1}, got {request.fold}")
    for warning in fold_warnings(plan, cohort):
        watcher.note(warning)
    trials = trials_of(plan, cohort, request.device)
    return next(trial for trial in trials if trial.fold == request.fold)

"""Pretraining on synthetic patients: once for each seed, kept under RUN/pretrained, the start of all its trials."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lesionloss.bench.make_cohort import prepare_run_cohort
from lesionloss.bench.one_trial.run_trial import pairing_hashes
from lesionloss.bench.one_trial.trial_files import write_machine, write_manifest, write_model, write_trial
from lesionloss.bench.plan import Plan
from lesionloss.bench.run_cohort import ListedCohort, RunCohort, read_run_cohort
from lesionloss.bench.trial_groups import networks_of
from lesionloss.bench.watcher import Watcher
from lesionloss.core.errors import UsageError
from lesionloss.core.files import atomic_folder
from lesionloss.core.locks import hold_lock
from lesionloss.data.prepared import load_channels
from lesionloss.data.visible_lesions import visible_only
from lesionloss.training.checkpoint import Checkpoints
from lesionloss.training.execution import default_workers
from lesionloss.training.loop import train
from lesionloss.training.pretraining import FOLDER, pretraining_trial, read_pretraining
from lesionloss.training.step_log import HistoryFile, combine_logs
from lesionloss.training.trial import Trial


def prepare_pretraining(plan: Plan, trials: Sequence[Trial], cohort: RunCohort, folder: Path, watcher: Watcher) -> None:
    """Make and prepare the synthetic patients, unless every start that trials need is there; nothing is trained.

    Args:
        plan: The plan of the run.
        trials: Trials whose recipe may ask for pretraining.
        cohort: Any cases of the run, for their channels.
        folder: The run folder.
        watcher: Is notified of every patient.

    Raises:
        UsageError: The synthetic patients have other channels than the cohort.
    """
    keys = {pretraining_trial(trial).key for trial in networks_of(trials) if trial.recipe.pretrain}
    if all((folder / FOLDER / key).exists() for key in keys):
        return
    synthetic = _make_synthetic(plan, folder, watcher)
    ours = cohort.cases[0].channels
    theirs = load_channels(synthetic.folder / f"{synthetic.cases[0].name}.npz")
    if ours != theirs:
        raise UsageError(
            f"training.pretrain: synthetic patients have the channels {', '.join(theirs)}, these {', '.join(ours)}; "
            "leave pretraining out"
        )


def pretrain_start(plan: Plan, trial: Trial, folder: Path, device: str, watcher: Watcher) -> None:
    """Pretrain what a trial starts from, on the machine that trains the trial, unless it is there or needs none.

    One process at a time does so, others wait; after a kill, the next one goes on from the last checkpoint.

    Args:
        plan: The plan of the run.
        trial: The trial.
        folder: The run folder; the start is kept in pretrained/KEY, with trial.toml, history.csv, machine.json and
            model.
        device: cpu or cuda:N.
        watcher: Is notified of every step.
    """
    if not trial.recipe.pretrain:
        return
    start = pretraining_trial(trial)
    with hold_lock(folder / FOLDER / f"{start.key}.lock"):
        if not (folder / FOLDER / start.key).exists():
            watcher.started(start, 1, 1)
            _pretrain(start, _synthetic_cohort(plan, folder), folder, device, watcher)
            watcher.ended(start)


def _make_synthetic(plan: Plan, folder: Path, watcher: Watcher) -> ListedCohort:
    """Make the synthetic patients that the plan's text describes; prepare them as the plan prepares its own."""
    from lesionloss.synth import load_settings, profile_settings, write_cohort

    pretraining = read_pretraining(plan.training.pretrain)
    changes = {"spacing_mm": pretraining.spacing_mm or "scanner", "ground_truth": pretraining.truth}
    if pretraining.config:
        settings = load_settings(Path(pretraining.config), changes)
    else:
        settings = profile_settings(pretraining.profile, changes)
    place = folder / FOLDER / "synthetic"
    write_cohort(place, pretraining.patients, pretraining.seed, settings, watcher.cohort)
    own = {"source": str(place), "layout": "msseg2", "target": "", "patients": (), "mix": ()}
    return prepare_run_cohort(plan.changed({"data": plan.data.model_dump() | own}), folder / FOLDER, watcher)


def _synthetic_cohort(plan: Plan, folder: Path) -> RunCohort:
    """The prepared synthetic patients, without lesions that nobody would mark."""
    listed, visible = read_run_cohort(folder / FOLDER), read_pretraining(plan.training.pretrain).visible
    cohort = listed.read(listed.shapes)
    return replace(cohort, cases=tuple(visible_only(case, visible) if visible else case for case in cohort.cases))


def _pretrain(start: Trial, cohort: RunCohort, folder: Path, device: str, watcher: Watcher) -> None:
    checkpoints = Checkpoints(folder / "checkpoints" / start.key, note=watcher.note)
    with atomic_folder(folder / FOLDER / start.key) as unfinished:
        with HistoryFile(unfinished) as history:
            result = train(
                start,
                cohort.cases,
                device=device,
                workers=default_workers(device),
                checkpoints=checkpoints,
                after_step=combine_logs(history, lambda step: watcher.step(start, step)),
            )
        write_model(unfinished, start, result, cohort.cases[0], cohort.preparation)
        write_trial(unfinished, start, pairing_hashes(result) | {"dataset_content": cohort.dataset})
        seconds = {"training": result.history[-1].seconds}
        write_machine(unfinished, seconds, device, result.step_mode, result.cohort_on_device)
        write_manifest(unfinished, start.key, folder)
    checkpoints.clear()

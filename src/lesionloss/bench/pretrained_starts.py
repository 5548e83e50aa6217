"""Pretraining on synthetic patients: once for each seed, kept under RUN/pretrained, the start of all its trials."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lesionloss.bench.make_cohort import load_run_cohort
from lesionloss.bench.one_trial.run_trial import pairing_hashes
from lesionloss.bench.one_trial.trial_files import write_machine, write_manifest, write_model, write_trial
from lesionloss.bench.plan import Plan
from lesionloss.bench.run_cohort import RunCohort
from lesionloss.bench.watcher import Watcher
from lesionloss.core.errors import UsageError
from lesionloss.core.files import atomic_folder
from lesionloss.data.visible_lesions import visible_only
from lesionloss.training.checkpoint import Checkpoints
from lesionloss.training.execution import default_workers
from lesionloss.training.loop import train
from lesionloss.training.pretraining import FOLDER, pretraining_trial, read_pretraining
from lesionloss.training.step_log import HistoryFile, combine_logs
from lesionloss.training.trial import Trial


def pretrain_starts(
    plan: Plan, trials: Sequence[Trial], cohort: RunCohort, folder: Path, device: str, watcher: Watcher
) -> None:
    """Pretrain every start that trials need and the run folder lacks; after a kill, from the last checkpoint on.

    Args:
        plan: The plan of the run.
        trials: Trials whose recipe may ask for pretraining.
        cohort: Any cases of the run, for their channels.
        folder: The run folder; a start is kept in pretrained/KEY, with trial.toml, history.csv, machine.json and model.
        device: cpu or cuda:N.
        watcher: Is notified of every step.

    Raises:
        UsageError: The synthetic patients have other channels than the cohort.
    """
    wanted = {start.key: start for start in map(pretraining_trial, (t for t in trials if t.recipe.pretrain))}
    missing = [start for key, start in wanted.items() if not (folder / FOLDER / key).exists()]
    if not missing:
        return
    synthetic = _synthetic_cohort(plan, folder, watcher)
    _check_channels(cohort, synthetic)
    for number, start in enumerate(missing, 1):
        watcher.started(start, number, len(missing))
        _pretrain(start, synthetic, folder, device, watcher)
        watcher.ended(start)


def _check_channels(cohort: RunCohort, synthetic: RunCohort) -> None:
    ours, theirs = cohort.cases[0].channels, synthetic.cases[0].channels
    if ours != theirs:
        raise UsageError(
            f"training.pretrain: synthetic patients have the channels {', '.join(theirs)}, these {', '.join(ours)}; "
            "leave pretraining out"
        )


def _synthetic_cohort(plan: Plan, folder: Path, watcher: Watcher) -> RunCohort:
    """The synthetic patients that the plan's text describes, prepared as the plan prepares its own."""
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
    cohort = load_run_cohort(plan.changed({"data": plan.data.model_dump() | own}), folder / FOLDER, watcher)
    if not pretraining.visible:
        return cohort
    return replace(cohort, cases=tuple(visible_only(case, pretraining.visible) for case in cohort.cases))


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
        write_machine(unfinished, {"training": result.history[-1].seconds}, device, result.cohort_on_device)
        write_manifest(unfinished, start.key, folder)
    checkpoints.clear()

"""Synthetic pretraining of a run: once for each seed, kept under `pretrained/`, the start of all its trials."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lesionloss.bench import trial_files
from lesionloss.bench.plan import Plan
from lesionloss.bench.run_cohort import RunCohort, run_cohort
from lesionloss.bench.run_trial import proofs_of
from lesionloss.bench.watcher import Watcher
from lesionloss.core.errors import UsageError
from lesionloss.core.files import whole_folder
from lesionloss.data.visible_lesions import visible_only
from lesionloss.training.checkpoint import Saving
from lesionloss.training.execution import default_workers
from lesionloss.training.loop import train
from lesionloss.training.pretraining import FOLDER, pretraining_trial, read_pretraining
from lesionloss.training.step_log import HistoryFile, together
from lesionloss.training.trial import Trial


def make_starts(
    plan: Plan, trials: Sequence[Trial], cohort: RunCohort, folder: Path, device: str, watcher: Watcher
) -> None:
    """Pretrain every start that `trials` need and `folder` lacks; killed, it goes on from its last checkpoint.

    A start's folder is pretrained/KEY, with trial.toml, history.csv, machine.json and the model. Raises UsageError
    where the synthetic patients have other channels than those of the cohort.
    """
    wanted = {start.key: start for start in map(pretraining_trial, (t for t in trials if t.recipe.pretrain))}
    missing = [start for key, start in wanted.items() if not (folder / FOLDER / key).exists()]
    if not missing:
        return
    synthetic = _synthetic(plan, folder, watcher)
    _check_channels(cohort, synthetic)
    for number, start in enumerate(missing, 1):
        watcher.started(start, number, len(missing))
        _pretrain(start, synthetic, plan, folder, device, watcher)
        watcher.ended(start)


def _check_channels(cohort: RunCohort, synthetic: RunCohort) -> None:
    """Raises UsageError unless both have the same channels."""
    ours, theirs = cohort.cases[0].channels, synthetic.cases[0].channels
    if ours != theirs:
        raise UsageError(
            f"training.pretrain: synthetic patients have the channels {', '.join(theirs)}, these {', '.join(ours)}; "
            "leave pretraining out"
        )


def _synthetic(plan: Plan, folder: Path, watcher: Watcher) -> RunCohort:
    """The synthetic patients of the plan's text, prepared as the plan prepares its own."""
    from lesionloss.synth import load_settings, profile_settings, write_cohort

    asked = read_pretraining(plan.training.pretrain)
    changes = {"spacing_mm": asked.spacing_mm or "scanner", "ground_truth": asked.truth}
    settings = load_settings(Path(asked.config), changes) if asked.config else profile_settings(asked.profile, changes)
    place = folder / FOLDER / "synthetic"
    write_cohort(place, asked.patients, asked.seed, settings, watcher.cohort)
    own = {"source": str(place), "layout": "msseg2", "target": "", "patients": ()}
    made = run_cohort(plan.changed({"data": plan.data.model_dump() | own}), folder / FOLDER, watcher)
    if not asked.visible:
        return made
    return replace(made, cases=tuple(visible_only(case, asked.visible) for case in made.cases))


def _pretrain(start: Trial, cohort: RunCohort, plan: Plan, folder: Path, device: str, watcher: Watcher) -> None:
    place = folder / FOLDER / start.key
    saving = Saving(folder / "checkpoints" / start.key, note=watcher.note)
    with whole_folder(place) as unfinished:
        with HistoryFile(unfinished) as history:
            told = together(history, lambda step: watcher.step(step, start.recipe.steps))
            trained = train(
                start, cohort.cases, device=device, workers=default_workers(device), saving=saving, after_step=told
            )  # fmt: skip
        trial_files.write_model(unfinished, start, trained, cohort.cases[0], cohort.preparation)
        trial_files.write_trial(unfinished, start, proofs_of(trained) | {"dataset_content": cohort.dataset})
        trial_files.write_machine(unfinished, {"training": trained.history[-1].seconds}, device)
    saving.clear()

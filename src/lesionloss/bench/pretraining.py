"""Synthetic pretraining of a run: once for each seed, kept under `pretrained/`, the start of all its trials."""

from collections.abc import Sequence
from pathlib import Path

from lesionloss.bench import record
from lesionloss.bench.cohort import RunCohort, run_cohort
from lesionloss.bench.plan import Plan
from lesionloss.bench.watch import Watcher
from lesionloss.errors import UsageError
from lesionloss.files import whole_folder
from lesionloss.training.checkpoint import Saving
from lesionloss.training.logs import HistoryFile, together
from lesionloss.training.loop import train
from lesionloss.training.pretraining import FOLDER, pretraining_trial, read_pretraining
from lesionloss.training.trial import Trial
from lesionloss.training.way import default_workers


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
        _pretrain(start, synthetic, folder, device, watcher)
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
    settings = read_pretraining(plan.training.pretrain)
    data = plan.data.model_dump() | {
        "source": "synth",
        "layout": "",
        "target": "",
        "patients": (),
        "synth_patients": settings.patients,
        "synth_seed": settings.seed,
    }
    made = plan.changed({"data": data})
    return run_cohort(made, folder / FOLDER, watcher)


def _pretrain(start: Trial, cohort: RunCohort, folder: Path, device: str, watcher: Watcher) -> None:
    place = folder / FOLDER / start.key
    saving = Saving(folder / "checkpoints" / start.key, note=watcher.note)
    with whole_folder(place) as unfinished:
        with HistoryFile(unfinished) as history:
            told = together(history, lambda step: watcher.step(step, start.recipe.steps))
            trained = train(
                start, cohort.cases, device=device, workers=default_workers(device), saving=saving, after_step=told
            )  # fmt: skip
        record.write_model(unfinished, start, trained, cohort.cases[0], {})
        hashes = {"weights_hash": trained.weights_hash, "batches_hash": trained.batches_hash}
        record.write_trial(unfinished, start, hashes | {"dataset_content": cohort.dataset})
        record.write_machine(unfinished, {"training": trained.history[-1].seconds}, device)
    saving.clear()

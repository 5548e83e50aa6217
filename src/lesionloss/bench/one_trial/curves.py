"""Curves: scores of training patches, training images and test images while a network is trained.

All three are of the same weights, in evaluation mode, at the end of an epoch: they differ by patch or whole image and
by known or new patient (Cabezas & Diez 2024), not by the moment. The patches are those that the epoch trained on, drawn
again by their step, so that neither measuring nor an interruption changes any random draw.
"""

from collections.abc import Sequence
from itertools import islice

from torch import nn

from lesionloss.bench.one_trial.predictions import EpochPatches, predict_patches, predict_test_case
from lesionloss.bench.one_trial.score_rows import ScoreContext, score_rows
from lesionloss.bench.plan import Plan
from lesionloss.bench.recipes import steps_per_epoch
from lesionloss.bench.run_cohort import RunCohort
from lesionloss.data.prepared import PreparedCase
from lesionloss.training.mixture import split_mixed
from lesionloss.training.observer import ObservedRows, TrainingObserver
from lesionloss.training.trial import Trial
from lesionloss.training.validation import validation_split

TRAIN_PATCHES, TRAIN_IMAGES, TEST = "train_patches", "train_images", "test"


KEPT_BYTES = 2**29  # of patches that wait for the next network of their pair; others are made again


def curves_observers(
    plan: Plan, trials: Sequence[Trial], cohort: RunCohort, device: str
) -> list[TrainingObserver | None]:
    """Return what scores the network of each trial during training; None each where the plan has no curves.

    Args:
        plan: The plan of the run.
        trials: Trials of one pair, whose patches are made once for all.
        cohort: The cases they need.
        device: cpu or cuda:N.
    """
    if not plan.curves.every_epochs:
        return [None for _ in trials]
    trial = trials[0]
    cases = cohort.named(trial.train)
    epoch_steps = steps_per_epoch(plan.training, trial.recipe, cases)
    own, *mixed = split_mixed(cases, trial.recipe.mix)
    training, _ = validation_split(own, trial.recipe.validation_share, (trial.pair,), trial.recipe.split_by)
    drawn_from = {case.name: case for group in (training, *mixed) for case in group}
    patches = EpochPatches(trial, drawn_from, KEPT_BYTES if len(trials) > 1 else 0)
    return [_observer(plan, each, cohort, training, patches, epoch_steps, device) for each in trials]


def _observer(
    plan: Plan,
    trial: Trial,
    cohort: RunCohort,
    training: Sequence[PreparedCase],
    patches: EpochPatches,
    epoch_steps: int,
    device: str,
) -> TrainingObserver:
    curves = plan.curves
    dataset = plan.data.shown_dataset(trial.dataset)
    metrics = curves.metrics or (plan.primary_metric,)
    images = {TRAIN_IMAGES: list(training) if curves.training_images else []}
    images[TEST] = cohort.named(trial.test) if curves.test_images else []

    def observe(network: nn.Module, step: int) -> ObservedRows:
        rows: ObservedRows = []
        epoch = str(step // epoch_steps)
        if curves.training_patches:
            steps = range(step - epoch_steps + 1, step + 1)
            context = ScoreContext(trial, dataset, epoch, TRAIN_PATCHES)
            predicted = predict_patches(network, trial, patches, steps, device)
            for patch, prediction in islice(predicted, curves.patches or None):
                rows += score_rows(context, patch, prediction, metrics, classes=False)
        for split, split_cases in images.items():
            for case in split_cases:
                prediction = predict_test_case(network, trial, case, device)
                rows += score_rows(ScoreContext(trial, dataset, epoch, split), case, prediction, metrics, classes=False)
        return rows

    return TrainingObserver(curves.every_epochs * epoch_steps, observe)

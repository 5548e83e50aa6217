"""Curves: scores of training patches, training images and test images while a network is trained.

All three are of the same weights, in evaluation mode, at the end of an epoch: what lies between them is the way from
patches to images and from known to new patients (Cabezas & Diez 2024), not the moment. Patches are those that the epoch
trained on, drawn again by their step, so that neither looking nor a kill can move anything.
"""

from itertools import islice

from torch import nn

from lesionloss.bench.epochs import steps_per_epoch
from lesionloss.bench.patch_cases import patch_cases
from lesionloss.bench.plan import Plan
from lesionloss.bench.predict_case import predicted_by
from lesionloss.bench.run_cohort import RunCohort
from lesionloss.bench.trial_files import Place, rows_of_case
from lesionloss.training.observer import Looking, Seen
from lesionloss.training.trial import Trial
from lesionloss.training.validation import validation_split

TRAIN_PATCHES, TRAIN_IMAGES, TEST = "train_patches", "train_images", "test"


def curves_of(plan: Plan, trial: Trial, cohort: RunCohort, device: str) -> Looking | None:
    """What to look at while a trial is trained; None where the plan asks for no curves."""
    curves = plan.curves
    if not curves.every_epochs:
        return None
    cases = cohort.named(trial.train)
    learning, _ = validation_split(cases, trial.recipe.validation_share, (trial.pair,))
    epoch = steps_per_epoch(plan.training, trial.recipe, cases)
    metrics = curves.metrics or (plan.primary_metric,)
    images = {TRAIN_IMAGES: learning if curves.training_images else []}
    images[TEST] = cohort.named(trial.test) if curves.test_images else []

    def see(network: nn.Module, step: int) -> Seen:
        rows: Seen = []
        number = str(step // epoch)
        if curves.training_patches:
            steps = range(step - epoch + 1, step + 1)
            seen = patch_cases(network, trial, {case.name: case for case in learning}, steps, device)
            for patch, predicted in islice(seen, curves.patches or None):
                rows += rows_of_case(Place(trial, number, TRAIN_PATCHES), patch, predicted, metrics, classes=False)
        for split, shown in images.items():
            for case in shown:
                predicted = predicted_by(network, trial, case, device)
                rows += rows_of_case(Place(trial, number, split), case, predicted, metrics, classes=False)
        return rows

    return Looking(curves.every_epochs * epoch, see)

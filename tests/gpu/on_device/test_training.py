"""Training on a GPU: the numbers of the CPU, and no wait of the host outside the named reads."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from example_trials import RECIPE, TRIAL
from lesionloss.data.prepared import PreparedCase
from lesionloss.training.checkpoint import Checkpoints
from lesionloss.training.loop import TrainingFailed, TrainingResult, TrialToTrain, train, train_together
from lesionloss.training.trial import Trial
from named_reads import NAMED_READS

MOST_OPERATIONS = 620  # of a step of the V-Net and the making of its batch; each costs the host some 5 microseconds
PICTURES = {"patch": (32, 32, 1), "window": (32, 32)}
NETWORKS: dict[str, dict[str, Any]] = {
    "unet3d(filters=2, levels=2, group=2)": {},
    "longitudinal_vnet(filters=2)": {"consistency_from": 2},
    "unet2d(filters=2)": PICTURES,
    "plain_unet(filters=2)": PICTURES,
    "resnet34_unet(filters=4)": PICTURES,
    "monai:UNet(spatial_dims=3, channels=(4, 8), strides=(2,), dropout=0.2)": {},
    "monai:DynUNet(spatial_dims=3, kernel_size=(3, 3, 3), strides=(1, 2, 2), upsample_kernel_size=(2, 2), "
    "filters=(4, 8, 8))": {},
}
SETTINGS: dict[str, dict[str, Any]] = {
    "bf16": {"precision": "bf16"},
    "fp16": {"precision": "fp16"},
    "accumulate": {"accumulate": 2},
    "clip": {"clip_norm": 0.5},
    "sgd": {"optimiser": "sgd(momentum=0.9)"},
    "adamw": {"optimiser": "adamw"},
    "validation": {"validation_share": 0.5, "check_every": 2, "patience": 3},
    "loss of validation": {"validation_share": 0.5, "check_every": 2, "monitor": "loss"},
    "last weights": {"validation_share": 0.5, "check_every": 2, "keep": "last"},
}


def trial_of(network: str = "vnet(filters=2)", **changes: Any) -> Trial:
    return replace(TRIAL, network=network, loss="hytver", recipe=replace(RECIPE, **changes))


def losses_of(result: TrainingResult) -> list[float]:
    return [step.loss for step in result.history]


def check(gpu: Any, trial: Trial, cases: Sequence[PreparedCase]) -> None:
    with gpu.log() as log:
        found = train(trial, cases, device=gpu.name)
    if trial.recipe.precision == "fp16":  # which a CPU has not
        assert all(math.isfinite(loss) for loss in losses_of(found))
    else:
        expected = train(trial, cases)
        assert found.weights_hash == expected.weights_hash
        assert found.cohort_on_device.startswith("yes, ")
        tolerance = 2e-2 if trial.recipe.precision == "bf16" else 2e-4
        assert losses_of(found) == pytest.approx(losses_of(expected), rel=tolerance)
    assert log.unnamed(NAMED_READS) == []


def test_a_network_trains_as_on_the_cpu(gpu: Any, cases: list[PreparedCase]) -> None:
    check(gpu, trial_of(), cases)


def test_batches_made_by_the_processor_have_the_hash_of_a_cpu(gpu: Any, cases: list[PreparedCase]) -> None:
    with gpu.log() as log:
        found = train(trial_of(), cases, device=gpu.name, workers=2, batches_on_cpu=True)
    expected = train(trial_of(), cases)
    assert (found.batches_hash, found.cohort_on_device) == (expected.batches_hash, "no, as requested")
    assert losses_of(found) == pytest.approx(losses_of(expected), rel=2e-4)
    assert log.unnamed(NAMED_READS) == []


@pytest.mark.parametrize(
    ("loss", "most"),
    [
        ("hytver", MOST_OPERATIONS),
        ("component_dice(ce_share=0.5)", MOST_OPERATIONS + 50),
        ("lesion_tversky + inverse_weighted", MOST_OPERATIONS + 50),
        ("(1, 0)*dice_ce + (0, 1)*boundary", MOST_OPERATIONS),
    ],
)
def test_a_step_waits_for_nothing_and_has_few_operations(
    gpu: Any, cases: list[PreparedCase], loss: str, most: int
) -> None:
    """Steps between two reads of the losses: what three steps do more than two."""
    logs = []
    for steps in (2, 3):
        with gpu.log() as log:
            train(replace(trial_of(steps=steps), loss=loss), cases, device=gpu.name)
        logs.append(log)
    few, more = logs
    assert len(few.waits) == len(more.waits)
    assert more.operations.total() - few.operations.total() <= most


def test_losses_side_by_side_share_every_copy_of_a_batch(gpu: Any, cases: list[PreparedCase]) -> None:
    trials = [replace(trial_of(), loss=loss) for loss in ("dice", "hytver")]
    alone = [losses_of(train(trial, cases, device=gpu.name)) for trial in trials]
    with gpu.log() as log:
        together = train_together([TrialToTrain(trial) for trial in trials], cases, device=gpu.name)
    for result, expected in zip(together, alone, strict=True):
        assert isinstance(result, TrainingResult)
        assert losses_of(result) == pytest.approx(expected, rel=1e-5)
    assert log.unnamed(NAMED_READS) == []


def test_a_class_number_out_of_range_stops_before_weights_move(gpu: Any, cases: list[PreparedCase]) -> None:
    wrong = [replace(case, reference=case.reference * 3) for case in cases]
    with pytest.raises(TrainingFailed, match=r"labels must be class numbers 0 to 1.*at step 1"):
        train(trial_of(foreground_share=1.0), wrong, device=gpu.name)


@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS)
def test_every_network_trains_as_on_the_cpu(gpu: Any, cases: list[PreparedCase], network: str) -> None:
    check(gpu, trial_of(network, **NETWORKS[network]), cases)


@pytest.mark.slow
@pytest.mark.parametrize("setting", SETTINGS)
def test_every_setting_trains_as_on_the_cpu(gpu: Any, cases: list[PreparedCase], setting: str) -> None:
    check(gpu, trial_of("unet3d(filters=4, levels=2, group=2)", **SETTINGS[setting]), cases)


@pytest.mark.slow
@pytest.mark.parametrize("optimiser", ["adam", "sgd(momentum=0.9)"])
def test_a_killed_run_continues_from_its_checkpoint(
    gpu: Any, cases: list[PreparedCase], tmp_path: Path, optimiser: str
) -> None:
    class Killed(Exception):
        pass

    def kill(step: Any) -> None:
        if step.step == 3:
            raise Killed

    trial = trial_of(steps=4, optimiser=optimiser)
    whole = train(trial, cases, device=gpu.name)
    checkpoints = Checkpoints(tmp_path, every_seconds=0)
    with pytest.raises(Killed):
        train(trial, cases, device=gpu.name, checkpoints=checkpoints, after_step=kill)
    with gpu.log() as log:
        again = train(trial, cases, device=gpu.name, checkpoints=checkpoints)
    assert losses_of(again) == pytest.approx(losses_of(whole), rel=1e-5)
    assert again.batches_hash == whole.batches_hash
    assert log.unnamed(NAMED_READS) == []

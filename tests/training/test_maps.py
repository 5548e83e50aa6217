"""Maps of the reference in training: made once with each batch, for the losses of a pair, with each case's spacing."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from example_trials import RECIPE, TRIAL
from lesionloss.data.batches.stream import BatchStream
from lesionloss.data.prepared import PreparedCase
from lesionloss.losses import reference_maps
from lesionloss.networks.network_output import Outputs
from lesionloss.training.forward import criterion_of, loss_of, maps_for, split_batch
from lesionloss.training.loop import TrialToTrain, train, train_together, weights_hash
from lesionloss.training.samplers import augmentation_of, sampler_of

SMALL = replace(TRIAL, network="unet3d(filters=2, levels=2)", recipe=replace(RECIPE, patch=(8, 8, 8), jitter=2))


def stream(cases: list[PreparedCase], losses: tuple[str, ...], **changes: object) -> BatchStream:
    recipe = replace(SMALL.recipe, **changes)
    maps = maps_for(losses, recipe, 1)
    batch = recipe.batch * recipe.accumulate
    return BatchStream(cases, sampler_of(recipe), augmentation_of(recipe), ("maps",), batch=batch, maps=maps)


def stretched(case: PreparedCase, factor: float) -> PreparedCase:
    """The same voxels, of another size along the last axis."""
    affine = case.affine.copy()
    affine[:3, 2] *= factor
    return replace(case, affine=affine)


def test_batches_have_the_maps_and_the_content_that_they_have_without(cases: list[PreparedCase]) -> None:
    cases = [stretched(case, 1 + number) for number, case in enumerate(cases)]
    with stream(cases, ("component_dice", "dice + blob")) as having, stream(cases, ("dice",)) as without:
        for _ in range(3):
            batch, plain = next(having), next(without)
            assert batch.digest() == plain.digest()
            assert not plain.maps
            assert set(batch.maps) == {"nearest_lesion", "lesions"}
            by_name = {case.name: case for case in cases}
            assert batch.spacing_mm == tuple(by_name[name].spacing_mm for name in batch.names)
            for place, reference in enumerate(batch.references):
                nearest = reference_maps.nearest_lesion(reference > 0, batch.spacing_mm[place])
                np.testing.assert_array_equal(batch.maps["nearest_lesion"][place, 0], nearest)


@pytest.mark.parametrize("patch", [(8, 8, 8), (16, 16, 1)])
def test_the_loss_of_each_part_takes_its_maps_and_spacing(cases: list[PreparedCase], patch: tuple[int, ...]) -> None:
    cases = [stretched(case, 3 + number) for number, case in enumerate(cases)]
    changes = {"patch": patch, "accumulate": 2, "augment": False}
    recipe = replace(SMALL.recipe, **changes)
    criterion = criterion_of("component_dice", recipe)
    with stream(cases, ("component_dice",), **changes) as batches:
        batch = next(batches)
    parts = split_batch(batch, recipe, "cpu")
    assert [len(part.images) for part in parts] == [2, 2]
    for part in parts:
        logits = torch.randn((2, 1, *part.references.shape[1:]), generator=torch.Generator().manual_seed(1))
        expected = criterion(logits, part.references, part.valid, spacing_mm=part.spacing_mm)
        assert torch.equal(loss_of(criterion, Outputs(logits), part, recipe, 1), expected)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the maps that are computed, each time."""
    calls: list[str] = []
    compute = reference_maps.compute

    def counting(name: str, lesion: Tensor, spacing_mm: Tensor) -> Tensor:
        calls.append(name)
        return compute(name, lesion, spacing_mm)

    monkeypatch.setattr(reference_maps, "compute", counting)
    return calls


def test_maps_of_all_losses_of_a_pair_are_made_once_for_each_batch(
    cases: list[PreparedCase], counted: list[str]
) -> None:
    losses = ("blob", "component_dice", "dice", "lesion_tversky + inverse_weighted")
    trials = [replace(SMALL, loss=text) for text in losses]
    together = train_together([TrialToTrain(trial) for trial in trials], cases)
    assert sorted(counted) == sorted(("lesions", "nearest_lesion", "lesion_voxels") * SMALL.recipe.steps)
    for trial, result in zip(trials, together, strict=True):
        alone = train(trial, cases)
        assert not isinstance(result, Exception), result
        assert weights_hash(result.network) == weights_hash(alone.network)
        assert result.batches_hash == alone.batches_hash


def test_workers_make_the_same_maps(cases: list[PreparedCase]) -> None:
    trial = replace(SMALL, loss="component_dice")
    assert weights_hash(train(trial, cases, workers=2).network) == weights_hash(train(trial, cases).network)


def test_deep_supervision_and_validation_by_loss(cases: list[PreparedCase], counted: list[str]) -> None:
    recipe = replace(
        SMALL.recipe,
        patch=(16, 16, 1),
        window=(16, 16),
        augment=False,
        validation_share=0.3,
        check_every=3,
        monitor="loss",
    )
    trial = replace(SMALL, loss="dice_ce + blob", network="plain_unet(filters=2, levels=3)", recipe=recipe)
    result = train(trial, cases)
    assert result.best_step == 3
    assert np.isfinite(result.best_score)
    assert counted.count("lesions") > recipe.steps  # coarser outputs make theirs

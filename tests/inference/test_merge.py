"""How overlapping windows are merged: declared in the plan, used by bench and validation, repeated by predict."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from example_trials import RECIPE, TRIAL
from lesionloss.bench.one_trial.predictions import predict_test_case
from lesionloss.core.randomness import torch_generator
from lesionloss.data.prepared import PreparedCase
from lesionloss.inference import predict_probability
from lesionloss.inference.predict import PredictSettings
from lesionloss.inference.predict.predict_in_memory import own_sliding_window, predict_ready
from lesionloss.inference.predict.replay_preparation import ReadyCase
from lesionloss.networks import build_network
from lesionloss.networks.bundle import Bundle, BundleRecord, load_bundle, save_bundle
from lesionloss.training.trial import TrainingRecipe, flat_record
from lesionloss.training.validation import mode_of
from patch_cases import random_case

NETWORK = "unet3d(filters=4, levels=2)"
PLAIN = replace(RECIPE, window=(8, 8, 8), overlap=0.5, merge="mean", merge_of="probabilities")


def bench(case: PreparedCase, network: nn.Module, recipe: TrainingRecipe) -> NDArray[np.float32]:
    return predict_test_case(network, replace(TRIAL, network=NETWORK, recipe=recipe), case, "cpu").lesion


def test_the_plain_mean_of_probabilities_is_what_it_says() -> None:
    """By hand, window for window, with cells that are 0 outside the brain."""
    case, network = random_case("a", (14, 10, 10)), build_network(NETWORK, torch_generator(1))
    found = bench(case, network, PLAIN)
    image = case.image[:, 1:-1, 1:-1, 1:-1]  # the box around the brain
    total, count = np.zeros(image.shape[1:]), np.zeros(image.shape[1:])
    for start in (0, 4):
        window = torch.from_numpy(image[:, start : start + 8])[None]
        with torch.inference_mode():
            total[start : start + 8] += torch.sigmoid(network.eval()(window))[0, 0].numpy()
        count[start : start + 8] += 1
    np.testing.assert_allclose(found, np.pad(total / count, 1), atol=1e-6)
    gaussian = bench(case, network, replace(PLAIN, merge="gaussian"))
    assert np.abs(gaussian - found).max() > 1e-4


@pytest.mark.parametrize("changes", [{}, {"merge": "mean"}, {"merge_of": "probabilities"}])
def test_validation_and_predict_do_as_bench_does(changes: dict[str, str], tmp_path: Path) -> None:
    recipe = replace(RECIPE, window=(8, 8, 8), overlap=0.5, **changes)
    case, network = random_case("a"), build_network(NETWORK, torch_generator(1)).eval()
    expected = bench(case, network, recipe)
    monitored = predict_probability(network, case, mode_of(recipe), precision="float32", device="cpu")
    assert (monitored == expected).all()
    record = BundleRecord(network=NETWORK, channels=case.channels, window=(8, 8, 8), overlap=0.5, **changes)
    save_bundle(tmp_path, network, record)
    bundle = load_bundle(tmp_path)
    ready = ReadyCase(case, case.shape, case.affine, True, {})
    found, chosen = predict_ready(bundle, ready, PredictSettings())
    assert str(chosen.mode) == str(own_sliding_window(bundle))
    np.testing.assert_allclose(found[0], expected, atol=1e-5)  # bench adds windows up in float32


def test_a_bundle_without_the_keys_merges_as_before() -> None:
    record = BundleRecord(network=NETWORK, channels=("a", "b", "c"), window=(8, 8, 8))
    mode = own_sliding_window(Bundle(build_network(NETWORK, torch_generator(1)), record))
    assert (mode.gaussian, mode.of_probabilities) == (True, False)
    assert not {"merge", "merge_of"} & set(flat_record(TRIAL))

"""Two processes that train together: gradients of every loss, pooled and not, and metrics over the cases of both."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import lesionloss as ll
import two_ranks
from lesionloss.integrations.torchmetrics import DiceMetric

ROOT = Path(__file__).parents[2]
RECORDS = {record.name: record for record in ll.list_losses()}
NAMES = list(RECORDS)
# These pool the batch of each process, as the documentation of `pooled` says.
RANKED = ("topk_cross_entropy", "topk_dice", "lovasz_softmax", "lovasz_hinge", "hytver_released")


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of the two processes wrote."""
    folder = tmp_path_factory.mktemp("ranks")
    paths = [str(ROOT / "src"), str(ROOT / "tests" / "support"), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, two_ranks.__file__, str(folder)]
    done = subprocess.run(command, env=environment, stderr=subprocess.PIPE, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads((folder / f"rank{rank}.json").read_text()) for rank in (0, 1)]


def gradients(name: str, part: slice, pooled: bool) -> list[Any]:
    images, labels = two_ranks.batch()
    model = two_ranks.network(name)
    return [np.array(g) for g in two_ranks.gradient(name, model, images[part], labels[part], pooled)]


def pooled_over_both(name: str) -> list[Any]:
    """Gradients of a loss that pools both batches, or those of the sum that its name abbreviates."""
    parts = (RECORDS[name].text or name).split(" + ")
    if len(parts) > 1:
        return [sum(each) for each in zip(*map(pooled_over_both, parts), strict=True)]
    if name not in RANKED:
        return gradients(name, slice(None), True)
    of_ranks = [gradients(name, part, True) for part in two_ranks.SHARES]
    return [sum(each) / 2 for each in zip(*of_ranks, strict=True)]


@pytest.mark.parametrize("name", NAMES)
def test_gradients_of_a_pooled_batch_are_those_of_one_process(name: str, found: list[dict[str, Any]]) -> None:
    expected = pooled_over_both(name)
    for ours, rank0, rank1 in zip(expected, found[0][name][1], found[1][name][1], strict=True):
        np.testing.assert_array_equal(rank0, rank1)
        np.testing.assert_allclose(rank0, ours, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_of_single_images_are_averaged_over_processes(name: str, found: list[dict[str, Any]]) -> None:
    parts = [gradients(name, part, False) for part in two_ranks.SHARES]
    for first, second, rank0 in zip(*parts, found[0][name][0], strict=True):
        np.testing.assert_allclose(rank0, (first + second) / 2, rtol=1e-4, atol=1e-7)


def test_without_gradients_no_process_waits_for_another(found: list[dict[str, Any]]) -> None:
    images, labels = (x[two_ranks.SHARES[0]] for x in two_ranks.batch())
    with torch.no_grad():
        assert found[0]["alone"] == pytest.approx(
            ll.build("dice", pooled=True)(two_ranks.network("dice")(images), labels).item()
        )


def test_metrics_are_over_the_cases_of_both(found: list[dict[str, Any]]) -> None:
    images, labels = two_ranks.batch()
    every, first = DiceMetric(spacing_mm=(1, 1)), DiceMetric(spacing_mm=(1, 1))
    for metric, part in ((every, slice(None)), (first, two_ranks.SHARES[0])):
        metric.update((images[part] > 0.5).float(), (labels[part, None] > 0).float())
    for rank in found:
        assert rank["torchmetrics"] == pytest.approx(every.compute().item(), rel=1e-5)
        assert rank["monai"] == pytest.approx(every.compute().item(), rel=1e-5)
        assert rank["one rank has no case"] == pytest.approx(first.compute().item(), rel=1e-5)

"""The metrics of cases as metrics of torchmetrics: a class for each, means over defined cases, copies."""

import copy
import pickle

import numpy as np
import pytest
import torch
import torchmetrics

import lesionloss as ll
import lesionloss.integrations.torchmetrics as integration
from lesionloss.core.errors import UsageError
from lesionloss.core.randomness import torch_generator
from lesionloss.integrations.case_scores import class_names


def masks() -> tuple[torch.Tensor, torch.Tensor]:
    """Predictions and references (3, 1, *space); the last case has no lesion and no prediction."""
    stream = torch_generator("torchmetrics")
    predicted = (torch.rand((3, 1, 6, 7), generator=stream) < 0.3).long()
    known = torch.roll(predicted, 1, -1)
    predicted[2] = known[2] = 0
    return predicted, known


def test_every_metric_has_a_class() -> None:
    predicted, known = masks()
    brain = torch.ones(3, 6, 7)
    for record, name in zip(ll.list_metrics(), class_names(), strict=True):
        metric = getattr(integration, name)(spacing_mm=(1, 2), reduction="none")
        metric.update(predicted.float(), known, brain=brain)
        cases = [
            ll.Case(predicted[i, 0].float().numpy(), known[i, 0].numpy(), spacing_mm=(1, 2), brain=brain[i].numpy() > 0)
            for i in range(3)
        ]
        wanted = [ll.metrics.penalised(record.name, ll.score(case, [record.name])[record.name], case) for case in cases]
        np.testing.assert_allclose(metric.compute().numpy(), wanted, rtol=1e-5, err_msg=record.name)
        mean = getattr(integration, name)(spacing_mm=(1, 2))
        np.testing.assert_allclose(mean(predicted.float(), known, brain=brain).item(), np.nanmean(wanted), rtol=1e-5)
    assert set(class_names()) <= set(dir(integration))


def test_a_collection_forward_and_reset() -> None:
    predicted, known = masks()
    collection = torchmetrics.MetricCollection(
        {"f1": integration.LesionF1Metric(spacing_mm=(1, 1)), "dice": integration.DiceMetric(spacing_mm=(1, 1))}
    )
    of_batch = collection(predicted[:1], known[:1])
    collection.update(predicted[1:], known[1:])
    each = [
        ll.score(ll.Case(p[0].numpy(), r[0].numpy(), spacing_mm=(1, 1)), ["dice"])["dice"]
        for p, r in zip(predicted, known, strict=True)
    ]
    assert of_batch["dice"].item() == pytest.approx(each[0])
    assert collection.compute()["dice"].item() == pytest.approx(np.nanmean(each))
    collection.reset()
    with pytest.warns(UserWarning, match="before"):
        assert collection.compute()["dice"].isnan()


def test_directions_options_and_copies() -> None:
    assert integration.DiceMetric().higher_is_better is True
    assert integration.Hd95Metric().higher_is_better is False
    metric = integration.NsdMetric(tolerance_mm=2, spacing_mm=(1, 1))
    again = pickle.loads(pickle.dumps(copy.deepcopy(metric)))  # noqa: S301
    assert again.scoring.chosen.text == metric.scoring.chosen.text
    assert again.scoring.chosen.text == "nsd(tolerance_mm=2)"
    with pytest.raises(UsageError, match="reduction must be one of mean, none; got 'sum'"):
        integration.DiceMetric(reduction="sum")


def test_voxels_can_be_ignored() -> None:
    predicted, known = masks()
    metric = integration.DiceMetric(spacing_mm=(1, 1))
    metric.update(predicted, known, ignore=predicted != known)
    assert metric.compute().item() == 1

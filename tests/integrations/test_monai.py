"""MONAI's conventions: targets, reductions, masks, its trainer, deep supervision, metrics in its evaluator."""

import copy
import pickle

import numpy as np
import pytest
import torch
from ignite.engine import Events
from monai.data import DataLoader, MetaTensor
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import IgniteMetricHandler
from monai.losses import DeepSupervisionLoss
from monai.metrics import DiceMetric
from torch import Tensor

import lesionloss as ll
import lesionloss.integrations.monai as integration
from lesionloss.core.errors import UsageError
from lesionloss.core.randomness import torch_generator
from lesionloss.integrations.case_scores import class_names
from lesionloss.integrations.monai import CaseMetric, as_monai


def batch(channels: int = 1, space: tuple[int, ...] = (6, 5, 4), images: int = 2) -> tuple[Tensor, Tensor]:
    """Logits (B, C, *space) and class numbers (B, 1, *space)."""
    stream = torch_generator("test_monai", channels, *space)
    logits = torch.randn((images, channels, *space), generator=stream)
    return logits, torch.randint(0, max(2, channels), (images, 1, *space), generator=stream)


def one_hot(labels: Tensor, channels: int) -> Tensor:
    return torch.nn.functional.one_hot(labels[:, 0], channels).movedim(-1, 1)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("space", [(6, 5), (6, 5, 4), (30,)])
def test_targets_are_class_numbers_or_one_hot_of_any_type(channels: int, space: tuple[int, ...]) -> None:
    logits, labels = batch(channels, space)
    loss = as_monai("hytver")
    expected = loss(logits, labels)
    for target in (labels.float(), labels.to(torch.uint8), MetaTensor(labels.float())):
        assert torch.equal(loss(MetaTensor(logits), target), expected)
    if channels > 1:
        torch.testing.assert_close(loss(logits, one_hot(labels, channels)), expected)
        torch.testing.assert_close(loss(logits, one_hot(labels, channels).float()), expected)


def test_the_background_counts_where_it_is_included() -> None:
    logits, labels = batch(3)
    for included in (True, False):
        ours = ll.build("dice", average_background=included)(logits, labels)
        assert torch.equal(as_monai("dice", include_background=included)(logits, labels), ours)
    assert torch.equal(as_monai(ll.build("dice", average_background=True))(logits, labels),
                       as_monai("dice", include_background=True)(logits, labels))  # fmt: skip


def test_channels_that_are_tasks_of_their_own() -> None:
    logits, labels = batch(3)
    tasks = ll.build("dice_ce", multilabel=True)
    each = [ll.build("dice_ce")(logits[:, [c]], (labels == c).long()) for c in range(3)]
    torch.testing.assert_close(as_monai(tasks)(logits, labels), sum(each) / 3)
    torch.testing.assert_close(as_monai(tasks, include_background=False)(logits, labels), (each[1] + each[2]) / 2)


def test_reductions() -> None:
    logits, labels = batch(3)
    each = ll.build("dice")(logits, labels, reduce=False)
    assert torch.equal(as_monai("dice", reduction="sum")(logits, labels), each.sum())
    unreduced = as_monai("dice", reduction="none")(logits, labels)
    assert unreduced.shape == (2, 1, 1, 1, 1)
    assert torch.equal(unreduced.flatten(), each)
    assert as_monai(ll.build("dice", pooled=True), reduction="none")(logits, labels).shape == (1, 1, 1, 1, 1)


def test_a_mask_excludes_voxels() -> None:
    logits, labels = batch(1)
    mask = torch.ones(labels.shape)
    mask[..., 0] = 0
    expected = ll.build("dice_ce")(logits[..., 1:], labels[..., 1:])
    torch.testing.assert_close(as_monai("dice_ce")(logits, labels, mask), expected)
    torch.testing.assert_close(as_monai("dice_ce")(logits, labels, mask[:1]), expected)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: as_monai(3), "as_monai takes what lesionloss.build gives, or its text; got int"),
        (lambda: as_monai("dice", reduction="median"), "reduction must be one of mean, sum, none; got 'median'"),
        (lambda: as_monai("dice")(batch()[0], batch()[1][:, 0]), "target.unsqueeze(1) adds a channel"),
        (lambda: integration.DiceMetric()(batch()[1], batch()[1]), "pass spacing_mm=(x, y, z)"),
        (lambda: integration.DiceMetric().aggregate(), "no case was scored"),
        (lambda: integration.DiceMetric()(batch()[1], batch(3)[1][:1]), "references must be (2, 1, 6, 5, 4)"),
        (lambda: CaseMetric("dise"), "did you mean 'dice'?"),
        (lambda: integration.DiceMetric(reduction="all"), "reduction must be one of none, mean, sum"),
    ],
)  # fmt: skip
def test_mistakes_are_one_line(call, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        call()
    assert words in str(caught.value)


def test_deep_supervision_of_monai_takes_it() -> None:
    logits, labels = batch(1, (8, 8, 8))
    levels = [logits, logits[..., ::2, ::2, ::2]]
    loss = as_monai("dice_ce")
    coarse = torch.nn.functional.interpolate(labels.float(), size=(4, 4, 4), mode="nearest-exact")
    expected = loss(levels[0], labels) + 0.5 * loss(levels[1], coarse)
    torch.testing.assert_close(DeepSupervisionLoss(loss)(levels, labels.float()), expected)


def test_copies_and_text() -> None:
    loss = as_monai(ll.build("0.5*dice + focal", pooled=True), include_background=True, reduction="sum")
    again = pickle.loads(pickle.dumps(copy.deepcopy(loss)))  # noqa: S301
    assert repr(again) == repr(loss)
    assert "average_background=True" in repr(loss)
    logits, labels = batch(3)
    assert torch.equal(again(logits, labels), loss(logits, labels))


def loader(count: int) -> DataLoader:
    """Batches of two cases with voxels of 1 x 1 x 3 mm."""
    stream = torch_generator("loader")
    cases = []
    for _ in range(count):
        labels = (torch.rand((1, 8, 8, 8), generator=stream) < 0.2).float()
        images = labels + 0.2 * torch.randn(labels.shape, generator=stream)
        affine = torch.diag(torch.tensor([1.0, 1.0, 3.0, 1.0]))
        cases.append({"image": MetaTensor(images, affine=affine), "label": MetaTensor(labels, affine=affine)})
    return DataLoader(cases, batch_size=2)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("amp", [False, True])
def test_monai_trains_and_evaluates_with_it(amp: bool) -> None:
    torch.manual_seed(0)
    network = torch.nn.Conv3d(1, 1, 1)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.2)
    losses: list[float] = []
    trainer = SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=3,
        train_data_loader=loader(8),
        network=network,
        optimizer=optimizer,
        loss_function=as_monai("hytver"),
        amp=amp,
    )
    trainer.add_event_handler(
        Events.ITERATION_COMPLETED, lambda engine: losses.append(float(engine.state.output[0]["loss"]))
    )
    trainer.run()
    assert losses[-1] < losses[0]

    def masks(data: list[dict[str, Tensor]]) -> tuple[list[Tensor], list[Tensor]]:
        return [(torch.sigmoid(item["pred"]) > 0.5).float() for item in data], [item["label"] for item in data]

    metrics = {"f1": integration.LesionF1Metric(), "ours": integration.DiceMetric(), "hd95": integration.Hd95Metric()}
    theirs = DiceMetric(include_background=True)
    handlers = {
        name: IgniteMetricHandler(metric, output_transform=masks)
        for name, metric in {**metrics, "theirs": theirs}.items()
    }
    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=loader(4),
        network=network,
        key_val_metric={"f1": handlers.pop("f1")},
        additional_metrics=handlers,
        amp=amp,
    )
    evaluator.run()
    found = evaluator.state.metrics
    assert found["ours"] == pytest.approx(found["theirs"], abs=1e-6)
    assert 0 < found["f1"] <= 1
    assert found["hd95"] >= 0
    assert evaluator.state.metric_details["ours"].shape == (4, 1)
    known = ll.Case(torch.zeros(8, 8, 8).numpy(), torch.ones(8, 8, 8).numpy() > 0, spacing_mm=(1, 1, 3))
    metric = integration.Hd95Metric()
    for batch in loader(2):
        metric(torch.zeros_like(batch["label"]), batch["label"])
    assert metric.aggregate().item() == pytest.approx(known.diagonal_mm)  # nothing found, with the voxels of the labels


def test_every_metric_has_a_class_with_its_options() -> None:
    assert set(class_names()) <= set(dir(integration))
    masks = (torch.rand((2, 1, 8, 8, 8), generator=torch_generator("masks")) < 0.3).float()
    masks[0] = 0  # a missed case
    known = torch.roll(masks, 1, -1)
    known[0, :, 2:4, 2:4, 2:4] = 1
    brain = torch.ones(2, 8, 8, 8)
    for record, name in zip(ll.list_metrics(), class_names(), strict=True):
        metric = getattr(integration, name)(spacing_mm=(1, 1, 2))
        metric(y_pred=masks, y=known, brain=brain)
        (buffer,) = [metric.get_buffer()]
        for image in range(2):
            case = ll.Case(
                masks[image, 0].numpy(),
                known[image, 0].numpy() > 0,
                spacing_mm=(1, 1, 2),
                brain=brain[image].numpy() > 0,
            )
            value = ll.score(case, [record.name])[record.name]
            wanted = ll.metrics.penalised(record.name, value, case)
            np.testing.assert_allclose(buffer[image, 0].item(), wanted, rtol=1e-5, err_msg=record.name)
    assert integration.NsdMetric(tolerance_mm=2).scoring.chosen.text == "nsd(tolerance_mm=2)"
    with pytest.raises(
        TypeError, match="NsdMetric: got an unexpected keyword argument 'tolerance'; it takes tolerance_mm"
    ):
        integration.NsdMetric(tolerance=2)
    with pytest.raises(AttributeError, match="no metric has a class named 'DiseMetric'"):
        _ = integration.DiseMetric


def test_classes_buffers_and_reductions() -> None:
    metric = integration.DiceMetric(spacing_mm=(1, 1), reduction="mean_batch", get_not_nans=True)
    known = torch.zeros(2, 1, 4, 4, dtype=torch.long)
    known[0, 0, 0], known[0, 0, 1] = 1, 2
    found = one_hot(known, 3)
    found[0, 1, 0, :2], found[0, 0, 0, :2] = 0, 1
    metric([found[0], found[1]], [known[0], known[1]])  # a list of images, as decollated
    value, defined = metric.aggregate()
    torch.testing.assert_close(value, torch.tensor([2 / 3, 1.0]))
    assert defined.tolist() == [1, 1]  # the second case has no lesion
    assert len(metric) == 2
    metric.reset()
    assert metric.get_buffer() is None
    whole = integration.DiceMetric(spacing_mm=(1, 1), include_background=True)
    whole(found, known)
    assert whole.get_buffer().shape == (2, 3)
    raw = integration.Hd95Metric(spacing_mm=(1, 1), penalised=False)
    raw(torch.zeros(1, 1, 4, 4), torch.eye(4)[None, None])
    assert raw.aggregate().item() == float("inf")


def test_probabilities_are_thresholded_and_kept_for_calibration() -> None:
    probability, known = (
        torch.tensor([0.9, 0.4, 0.2, 0.7]).reshape(1, 1, 2, 2),
        torch.tensor([1, 1, 0, 0]).reshape(1, 1, 2, 2),
    )
    for threshold, dice in ((0.5, 0.5), (0.3, 0.8)):
        metric = integration.DiceMetric(spacing_mm=(1, 1), threshold=threshold)
        metric(probability.half(), known.float())
        assert metric.aggregate().item() == pytest.approx(dice)


def test_a_metric_can_be_copied() -> None:
    metric = integration.LesionF1Metric(spacing_mm=(1, 1), min_volume_mm3=2)
    again = pickle.loads(pickle.dumps(copy.deepcopy(metric)))  # noqa: S301
    assert type(again) is integration.LesionF1Metric
    assert again.scoring.chosen.text == metric.scoring.chosen.text

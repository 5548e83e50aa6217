"""Deep supervision: weights, and that no lesion is lost on the way down."""

import pytest
import torch

import lesionloss as ll
from lesionloss.core.errors import UsageError
from lesionloss.core.randomness import torch_generator
from lesionloss.losses.coarser_labels import coarser
from lesionloss.losses.loss_options import LossOptions


def outputs(channels: int, *spaces: tuple[int, ...]) -> list[torch.Tensor]:
    stream = torch_generator("supervision", channels, len(spaces))
    return [torch.randn((2, channels, *space), generator=stream, dtype=torch.float64) for space in spaces]


def test_a_lesion_of_one_voxel_survives_every_level() -> None:
    for place in ((0, 0, 0), (3, 5, 2), (7, 7, 7)):
        labels = torch.zeros(1, 8, 8, 8, dtype=torch.long)
        labels[(0, *place)] = 2
        for size in (4, 3, 2, 1):
            coarse, _ = coarser(labels, None, torch.zeros(1, 3, size, size, size), LossOptions())
            assert int((coarse == 2).sum()) >= 1
            assert int((coarse > 0).sum()) == int((coarse == 2).sum())


def test_the_most_frequent_lesion_class_wins() -> None:
    labels = torch.tensor([[[0, 1, 0, 0], [2, 2, 0, 0], [0, 0, 1, 1], [0, 0, 0, 2]]])
    coarse, _ = coarser(labels, None, torch.zeros(1, 3, 2, 2), LossOptions())
    assert coarse.tolist() == [[[2, 0], [0, 1]]]


def test_soft_labels_keep_the_largest_share() -> None:
    share = torch.zeros(1, 1, 4, 4)
    share[0, 0, 0, 0], share[0, 0, 1, 1] = 0.3, 0.6
    coarse, _ = coarser(share, None, torch.zeros(1, 1, 2, 2), LossOptions())
    assert coarse.flatten().tolist() == pytest.approx([0.6, 0, 0, 0])
    both = torch.cat([1 - share, share], 1)
    coarse, _ = coarser(both, None, torch.zeros(1, 2, 2, 2), LossOptions())
    assert coarse[0, 1].flatten().tolist() == pytest.approx([0.6, 0, 0, 0])
    assert coarse.sum(1).flatten().tolist() == pytest.approx([1] * 4)


def test_masked_lesions_do_not_come_back() -> None:
    labels = torch.zeros(1, 4, 4, dtype=torch.long)
    labels[0, 0, 0], labels[0, 3, 3] = 1, 255
    valid = torch.ones(1, 4, 4, dtype=torch.bool)
    valid[0, 0, 0] = False
    valid[0, 2:, :2] = False
    coarse, kept = coarser(labels, valid, torch.zeros(1, 1, 2, 2), LossOptions(ignore_index=255))
    assert coarse.flatten().tolist() == [0, 0, 0, 0]
    assert kept is not None
    assert kept.flatten().tolist() == [True, True, False, True]


def test_weights_halve_and_are_divided_by_their_sum() -> None:
    loss = ll.build("dice + cross_entropy")
    labels = (torch.rand((2, 8, 8), generator=torch_generator("labels")) < 0.1).long()
    levels = outputs(1, (8, 8), (4, 4), (2, 2))
    each = [loss(level, coarser(labels, None, level, loss.options)[0]) for level in levels]
    expected = (4 * each[0] + 2 * each[1] + each[2]) / 7
    torch.testing.assert_close(ll.DeepSupervision(loss)(levels, labels), expected)
    torch.testing.assert_close(ll.DeepSupervision(loss, [1, 0, 3])(levels, labels), (each[0] + 3 * each[2]) / 4)
    assert ll.DeepSupervision(loss)(levels, labels, reduce=False).shape == (2,)


@pytest.mark.parametrize("text", ["dice(squared=True) + cross_entropy", "ce_topk_dice(k=50)"])
@pytest.mark.parametrize(("full", "mode"), [((8, 8), "bilinear"), ((8, 8, 4), "trilinear")])
def test_up_sampled_outputs_are_compared_at_full_resolution_and_added_up(
    text: str, full: tuple[int, ...], mode: str
) -> None:
    loss = ll.build(text, empty="skip")
    labels = (torch.rand((2, *full), generator=torch_generator("labels")) < 0.2).long()
    valid = torch.rand((2, *full), generator=torch_generator("valid")) < 0.9
    levels = outputs(3, full, *(tuple(side // scale for side in full) for scale in (2, 4)))
    each = [
        loss(torch.nn.functional.interpolate(level, size=full, mode=mode, align_corners=False), labels, valid=valid)
        for level in levels
    ]
    summed = ll.DeepSupervision(loss, upsampled=True)(levels, labels, valid=valid)
    torch.testing.assert_close(summed, each[0] + each[1] + each[2])
    weighted = ll.DeepSupervision(loss, [1, 0, 3], upsampled=True)(levels, labels, valid=valid)
    torch.testing.assert_close(weighted, each[0] + 3 * each[2])


def test_multilabel_channels_stay_apart() -> None:
    loss = ll.build("dice", multilabel=True)
    labels = torch.zeros(1, 2, 4, 4)
    labels[0, 0, 0, 0], labels[0, 1] = 1, 1
    coarse, _ = coarser(labels, None, torch.zeros(1, 2, 2, 2), loss.options)
    assert coarse.tolist() == [[[[1, 0], [0, 0]], [[1, 1], [1, 1]]]]
    assert ll.DeepSupervision(loss)([torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 2, 2)], labels).isfinite()


def test_what_is_refused() -> None:
    loss = ll.build("dice")
    levels, labels = outputs(1, (8, 8), (4, 4)), torch.zeros(2, 8, 8, dtype=torch.long)
    with pytest.raises(UsageError, match="3 weights for 2 outputs"):
        ll.DeepSupervision(loss, [1, 1, 1])(levels, labels)
    with pytest.raises(UsageError, match="highest resolution first"):
        ll.DeepSupervision(loss)({"out": levels[0]}, labels)
    with pytest.raises(UsageError, match=r"first output, \(4, 4\)"):
        ll.DeepSupervision(loss)(levels[::-1], labels)
    with pytest.raises(UsageError, match="not be negative"):
        ll.DeepSupervision(loss, [1, -1])


@pytest.mark.parametrize(("fine", "coarse"), [((4, 12), (2, 3)), ((4, 12, 10), (2, 3, 5))])
def test_each_axis_is_made_coarser_by_its_own_factor(fine: tuple[int, ...], coarse: tuple[int, ...]) -> None:
    labels = torch.zeros(1, *fine, dtype=torch.long)
    labels[(0, 3, 5, 8)[: len(fine) + 1]] = 1
    found, kept = coarser(labels, labels == 0, torch.zeros(1, 1, *coarse), LossOptions())
    assert not found.any()
    assert kept is not None
    assert kept.shape == found.shape == (1, *coarse)
    assert kept.all()
    found, kept = coarser(labels, None, torch.zeros(1, 1, *coarse), LossOptions())
    assert found.nonzero().tolist() == [[0, 1, 1, 4][: len(fine) + 1]]
    assert kept is None
    same, _ = coarser(labels, None, torch.zeros(1, 1, *fine), LossOptions())
    assert same is labels


def test_the_largest_share_of_lesion_is_split_as_on_average() -> None:
    shares = torch.tensor([[[1, 0.3], [0.8, 1]], [[0, 0.5], [0, 0]], [[0, 0.2], [0.2, 0]]])[None]
    coarse, _ = coarser(shares, None, torch.zeros(1, 3, 1, 1), LossOptions())
    assert coarse.flatten().tolist() == pytest.approx([0.3, 0.7 * 5 / 9, 0.7 * 4 / 9])
    empty, _ = coarser(torch.zeros(1, 3, 2, 2), None, torch.zeros(1, 3, 1, 1), LossOptions())
    assert empty.flatten().tolist() == [1, 0, 0]


def test_class_numbers_in_floating_point_stay_class_numbers() -> None:
    numbers = torch.tensor([[[0.0, 2.0], [2.0, 1.0]]])
    for labels in (numbers, numbers[:, None]):
        assert coarser(labels, None, torch.zeros(1, 3, 1, 1), LossOptions())[0].tolist() == [[[2]]]
    share = torch.tensor([[[0.0, 0.25], [0.5, 0.0]]])
    for channels in (1, 2):
        coarse, _ = coarser(share, None, torch.zeros(1, channels, 1, 1), LossOptions())
        assert coarse.tolist() == [[[[0.5]]]]


def test_a_mask_may_have_a_channel_and_no_other_size() -> None:
    loss = ll.build("cross_entropy")
    levels = outputs(1, (4, 4), (2, 2))
    labels = torch.zeros(2, 4, 4, dtype=torch.long)
    labels[:, 0, 0] = 1
    valid = torch.ones(2, 4, 4, dtype=torch.bool)
    valid[:, :2, :2] = False
    masked = ll.DeepSupervision(loss)(tuple(levels), labels, valid)
    torch.testing.assert_close(masked, ll.DeepSupervision(loss)(levels, labels, valid[:, None]))
    torch.testing.assert_close(masked, ll.DeepSupervision(loss)(levels, labels * 0, valid))
    with pytest.raises(UsageError, match=r"valid must be \(2, 4, 4\), got \(2, 4, 2\)"):
        ll.DeepSupervision(loss)(levels, labels, valid[:, :, :2])


@pytest.mark.parametrize("weights", [[], [0, 0], [1, float("inf")], [float("nan"), 1], ["much"], 3])
def test_weights_that_make_no_mean_are_refused(weights) -> None:
    with pytest.raises(UsageError, match="weights of deep supervision must be finite"):
        ll.DeepSupervision(ll.build("dice"), weights)


def test_labels_of_each_output_are_used_as_they_are() -> None:
    loss, levels = ll.build("dice_ce"), outputs(3, (8, 8), (4, 4), (2, 2))
    labels = [torch.randint(0, 3, (2, 1, *level.shape[2:]), generator=torch_generator("each")) for level in levels]
    each = [loss(level, target) for level, target in zip(levels, labels, strict=True)]
    expected = (4 * each[0] + 2 * each[1] + each[2]) / 7
    torch.testing.assert_close(ll.DeepSupervision(loss)(levels, labels), expected)
    torch.testing.assert_close(ll.DeepSupervision(loss, [1, 0, 1])(levels, tuple(labels)), (each[0] + each[2]) / 2)


def test_outputs_may_be_stacked_or_one() -> None:
    for space, channels in (((8, 8), 1), ((8, 8), 3), ((4, 4, 4), 1), ((4, 4, 4), 3)):
        loss, levels = ll.build("dice_ce"), outputs(channels, space, space)
        labels = torch.randint(0, max(2, channels), (2, *space), generator=torch_generator("stacked"))
        listed = ll.DeepSupervision(loss)(levels, labels)
        for form in (labels, labels[:, None]):
            torch.testing.assert_close(ll.DeepSupervision(loss)(torch.stack(levels, 1), form), listed)
            torch.testing.assert_close(ll.DeepSupervision(loss)(levels[0], form), loss(levels[0], labels))


def test_a_stack_of_monai() -> None:
    from monai.networks.nets import DynUNet

    torch.manual_seed(0)
    network = DynUNet(3, 1, 2, [3] * 3, [1, 2, 2], [2, 2], filters=[4, 8, 8], deep_supervision=True, deep_supr_num=1)
    images, labels = torch.randn(1, 1, 8, 8, 8), torch.randint(0, 2, (1, 1, 8, 8, 8))
    stacked, loss = network(images), ll.build("hytver")
    assert stacked.shape == (1, 2, 2, 8, 8, 8)
    expected = (2 * loss(stacked[:, 0], labels) + loss(stacked[:, 1], labels)) / 3
    torch.testing.assert_close(ll.DeepSupervision(loss)(stacked, labels), expected)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_loss_of_another_library_inside(channels: int) -> None:
    from monai.losses import DiceCELoss

    seen = []
    theirs = DiceCELoss(sigmoid=channels == 1, softmax=channels > 1, to_onehot_y=channels > 1)

    def loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        seen.append(labels)
        return theirs(logits, labels)

    levels = outputs(channels, (8, 8), (4, 4))
    labels = torch.randint(0, max(2, channels), (2, 1, 8, 8), generator=torch_generator("inside")).double()
    value = ll.DeepSupervision(loss)(levels, labels)
    coarse, _ = coarser(labels, None, levels[1], LossOptions())
    assert torch.equal(seen[0], labels)
    assert torch.equal(seen[1], coarse.reshape(2, 1, 4, 4).double())
    torch.testing.assert_close(value, (2 * theirs(levels[0], labels) + theirs(levels[1], seen[1])) / 3)
    entropy = ll.DeepSupervision(torch.nn.functional.cross_entropy) if channels > 1 else None
    if entropy is not None:  # torch takes class numbers without a channel, or shares of classes
        numbers = labels[:, 0].long()
        assert entropy(levels, numbers).isfinite()
        hot = torch.nn.functional.one_hot(numbers, channels).movedim(-1, 1)
        assert entropy([level.float() for level in levels], hot.float()).isfinite()

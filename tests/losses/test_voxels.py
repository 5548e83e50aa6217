"""What logits, labels and masks mean: counts by hand, forms of labels, options, precision, numerics."""

import math

import pytest
import torch

import lesionloss as ll
from lesionloss.core.errors import DataError, UsageError
from lesionloss.core.randomness import torch_generator
from lesionloss.losses.alignment import align
from lesionloss.losses.index import index, log_cosh, power, shortfall
from lesionloss.losses.kernels import KERNELS, READABLE, Kernel
from lesionloss.losses.kernels.terms import Focal, Tail
from lesionloss.losses.loss_options import LossOptions
from lesionloss.losses.voxels import Counts, Voxels


def voxels(logits: torch.Tensor, labels: torch.Tensor, valid: torch.Tensor | None = None, **reading: bool) -> Voxels:
    return align(logits, labels, valid, LossOptions(**reading), READABLE)


def flat_voxels(logits: torch.Tensor, labels: torch.Tensor, kernel: Kernel) -> Voxels:
    """Logits (R, C, V) and labels (R, V) or (R, K, V) as they are."""
    return Voxels(logits, labels, None, None, kernel, LossOptions(), 1, logits.shape[2:], None, {})


def logit(p: float) -> float:
    return math.log(p / (1 - p))


def line(*probabilities: float) -> torch.Tensor:
    """One image, one channel, these probabilities in a row: (1, 1, 1, V)."""
    return torch.tensor([[[[logit(p) for p in probabilities]]]], dtype=torch.float64)


def test_counts_by_hand() -> None:
    c = voxels(line(0.9, 0.6, 0.3, 0.2), torch.tensor([[[1, 0, 1, 0]]])).counts()
    assert c.tp.item() == pytest.approx(1.2)
    assert c.fp.item() == pytest.approx(0.8)
    assert c.fn.item() == pytest.approx(0.8)
    assert c.tn.item() == pytest.approx(1.2)


def test_counts_with_background_swap_their_errors() -> None:
    v = voxels(line(0.9, 0.6, 0.3, 0.2), torch.tensor([[[1, 0, 1, 0]]]))
    c = v.counts(average_background=True, sharpen=2)
    assert c.fp[0, 0].item() == pytest.approx(c.fn[0, 1].item())
    assert c.fn[0, 0].item() == pytest.approx(c.fp[0, 1].item())
    assert c.tn[0, 0].item() == pytest.approx(c.tp[0, 1].item())


def test_sharpened_counts_by_hand() -> None:
    c = voxels(line(0.9, 0.6, 0.3, 0.2), torch.tensor([[[1, 0, 1, 0]]])).counts(sharpen=2)
    assert c.tp.item() == pytest.approx(1.2)
    assert c.fp.item() == pytest.approx(0.36 + 0.04)
    assert c.fn.item() == pytest.approx(0.01 + 0.49)


@pytest.mark.parametrize("kernel", list(KERNELS))
def test_counts_sharpened_by_three_by_hand(kernel: Kernel) -> None:
    v = align(line(0.9, 0.6, 0.3, 0.2), torch.tensor([[[1, 0, 1, 0]]]), None, LossOptions(), kernel)
    c = v.counts(sharpen=3)
    assert (c.tp.item(), c.tn.item()) == pytest.approx((1.2, 1.2))
    assert c.fp.item() == pytest.approx(0.216 + 0.008)
    assert c.fn.item() == pytest.approx(0.001 + 0.343)


def test_counts_add_and_serve_whole_numbers() -> None:
    a, b = Counts(*(torch.tensor([n]) for n in (1, 2, 3, 4))), Counts(*(torch.tensor([n]) for n in (10, 20, 30, 40)))
    assert [int(x) for x in a + b] == [11, 22, 33, 44]
    assert index(a, fp=0.5, fn=0.5).item() == pytest.approx(1 / 3.5, abs=1e-5)


def test_shortfall_keeps_its_digits_where_one_minus_index_has_none() -> None:
    c = Counts(*(torch.tensor([n]) for n in (1000.0, 1e-5, 1e-5, 1e6)))
    assert shortfall(c, fp=0.5, fn=0.5).item() == pytest.approx(1e-8, rel=1e-5)
    assert (1 - index(c, fp=0.5, fn=0.5)).item() == 0


def test_ignore_index_is_a_mask() -> None:
    logits, labels = torch.randn((2, 3, 4, 5), generator=torch_generator("ignore")), torch.zeros(2, 4, 5).long()
    labels[:, 1], labels[:, 2] = 1, 2
    holes = labels.clone()
    holes[:, 3, :3] = 255
    criterion = ll.build("dice + cross_entropy", ignore_index=255)
    expected = ll.build("dice + cross_entropy")(logits, labels, valid=holes != 255)
    assert torch.equal(criterion(logits, holes), expected)
    assert torch.equal(criterion(logits, holes[:, None].to(torch.int16)), expected)
    with pytest.raises(DataError, match="0 to 2, whole, got 0 to 255"):
        ll.build("dice")(logits, holes)
    with pytest.raises(UsageError, match="ignore_index needs labels with class numbers"):
        criterion(logits, torch.softmax(logits, 1))


def test_valid_may_be_whole_numbers_and_have_a_channel() -> None:
    logits, labels = line(0.9, 0.6, 0.3, 0.2), torch.tensor([[[1, 0, 1, 0]]])
    mask = torch.tensor([[[1, 1, 0, 1]]])
    values = [ll.build("dice")(logits, labels, valid=form) for form in (mask, mask > 0, mask[:, None].float())]
    assert values[0] == values[1] == values[2]


def test_an_image_without_valid_voxels_costs_nothing() -> None:
    logits, labels = torch.zeros(2, 1, 3, 3), torch.ones(2, 3, 3).long()
    valid = torch.ones(2, 3, 3, dtype=torch.bool)
    valid[1] = False
    for record in ll.list_losses():
        if record.name != "hytver_released":
            value = ll.build(record.name)(logits, labels, valid=valid, reduce=False)
            assert value[1].abs() < 1e-3, record.name


def test_empty_count_and_skip() -> None:
    logits, labels = torch.zeros(2, 3, 4, 4, dtype=torch.float64), torch.zeros(2, 4, 4).long()
    labels[0, 0] = 1  # the first image holds class 1 only, the second none
    count = ll.build("dice")(logits, labels, reduce=False)
    assert count[1].item() == pytest.approx(1, abs=1e-5)
    skip = ll.build("dice", empty="skip")(logits, labels, reduce=False)
    tp, fp, fn = 4 / 3, 12 / 3, 4 * 2 / 3
    assert skip[0].item() == pytest.approx(1 - (tp + 1e-5) / (tp + fp / 2 + fn / 2 + 1e-5))
    assert skip[1].item() == 0
    both = ll.build("dice + cross_entropy", empty="skip")(logits, labels, reduce=False)
    assert both[1].item() == pytest.approx(math.log(3))  # voxelwise terms see every image
    with_background = ll.build("dice", empty="skip", average_background=True)(logits, labels, reduce=False)
    assert with_background[1].item() > 0


@pytest.mark.parametrize("spec", ["dice", "generalised_dice", "symmetric_unified_focal", "topk_dice", "hytver"])
def test_skip_is_finite_with_finite_gradient(spec: str) -> None:
    logits = torch.zeros(2, 1, 4, 4, requires_grad=True)
    value = ll.build(spec, empty="skip")(logits, torch.zeros(2, 4, 4).long())
    value.backward()
    assert value.isfinite()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_skip_with_multilabel_averages_over_the_channels_that_hold_something() -> None:
    logits = torch.randn((2, 3, 4, 4), generator=torch_generator("skip"), dtype=torch.float64)
    labels = torch.zeros(2, 3, 4, 4).long()
    labels[:, 0, 0], labels[0, 1, 1] = 1, 1
    each = [ll.build("dice")(logits[:, c : c + 1], labels[:, c], reduce=False) for c in range(3)]
    value = ll.build("dice", multilabel=True, empty="skip")(logits, labels, reduce=False)
    assert value[0].item() == pytest.approx(((each[0] + each[1]) / 2)[0].item())
    assert value[1].item() == pytest.approx(each[0][1].item())


def test_multilabel_pooled() -> None:
    logits = torch.randn((3, 2, 4, 4), generator=torch_generator("pooled"), dtype=torch.float64)
    labels = (torch.rand((3, 2, 4, 4), generator=torch_generator("pooled labels")) < 0.3).long()
    value = ll.build("dice + topk_cross_entropy", multilabel=True, pooled=True)(logits, labels)
    one = ll.build("dice + topk_cross_entropy", pooled=True)
    expected = sum(one(logits[:, c : c + 1], labels[:, c]) for c in range(2)) / 2
    torch.testing.assert_close(value, expected)


# --- numerics -----------------------------------------------------------------------------------------------------


def test_the_voxels_of_a_pooled_batch_are_those_of_all_images() -> None:
    logits, labels = torch.zeros(3, 2, 4, 5), torch.zeros(3, 2, 4, 5).long()
    valid = torch.ones(3, 4, 5, dtype=torch.bool)
    valid[0, 0] = False
    assert voxels(logits[:, :1], labels[:, 0]).n.tolist() == [20, 20, 20]
    assert voxels(logits[:, :1], labels[:, 0], valid).n.tolist() == [15, 20, 20]
    assert voxels(logits[:, :1], labels[:, 0], pooled=True).n.tolist() == [60]
    assert voxels(logits[:, :1], labels[:, 0], valid, pooled=True).n.tolist() == [55]
    assert voxels(logits, labels, multilabel=True).n.tolist() == [20] * 6
    assert voxels(logits, labels, pooled=True, multilabel=True).n.tolist() == [60, 60]


def test_float32_inside_autocast() -> None:
    logits = torch.randn((1, 1, 8, 8), generator=torch_generator("island")).to(torch.bfloat16)
    labels = torch.ones(1, 8, 8).long()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = ll.build("dice + cross_entropy")(logits, labels)
    assert value.dtype == torch.float32
    assert value == ll.build("dice + cross_entropy")(logits.float(), labels)


def test_sums_keep_small_terms() -> None:
    # 4 million voxels of 1e-3 beside one of 1: an accumulator that goes voxel by voxel in float32 would be 1 % off.
    logits = torch.full((1, 1, 1, 2**22), logit(1e-3))
    logits[..., 0] = 0.0
    v = voxels(logits, torch.zeros(1, 1, 2**22, dtype=torch.uint8))
    assert v.counts().fp.item() == pytest.approx(0.5 + 1e-3 * (2**22 - 1), rel=1e-5)
    ce = v.term_sums()[1].item()
    assert ce == pytest.approx(math.log(2) - math.log1p(-1e-3) * (2**22 - 1), rel=1e-5)


def test_cross_entropy_comes_from_logits_not_from_a_clipped_probability() -> None:
    v = voxels(torch.tensor([[[[-200.0, 200.0, -30.0]]]]), torch.tensor([[[1, 0, 0]]]))
    assert v.cross_entropy.flatten().tolist() == pytest.approx([200, 200, math.exp(-30)], rel=1e-6)
    assert v.wrong.flatten().tolist() == pytest.approx([1, 1, math.exp(-30)], rel=1e-6)


@pytest.mark.parametrize("gamma", [2, 3, 4, 6])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tail_is_right_on_both_sides_of_the_junction(gamma: int, dtype: torch.dtype) -> None:
    import mpmath

    mpmath.mp.dps = 40
    tolerance = 1e-8 if dtype == torch.float64 else 2e-4
    for q in (1e-4, 1e-3, 0.00999, 0.0101, 0.1, 0.299, 0.301, 0.9):
        exact = -mpmath.log(1 - mpmath.mpf(q)) - sum(mpmath.mpf(q) ** j / j for j in range(1, gamma))
        z = torch.tensor([logit(q)], dtype=torch.float64).to(dtype).requires_grad_()
        ce = -torch.nn.functional.logsigmoid(-z)
        value = Tail(gamma).value(ce, -torch.expm1(-ce))
        (slope,) = torch.autograd.grad(value, z)
        assert value.item() == pytest.approx(float(exact), rel=tolerance)
        assert slope.item() == pytest.approx(q**gamma, rel=tolerance)


@pytest.mark.parametrize(
    "term", [Focal(0.0), Focal(0.5), Focal(1.0), Focal(2.0), Focal(3.5), Tail(1), Tail(2), Tail(4)]
)
def test_slopes_of_terms_are_their_derivatives(term: Focal | Tail) -> None:
    ce = torch.linspace(1e-4, 6, 400, dtype=torch.float64).requires_grad_()
    (slope,) = torch.autograd.grad(term.value(ce, -torch.expm1(-ce)).sum(), ce)
    torch.testing.assert_close(term.slope(ce, -torch.expm1(-ce)).detach(), slope, rtol=1e-9, atol=1e-12)


def test_weighted_gradient_has_the_gradient_of_the_paper() -> None:
    stream = torch_generator("eq5")
    logits = (4 * torch.randn((1, 1, 20, 50), generator=stream, dtype=torch.float64)).requires_grad_()
    labels = (torch.rand((1, 20, 50), generator=stream) < 0.1).long()
    share = (labels == 0).double().mean()
    p = torch.sigmoid(logits.detach())[:, 0]
    for gamma in (1, 2, 3, 4):
        (found,) = torch.autograd.grad(ll.build(f"weighted_gradient(gamma={gamma})")(logits, labels), logits)
        by_hand = torch.where(labels > 0, -share * (1 - p) ** gamma, (1 - share) * p**gamma) / labels.numel()
        torch.testing.assert_close(found[:, 0], by_hand, rtol=1e-9, atol=1e-14)


def test_log_cosh() -> None:
    x = torch.tensor([0.0, 1e-3, -0.5, 3.0, 1000.0], dtype=torch.float64)
    expected = [0.0, *(math.log(math.cosh(abs(float(y)))) for y in x[1:4]), 1000 - math.log(2)]
    assert log_cosh(x).tolist() == pytest.approx(expected, abs=1e-15)


def test_powers_below_one_keep_their_base_above_a_ten_millionth() -> None:
    base = torch.tensor([0.0, 0.25], dtype=torch.float64)
    assert power(base, 0.5).tolist() == pytest.approx([1e-7**0.5, 0.5])
    assert power(base, 1).tolist() == [0, 0.25]
    assert power(base, 2).tolist() == [0, 0.0625]


def test_the_smoothing_is_a_hundred_thousandth() -> None:
    """One missed voxel: 0.5 / (0.5 + eps)."""
    logits = torch.full((1, 1, 1, 1), -1e4, dtype=torch.float64)
    assert ll.build("dice")(logits, torch.ones(1, 1, 1).long()).item() == pytest.approx(0.5 / 0.50001, rel=1e-9)


def test_a_perfect_prediction_has_a_finite_gradient_under_powers_below_one() -> None:
    labels = torch.tensor([[[1, 0, 0, 1]]])
    for spec in ("focal_tversky", "symmetric_unified_focal", "focal(gamma=0.5)"):
        logits = (1e4 * (2.0 * labels - 1))[:, None].requires_grad_()
        ll.build(spec)(logits, labels).backward()
        assert logits.grad is not None
        assert logits.grad.isfinite().all(), spec


# --- ranked losses -------------------------------------------------------------------------------------------------


def test_top_k_takes_exactly_its_share_of_equal_voxels() -> None:
    logits = torch.zeros(1, 1, 1, 10, dtype=torch.float64).requires_grad_()
    ll.build("topk_cross_entropy(k=30)")(logits, torch.zeros(1, 1, 10).long()).backward()
    assert logits.grad is not None
    assert (logits.grad.flatten() != 0).tolist() == [True] * 3 + [False] * 7
    other = torch.zeros(1, 1, 1, 10, dtype=torch.float64).requires_grad_()
    ll.build("topk_dice(k=40)")(other, torch.tensor([[[1, 1, 1, 1, 1, 0, 0, 0, 0, 0]]])).backward()
    assert other.grad is not None
    assert (other.grad.flatten() != 0).tolist() == [True] * 2 + [False] * 3 + [True] * 5


@pytest.mark.parametrize("spec", ["topk_cross_entropy(k=30)", "topk_dice(k=30)", "ce_topk_dice"])
@pytest.mark.parametrize("channels", [1, 3])
def test_ranked_losses_are_the_same_where_values_may_not_be_looked_at(
    spec: str, channels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU, where ranking is done without waiting for it."""
    import lesionloss.losses.families.topk as ranked

    stream = torch_generator("ranked", channels)
    logits = torch.randn((3, channels, 6, 7), generator=stream, dtype=torch.float64)
    labels = torch.randint(0, max(2, channels), (3, 6, 7), generator=stream)
    valid = torch.rand((3, 6, 7), generator=stream) < 0.7
    for options in ({}, {"pooled": True}, {"average_background": True}):
        found = []
        for look in (True, False):
            monkeypatch.setattr(ranked, "may_look", lambda *_, look=look: look)
            leaf = logits.clone().requires_grad_()
            value = ll.build(spec, **options)(leaf, labels, valid=valid)
            found.append((value.detach(), torch.autograd.grad(value, leaf)[0]))
        torch.testing.assert_close(found[0], found[1])


# --- weights solved out of the value ---------------------------------------------------------------------------------

TVERSKYS = {
    "tversky(fp=0.2, fn=0.9)": (0.2, 0.9),
    "focal_tversky(fp=0.2, fn=0.9, exponent=1)": (0.2, 0.9),
    "tversky_plus_plus(fp=0.2, fn=0.9, gamma=2.5)": (0.2, 0.9),
    "hytver(fn=0.8, ce_share=0)": (0.2, 0.8),
    "dice": (0.5, 0.5),
    "jaccard": (1.0, 1.0),
    "dice_plus_plus(gamma=3)": (0.5, 0.5),
}


@pytest.mark.parametrize("spec", TVERSKYS)
def test_weights_of_false_positives_and_negatives_solved_out_of_the_value(spec: str) -> None:
    labels = torch.tensor([[[1, 1, 1, 0, 0, 0, 0, 0]]])
    right = 1e3 * (2.0 * labels.double() - 1)
    for place, expected in ((5, TVERSKYS[spec][0]), (0, TVERSKYS[spec][1])):
        logits = right.clone()
        logits[0, 0, place] *= -1
        hit = 3.0 if place == 5 else 2.0
        value = ll.build(spec)(logits[:, None], labels).item()
        # value = weight / (hit + weight + s), one error
        assert value * (hit + 1e-5) / (1 - value) == pytest.approx(expected, rel=1e-9)


WEIGHTS = {
    "weighted_cross_entropy(lesion=0.8, background=0.3, normalise=False)": (0.8, 0.3),
    "focal(gamma=2, lesion=0.8, background=0.3)": (0.8, 0.3),
    "weighted_gradient(gamma=2, lesion=0.8)": (0.8, 0.2),
    "combo(ce_share=1, lesion=0.8)": (0.8, 0.2),
    "hytver(ce_share=1, lesion=0.8)": (0.8, 0.2),
    "symmetric_focal(delta=0.8)": (0.8, 0.2),
    "asymmetric_focal(delta=0.8, gamma=0)": (0.8, 0.2),
}


@pytest.mark.parametrize("spec", WEIGHTS)
def test_weights_of_lesion_and_background_solved_out_of_the_value(spec: str) -> None:
    """The same doubt about a lesion voxel and about a background voxel: the values are as the weights."""
    sure = torch.tensor([[[[-1e3, -1e3, -1e3]]]], dtype=torch.float64)
    values = []
    for label in (1, 0):
        logits = sure.clone()
        logits[..., 0] = -0.7 if label else 0.7
        values.append(ll.build(spec)(logits, torch.tensor([[[label, 0, 0]]])).item())
    assert values[0] / values[1] == pytest.approx(WEIGHTS[spec][0] / WEIGHTS[spec][1], rel=1e-9)


@pytest.mark.parametrize("kernel", list(KERNELS), ids=lambda kernel: kernel.name)
def test_lesion_voxels_and_their_logits_are_listed_but_not_of_soft_labels(kernel: Kernel) -> None:
    labels = torch.tensor([[0, 2, 0, 1], [0, 0, 1, 0]], dtype=torch.uint8)
    for channels, expected in ((3, [[1, 5, 9], [3, 7, 11], [14, 18, 22]]), (1, [[1], [3], [6]])):
        logits = torch.arange(8.0 * channels).view(2, channels, 4).requires_grad_()
        where, listed = flat_voxels(logits, labels.clamp_max(max(1, channels - 1)), kernel).lesions
        assert where.tolist() == [1, 3, 6]
        assert listed.tolist() == expected
        (gradient,) = torch.autograd.grad((listed * listed).sum(), logits)
        assert gradient.sum() == 2 * listed.sum()
        assert gradient[1, :, 2].tolist() == (2 * listed[2]).tolist()
    with pytest.raises(UsageError, match="got shares"):
        _ = flat_voxels(torch.zeros(2, 3, 4), torch.full((2, 3, 4), 1 / 3), kernel).lesions


def test_squared_errors_of_soft_labels_by_hand() -> None:
    probabilities, shares = line(0.9, 0.6, 0.3), torch.tensor([[[0.5, 0.0, 1.0]]], dtype=torch.float64)
    valid = torch.tensor([[[True, True, False]]])
    assert voxels(probabilities, shares).squared_errors().item() == pytest.approx(0.16 + 0.36 + 0.49)
    assert voxels(probabilities, shares, valid).squared_errors().item() == pytest.approx(0.16 + 0.36)
    both = voxels(probabilities, shares, valid).squared_errors(average_background=True)
    assert both.flatten().tolist() == pytest.approx([0.52, 0.52])


def test_shares_of_classes_are_refused_where_a_loss_cannot_use_them() -> None:
    probabilities = line(0.9, 0.6, 0.3)
    parts = voxels(probabilities, torch.tensor([[[0.5, 0.0, 1.0]]], dtype=torch.float64))
    with pytest.raises(UsageError, match=r"ranked, so labels must be class numbers or one-hot; got shares such as 0.5"):
        parts.refuse_parts("ranked")
    with pytest.raises(UsageError, match="lesion voxels are listed for class numbers or one-hot labels"):
        _ = parts.lesions
    whole = align(probabilities, torch.tensor([[[1, 0, 1]]]), None, LossOptions(), READABLE)
    assert whole.refuse_parts("ranked") == 0.0
    where, listed = whole.lesions
    assert where.tolist() == [0, 2]
    assert listed.flatten().tolist() == pytest.approx([logit(0.9), logit(0.3)])
    hard = flat_voxels(torch.zeros(1, 2, 3), torch.tensor([[[0.0, 1.0, 0.0], [1.0, 0.0, 1.0]]]), READABLE)
    assert hard.refuse_parts("ranked") == 0.0  # shares of 0 and 1 are no parts


def test_a_total_is_over_the_last_axis_and_over_the_images_of_a_pooled_batch() -> None:
    x = torch.arange(12.0).reshape(2, 2, 3)
    each, pooled = (
        align(torch.zeros(2, 1, 1, 3), torch.zeros(2, 1, 3), None, LossOptions(pooled=of_all), READABLE).total(x)
        for of_all in (False, True)
    )
    assert each.tolist() == [[3.0, 12.0], [21.0, 30.0]]
    assert pooled.tolist() == [[24.0, 42.0]]

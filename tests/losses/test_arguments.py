"""Arguments of a loss: what is no tensor, mask or weight is refused in one line, and every type of label works."""

import contextlib
import re
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.func import grad, vmap
from torch.utils._python_dispatch import TorchDispatchMode

import lesionloss as ll
from lesionloss.core.errors import DataError, UsageError
from lesionloss.losses.families import topk
from lesionloss.losses.registry import list_losses

NAMES = [record.name for record in list_losses()]
INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.uint16, torch.int32, torch.uint32, torch.int64, torch.uint64)
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
DICE = ll.build("dice_ce")


def batch(channels: int = 1, seed: int = 0, side: int = 4) -> tuple[Tensor, Tensor]:
    stream = torch.Generator().manual_seed(seed)
    logits = torch.randn((2, channels, side, side, side), generator=stream)
    return logits, torch.randint(0, max(2, channels), (2, side, side, side), generator=stream)


Z, Y = batch()
SUPERVISED = ll.DeepSupervision(DICE)
LEVELS = [Z, Z[..., ::2, ::2, ::2]]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: DICE(Z, Y.numpy()), "labels must be a tensor, got numpy.ndarray; torch.as_tensor(labels) makes one"),
        (lambda: DICE([Z, Z], Y), "logits must be a tensor, got list; DeepSupervision takes the outputs"),
        (lambda: DICE((Z, Z), Y), "logits must be a tensor, got tuple; DeepSupervision takes the outputs"),
        (lambda: DICE({"out": Z}, Y), 'got dict; pass the logits in it, such as outputs["out"]'),
        (lambda: DICE(Z, Y, image_weights=[1.0, 1.0]), "torch.as_tensor(image_weights) makes one"),
        (lambda: DICE(Z, Y, valid=[[1]]), "valid must be a tensor, got list"),
        (lambda: DICE(Z, Y, reduce="none"), "reduce must be True (the mean) or False (one value for each image)"),
        (lambda: DICE(Z.to("meta"), Y), "labels are on cpu, logits on meta; move one of them"),
        (lambda: DICE(Z, Y, valid=(Y == 0).to("meta")), "valid is on meta, logits on cpu; move one of them"),
        (lambda: DICE(Z.to_sparse(), Y), "logits must be a dense tensor of real numbers"),
        (lambda: DICE(Z, Y * 1j), "labels must be a dense tensor of real numbers, got torch.complex64"),
        (lambda: DICE(Z, Y, valid=torch.full(Y.shape, 0.5)), "valid must be a mask of True and False (or 1 and 0)"),
        (lambda: DICE(Z, Y, valid=torch.where(Y > 0, 1.0, 0.1)), "values from 0.1 to 1; weights of voxels go into"),
        (lambda: DICE(Z, Y, valid=torch.full(Y.shape, torch.nan)), "values from nan to nan"),
        (lambda: DICE(Z, Y, valid=(255 * Y).to(torch.uint8)), "values from 0 to 255"),
        (lambda: DICE(Z, Y, valid=(2 * Y).to(torch.uint64)), "values from 0 to 2"),
        (lambda: DICE(Z, Y, image_weights=torch.tensor([1.0, -1.0])), "image_weights must be finite and not negative"),
        (lambda: DICE(Z, Y, image_weights=torch.tensor([1.0, torch.inf])), "image_weights must be finite"),
        (lambda: DICE(Z, Y, image_weights=torch.ones(2, 1)), "must be one number per image, (2,); got (2, 1)"),
        (lambda: DICE(Z, Y, weight=[1.0, 1.0]), "torch.as_tensor(weight) makes one"),
        (lambda: DICE(Z, Y, weight=torch.ones(2)), "weight must be (2, 4, 4, 4) for logits (2, 1, 4, 4, 4), got (2,)"),
        (lambda: DICE(Z, Y, weight=-0.5 * Y), "weight must be finite and not negative, got values from -0.5 to -0"),
        (lambda: DICE(Z, Y, weight=torch.full(Y.shape, torch.nan)), "weight must be finite and not negative"),
        (lambda: DICE(Z, Y, weight=torch.full(Y.shape, torch.inf)), "weight must be finite and not negative"),
        (lambda: DICE(Z, Y, weight=(Y > 0).to("meta")), "weight is on meta, logits on cpu; move one of them"),
        (lambda: DICE(Z, Y, spacing_mm=(1.0, 1.0)), "spacing_mm must be 3 numbers, or (2, 3), for logits"),
        (lambda: DICE(Z, Y, spacing_mm="1 mm"), "spacing_mm must be one number for each axis, such as (1, 1, 3)"),
        (lambda: DICE(Z, Y, spacing_mm=(1.0, 0.0, 1.0)), "spacing_mm must be positive numbers, got [1.0, 0.0, 1.0]"),
        (lambda: DICE(Z, Y, maps={"lesions": Y}), "map 'lesions' must be (2, 1, 4, 4, 4) for logits (2, 1, 4, 4, 4)"),
        (lambda: DICE(Z, Y, maps={"lesions": Y[:, None].to("meta")}), "map 'lesions' is on meta, logits on cpu"),
        (lambda: SUPERVISED(LEVELS, [Y, Y]), "output 2, (2, 2, 2), must have the resolution of labels (2, 4, 4, 4)"),
        (lambda: SUPERVISED(LEVELS, [Y]), "deep supervision has 1 labels for 2 outputs"),
        (lambda: SUPERVISED(LEVELS, [Y, Y], valid=Y == 0), "valid=, weight= and maps= need one map of labels"),
        (lambda: ll.DeepSupervision(torch.nn.L1Loss())(LEVELS, Y, reduce=False), "takes logits and labels alone"),
        (lambda: SUPERVISED([Z, [1]], Y), "logits must be a tensor, got list"),
        (lambda: SUPERVISED(LEVELS, Y, valid=torch.ones(2, 3, 3, 3)), "valid must be (2, 4, 4, 4), got (2, 3, 3, 3)"),
        (lambda: ll.DeepSupervision(DICE, [1.0, float("inf")]), "weights of deep supervision must be finite"),
        (lambda: ll.DeepSupervision(DICE, [1.0, float("nan")]), "weights of deep supervision must be finite"),
        (lambda: ll.DeepSupervision(DICE, "much"), "weights of deep supervision must be finite"),
        (lambda: ll.DeepSupervision("dice"), "pass what build(text) gives, got str 'dice'"),
        (lambda: ll.Loss("dice"), "use build(text), got str 'dice'"),
        (lambda: ll.build("dice", pooled="yes"), "pooled must be True or False, got 'yes'"),
        (lambda: ll.build("dice", ignore_index=1.5), "ignore_index must be a whole number or None, got 1.5"),
        (lambda: ll.build("dice", kernel="fast"), "kernel must be FAST or READABLE"),
        (lambda: ll.DiceLoss(squared=[]), "squared must be True or False; got []"),
        (lambda: ll.loss("x", source=3)(topk.topk_dice), "source of loss 'x': write a text, got int 3"),
    ],
)  # fmt: skip
def test_what_a_loss_cannot_use_is_refused_in_one_line(call: Callable[[], object], message: str) -> None:
    with pytest.raises((UsageError, DataError), match=re.escape(message)) as caught:
        call()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
@settings(max_examples=5, deadline=None)
def test_labels_of_every_type_have_the_same_value_and_gradient(name: str, data: st.DataObject) -> None:
    channels = data.draw(st.sampled_from([1, 2] if name == "hytver_released" else [1, 2, 4]))
    kind = data.draw(st.sampled_from([*INTEGERS, *FLOATS, torch.bool]))
    logits, labels = batch(channels, data.draw(st.integers(0, 99)))
    labels = labels.clamp_max(1) if kind == torch.bool else labels
    masked = data.draw(st.booleans())
    if masked:
        labels[0, 0] = 1
    loss = ll.build(name, ignore_index=1 if masked and channels > 2 else None)
    z = logits.requires_grad_()
    levels, deep = [z, z[..., ::2, ::2, ::2]], ll.DeepSupervision(loss)
    both = [(loss(z, form), deep(levels, form)) for form in (labels.to(kind), labels)]
    for got, wanted in zip(*both, strict=True):
        torch.testing.assert_close(got, wanted)
        torch.testing.assert_close(torch.autograd.grad(got, z, retain_graph=True), torch.autograd.grad(wanted, z))


@pytest.mark.parametrize("index", [256, -1, 2**40])
@pytest.mark.parametrize("kind", [torch.uint8, torch.int8, torch.int16, torch.bool, torch.float32])
def test_an_ignored_label_that_the_type_cannot_hold_ignores_nothing(index: int, kind: torch.dtype) -> None:
    loss = ll.build("dice", ignore_index=index)
    assert torch.equal(loss(Z, Y.to(kind)), ll.build("dice")(Z, Y))
    assert torch.equal(ll.DeepSupervision(loss)(LEVELS, Y.to(kind)), ll.DeepSupervision(ll.build("dice"))(LEVELS, Y))


def test_masks_of_numbers_are_masks() -> None:
    known = Y == 0
    for kind in (torch.uint8, torch.uint16, torch.int64, torch.float16, torch.float32):
        assert torch.equal(DICE(Z, Y, valid=known.to(kind)), DICE(Z, Y, valid=known))


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_of_weight_0_costs_0_as_a_masked_one_does(name: str) -> None:
    z = Z.clone().requires_grad_()
    masked = ll.build(name)(z, Y, valid=torch.zeros(Y.shape, dtype=torch.bool))
    unweighted = ll.build(name)(z, Y, image_weights=torch.zeros(2))
    assert unweighted == 0
    # A power below 1 makes the smoothing visible; the released code has a constant.
    assert masked.item() == pytest.approx(-0.5 if name == "hytver_released" else 0, abs=1e-3)
    for value in (masked, unweighted):
        (gradient,) = torch.autograd.grad(value, z, allow_unused=True, materialize_grads=True)
        assert not gradient.any()


def test_on_the_meta_device_a_loss_has_a_shape_and_no_value() -> None:
    z, y = Z.to("meta"), Y.to("meta")
    assert DICE(z, y, valid=y, image_weights=torch.ones(2), weight=y).is_meta
    assert DICE(z, y, reduce=False).shape == (2,)
    assert SUPERVISED([z, z[..., ::2, ::2, ::2]], y).is_meta


def test_weights_are_those_of_a_weighted_mean() -> None:
    images = DICE(Z, Y, reduce=False)
    assert torch.equal(DICE(Z, Y, image_weights=torch.tensor([0, 3])), images[1])
    torch.testing.assert_close(DICE(Z, Y, image_weights=torch.tensor([1.0, 3.0])), (images[0] + 3 * images[1]) / 4)


@pytest.fixture
def not_on_the_cpu() -> Iterator[None]:
    """Values can't be read, as on a GPU."""
    rooms = ("input_checks", "alignment", "families.topk", "families.boundary")
    with contextlib.ExitStack() as patches:
        for room in rooms:
            patches.enter_context(mock.patch(f"lesionloss.losses.{room}.may_look", return_value=False))
        yield


@pytest.mark.usefixtures("not_on_the_cpu")
def test_where_values_cannot_be_read_bad_arguments_make_the_loss_nan() -> None:
    assert DICE(Z, Y, valid=torch.full(Y.shape, 0.5)).isnan()
    assert DICE(Z, Y, valid=torch.full(Y.shape, torch.nan)).isnan()
    assert DICE(Z, Y, image_weights=torch.tensor([1.0, -1.0])).isnan()
    assert DICE(Z, Y, valid=torch.ones(Y.shape), image_weights=torch.zeros(2)) == 0
    for bad in (-1.0, torch.nan, torch.inf):
        assert DICE(Z, Y, weight=torch.where(Y > 0, bad, 1.0)).isnan()
    assert DICE(Z, Y, weight=torch.zeros(Y.shape)) == 0


class NoDouble(TorchDispatchMode):
    """A backend without float64, such as MPS."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for part in result if isinstance(result, tuple | list) else [result]:
            assert not (isinstance(part, Tensor) and part.dtype == torch.float64), f"{func} gives float64"
        return result


@pytest.mark.usefixtures("not_on_the_cpu")
@pytest.mark.parametrize("name", NAMES)
def test_no_loss_needs_float64(name: str) -> None:
    for channels in (1, 2) if name == "hytver_released" else (1, 3):
        z, y = batch(channels)
        with NoDouble():
            ll.build(name)(z.requires_grad_(), y).backward()


def test_the_share_of_voxels_is_exact() -> None:
    counts = torch.tensor([0, 1, 7, 1000, 2**24, 10**9])
    for k in (0.1, 7.7, 12.5, 33.3, 50, 100):
        wanted = [-(-int(n) * round(10 * k) // 1000) for n in counts]
        assert topk.share_of(k, counts).tolist() == wanted
    assert topk.share_of(1e-9, torch.tensor([10.0])).tolist() == [1]


def test_subclasses_of_monai_give_plain_tensors_of_equal_value() -> None:
    meta_tensor = pytest.importorskip("monai.data").MetaTensor
    z = Z.clone().requires_grad_()
    value = DICE(meta_tensor(z), meta_tensor(Y), valid=meta_tensor(Y == 0), image_weights=meta_tensor(torch.ones(2)))
    assert type(value) is Tensor
    assert torch.equal(value, DICE(Z, Y, valid=Y == 0))
    value.backward()
    assert z.grad is not None
    assert type(SUPERVISED([meta_tensor(level) for level in LEVELS], meta_tensor(Y))) is Tensor


@pytest.mark.filterwarnings("ignore:There is a performance drop")
@pytest.mark.parametrize("name", NAMES)
def test_torch_func_gives_the_gradient_of_each_sample(name: str) -> None:
    for channels in (1, 2) if name == "hytver_released" else (1, 3):
        logits, labels = batch(channels, side=3)
        loss, known = ll.build(name), labels[:, :1] == 0
        mask = known.expand_as(labels)
        z = logits.requires_grad_()
        wanted = [torch.autograd.grad(loss(z[i : i + 1], labels[i : i + 1], mask[i : i + 1]), z)[0][i] for i in (0, 1)]
        plain = logits.detach()
        found = vmap(grad(lambda t, y, m, loss=loss: loss(t[None], y[None], m[None])))(plain, labels, mask)
        torch.testing.assert_close(found, torch.stack(wanted), atol=1e-6, rtol=1e-4)
        (whole,) = torch.autograd.grad(loss(z, labels), z)
        torch.testing.assert_close(grad(lambda t, y=labels, loss=loss: loss(t, y))(plain), whole, atol=1e-6, rtol=1e-4)


def test_numbers_of_numpy_are_no_hyperparameters() -> None:
    with pytest.raises(UsageError, match="fn must be a number from 0 to 1; got"):
        ll.HyTverLoss(fn=np.ones(3))


@pytest.mark.parametrize(("total", "good"), [(0.9905, True), (1.0095, True), (0.9895, False), (1.0105, False)])
def test_shares_of_classes_add_up_to_1_within_a_hundredth(total: float, good: bool) -> None:
    shares = torch.tensor([0.5, 0.25, total - 0.75]).view(1, 3, 1, 1).expand(1, 3, 2, 2)
    loss, logits = ll.build("cross_entropy"), torch.zeros(1, 3, 2, 2)
    if good:
        assert loss(logits, shares).item() == pytest.approx(total * np.log(3), rel=1e-6)
    else:
        with pytest.raises(DataError, match="must add up to 1 over the class axis; they don't in 4 voxels"):
            loss(logits, shares)
        masked = torch.zeros(1, 2, 2, dtype=torch.bool)
        assert loss(logits, shares, masked).item() == 0


def test_labels_at_the_ends_of_their_range() -> None:
    loss = ll.build("cross_entropy")
    for channels, most in ((1, 1), (2, 1), (3, 2)):
        logits = torch.zeros(1, channels, 1, 2)
        assert loss(logits, torch.tensor([[[0, most]]])).item() == pytest.approx(np.log(max(2, channels)))
        for wrong in (-1, most + 1):
            with pytest.raises(DataError, match=f"labels must be class numbers 0 to {most}, whole, got"):
                loss(logits, torch.tensor([[[0, wrong]]]))
    soft = torch.tensor([[[[1.5]], [[-0.5]]]])
    with pytest.raises(DataError, match=r"soft labels must lie in 0 to 1, got -0\.5 to 1\.5"):
        loss(torch.zeros(1, 2, 1, 1), soft)
    with pytest.raises(DataError, match=r"in 1 of 2 places"):
        loss(torch.tensor([[[[0.0, torch.nan]]]]), torch.tensor([[[0, 1]]]))


@pytest.mark.parametrize("kind", [torch.bool, torch.uint8, torch.int64])
def test_one_hot_labels_in_whole_numbers_are_class_numbers(kind: torch.dtype) -> None:
    logits, numbers = batch(3)
    onehot = torch.stack([numbers == number for number in range(3)], dim=1).to(kind)
    valid = torch.ones_like(numbers, dtype=torch.bool)
    valid[0, 0] = False
    for mask in (None, valid):
        torch.testing.assert_close(DICE(logits, onehot, valid=mask), DICE(logits, numbers, valid=mask))
    twice = onehot.clone()
    twice[0, :, 0] = 1
    with pytest.raises(DataError, match="they don't in 16 voxels"):
        DICE(logits, twice)
    torch.testing.assert_close(DICE(logits, twice, valid=valid), DICE(logits, numbers, valid=valid))
    if kind == torch.int64:
        with pytest.raises(DataError, match="must add up to 1"):
            DICE(logits, 257 * onehot)


def test_one_channel_may_be_multilabel_with_one_map() -> None:
    torch.testing.assert_close(ll.build("dice_ce", multilabel=True)(Z, Y), DICE(Z, Y))
    with pytest.raises(UsageError, match=r"multilabel needs one map per channel, \(2, 3, 4, 4, 4\)"):
        ll.build("dice_ce", multilabel=True)(batch(3)[0], Y)

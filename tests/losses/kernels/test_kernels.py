"""The fast kernel has the values and gradients of the readable one, on every head, mask and option."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

import lesionloss as ll
from kernel_cases import Case, agree, case, result
from lesionloss.core.randomness import torch_generator
from lesionloss.losses.batch import Batch
from lesionloss.losses.kernels import FAST, READABLE
from lesionloss.losses.kernels import fast as fast_module
from lesionloss.losses.kernels.selection import Masked
from lesionloss.losses.kernels.terms import CrossEntropy, Focal
from random_batches import random_hyperparameters

torch.set_num_threads(1)  # tiny tensors
RECORDS = {record.name: record for record in ll.list_losses()}


def texts() -> Iterator[str]:
    for name, record in RECORDS.items():
        yield name
        given = random_hyperparameters(record.defaults, "kernels", name)
        yield f"{name}({', '.join(f'{key}={value}' for key, value in given.items())})" if given else name
    yield "0.5*dice + 0.5*focal(gamma=3) + weighted_gradient(gamma=3)"
    yield "dice_plus_plus(gamma=1.5) + dice_plus_plus(gamma=3) + tversky + focal(gamma=0.5)"


TEXTS = sorted(set(texts()))


@pytest.fixture(params=["listed", "masked"])
def selection(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lesion voxels as a list, and as a mask, which is how a GPU has them."""
    if request.param == "masked":
        monkeypatch.setattr(fast_module, "select", lambda marks, where=None: Masked(marks != 0))


@pytest.mark.usefixtures("selection")
@pytest.mark.parametrize("text", TEXTS)
def test_values_and_gradients_are_those_of_the_readable_kernel(text: str) -> None:
    for channels in (1, 2) if "released" in text else (1, 2, 5):
        for number in range(3):
            of = case(text, number, channels=channels)
            slow = result(text, READABLE, of, torch.float64)
            for fast, expected in zip(result(text, FAST, of, torch.float64), slow, strict=True):
                agree(fast, expected, 1e-12)
            rounded = result(text, READABLE, of, torch.float32)
            for fast, expected, single in zip(result(text, FAST, of, torch.float32), slow, rounded, strict=True):
                agree(fast, expected, 1e-5, rounding=3 * float((single.double() - expected).abs().max()))


@pytest.mark.parametrize("kind", ["shares", "one-hot", "lesion map"])
def test_other_labels(kind: str) -> None:
    stream = torch_generator("kernels", kind)
    logits = torch.randn((2, 3 if kind != "lesion map" else 1, 4, 5), generator=stream, dtype=torch.float64)
    if kind == "lesion map":
        labels = torch.rand((2, 4, 5), generator=stream, dtype=torch.float64)
    else:
        labels = torch.rand((2, 3, 4, 5), generator=stream, dtype=torch.float64).softmax(1)
    if kind == "one-hot":
        labels = torch.nn.functional.one_hot(labels.argmax(1), 3).movedim(-1, 1)
    of = Case(logits, labels, None, {})
    for text in ("hytver", "asymmetric_unified_focal", "dice(squared=True)"):
        for fast, slow in zip(
            result(text, FAST, of, torch.float64), result(text, READABLE, of, torch.float64), strict=True
        ):
            agree(fast, slow, 1e-12)


def test_multilabel_and_ignored_voxels() -> None:
    stream = torch_generator("kernels", "multilabel")
    logits = torch.randn((3, 4, 6, 5), generator=stream, dtype=torch.float64)
    labels = (torch.rand(logits.shape, generator=stream) < 0.2).to(torch.uint8)
    numbers = torch.where(torch.rand((3, 6, 5), generator=stream) < 0.2, 255, labels.argmax(1))
    for of in (
        Case(logits, labels, None, {"multilabel": True}),
        Case(logits, labels, None, {"multilabel": True, "pooled": True, "empty": "skip"}),
        Case(logits, labels, torch.rand((3, 6, 5), generator=stream) < 0.7, {"multilabel": True}),
        Case(logits, numbers, None, {"ignore_index": 255}),
    ):
        for text in ("hytver", "generalised_dice", "symmetric_unified_focal_plus_plus"):
            for fast, slow in zip(
                result(text, FAST, of, torch.float64), result(text, READABLE, of, torch.float64), strict=True
            ):
                agree(fast, slow, 1e-12)


@pytest.mark.usefixtures("selection")
@pytest.mark.parametrize("size", [3.0, 12.0, 40.0, 300.0, 1e4])
@pytest.mark.parametrize("channels", [1, 2, 4])
def test_confident_predictions_keep_their_digits(size: float, channels: int) -> None:
    """Right and wrong ones, in single precision: each voxel's share of the value and its gradient."""
    stream = torch_generator("kernels", "sure", channels)
    right = torch.randint(0, max(2, channels), (1, 4, 6), generator=stream)
    said = torch.where(torch.rand(right.shape, generator=stream) < 0.3, right.roll(1, 2), right)
    if channels == 1:
        logits = size * (2.0 * said[:, None] - 1)
    else:
        logits = size * torch.nn.functional.one_hot(said, channels).movedim(-1, 1).double()
    for text in ("dice", "cross_entropy", "focal", "weighted_gradient", "dice_plus_plus", "symmetric_focal"):
        for labels in (right, said):
            of = Case(logits, labels, None, {})
            value, gradient = result(text, READABLE, of, torch.float64)
            fast_value, fast_gradient = result(text, FAST, of, torch.float32)
            torch.testing.assert_close(fast_value.double(), value, rtol=2e-5, atol=1e-12)
            # 1 - p of a confident false positive has lost digits in the readable kernel too.
            rounding = (result(text, READABLE, of, torch.float32)[1].double() - gradient).abs().max()
            assert (fast_gradient.double() - gradient).abs().max() <= 1e-5 * gradient.abs().max() + 3 * rounding + 1e-16


@pytest.mark.usefixtures("selection")
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_first_and_second_derivatives(channels: int) -> None:
    stream = torch_generator("kernels", "derivatives", channels)
    logits = torch.randn((2, channels, 3, 2), generator=stream, dtype=torch.float64, requires_grad=True)
    labels = torch.randint(0, max(2, channels), (2, 3, 2), generator=stream)
    labels[0], labels[1, 0, 0] = 0, 1
    valid = torch.rand(labels.shape, generator=stream) < 0.8
    for text in (
        "hytver",
        "dice_plus_plus(gamma=1.7) + focal",
        "0.3*dice(squared=True) + weighted_gradient(gamma=3)",
        "topk_dice(k=60) + cross_entropy",
    ):
        criterion = ll.build(text, kernel=FAST)

        def value(x: Tensor, criterion: ll.Loss = criterion) -> Tensor:
            return criterion(x, labels, valid=valid)

        # Along one random direction, with tolerances that many times smaller than those for each number alone.
        assert torch.autograd.gradcheck(value, logits, atol=1e-7, rtol=1e-5, fast_mode=True)
        assert torch.autograd.gradgradcheck(value, logits, atol=1e-7, rtol=1e-5, fast_mode=True)


@pytest.mark.parametrize("channels", [1, 4])
def test_the_tail_of_small_errors_keeps_its_digits(channels: int) -> None:
    stream = torch_generator("kernels", "tail", channels)
    labels = (torch.rand((2, 9, 16), generator=stream) < 0.1).to(torch.uint8)
    for sure in (9, 5, 3, 0):  # from errors of 1e-4 to any
        logits = torch.randn((2, channels, 9, 16), generator=stream, dtype=torch.float64)
        logits[:, 0] += -sure if channels == 1 else sure
        of = Case(logits, labels, None, {})
        for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-5)):
            fast = result("weighted_gradient(lesion=0.01)", FAST, of, dtype)[0]
            agree(fast, result("weighted_gradient(lesion=0.01)", READABLE, of, torch.float64)[0], tolerance)


def test_large_logits_keep_their_differences() -> None:
    of = case("large", 1, channels=4)
    for far in (5e2, 3e4, 1e7):
        moved = Case(of.logits + far, of.labels, of.valid, of.options)
        for fast, slow in zip(
            result("dice_focal", FAST, moved, torch.float64),
            result("dice_focal", READABLE, moved, torch.float64),
            strict=True,
        ):
            agree(fast, slow, 1e-8)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_read_as_single(dtype: torch.dtype) -> None:
    of = case("half", 0, channels=2)
    of = Case(of.logits.to(dtype), of.labels, of.valid, {})
    single = Case(of.logits.float(), of.labels, of.valid, {})
    value, _ = result("hytver", FAST, of, dtype)
    assert torch.equal(value.float(), result("hytver", FAST, single, torch.float32)[0])


@pytest.mark.usefixtures("selection")
@pytest.mark.parametrize("channels", [1, 3])
def test_every_count_has_its_gradient(channels: int) -> None:
    """True negatives too, which no loss of ours uses."""
    stream = torch_generator("kernels", "counts", channels)
    logits = torch.randn((2, channels, 12), generator=stream, dtype=torch.float64)
    labels = torch.randint(0, max(2, channels), (2, 12), generator=stream)
    for sharpen, average_background in ((1.0, False), (2.0, True), (1.5, False)):
        found = []
        for kernel in (FAST, READABLE):
            leaf = logits.clone().requires_grad_()
            counts = kernel.counts(Batch(leaf, labels, labels >= 0, None), sharpen, average_background)
            total = sum((number + 1) * (count * count).sum() for number, count in enumerate(counts))
            found.append((*counts, *torch.autograd.grad(total, leaf)))
        torch.testing.assert_close(found[0], found[1])


@pytest.mark.usefixtures("selection")
@pytest.mark.parametrize("used", [0, 1])
@pytest.mark.parametrize("channels", [1, 3])
def test_one_of_the_two_sums_of_a_term_has_its_gradient_alone(channels: int, used: int) -> None:
    stream = torch_generator("kernels", "one sum", channels)
    logits = torch.randn((2, channels, 12), generator=stream, dtype=torch.float64)
    labels = torch.randint(0, max(2, channels), (2, 12), generator=stream)
    found = []
    for kernel in (FAST, READABLE):
        leaf = logits.clone().requires_grad_()
        sums = kernel.term_sums(Batch(leaf, labels, None, None), CrossEntropy(), Focal(2.0))
        found.append(torch.autograd.grad(sums[used].square().sum(), leaf)[0])
    torch.testing.assert_close(found[0], found[1])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize("text", ["hytver", "dice_plus_plus", "dice_ce", "focal", "asymmetric_unified_focal"])
def test_cuda_has_the_values_and_gradients_of_the_cpu(text: str) -> None:
    of = case(text, "cuda", channels=1)
    slow = result(text, READABLE, of, torch.float64)
    moved = Case(of.logits.cuda(), of.labels.cuda(), None if of.valid is None else of.valid.cuda(), of.options)
    for fast, expected in zip(result(text, None, moved, torch.float32), slow, strict=True):
        agree(fast.cpu(), expected, 1e-5)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("text", ["focal", "dice_plus_plus", "dice_plus_plus(gamma=3)"])
def test_pieces_of_the_voxels_add_up(text: str, channels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = torch_generator("pieces", channels)
    logits = torch.randn((2, channels, 4, 5), generator=stream, dtype=torch.float64)
    labels = torch.randint(0, max(2, channels), (2, 4, 5), generator=stream)
    values, gradients = [], []
    for piece in (1 << 19, 6 * channels, 1):  # all voxels, three, and one at a time
        monkeypatch.setattr("lesionloss.losses.kernels.requests.PIECE", piece)
        z = logits.clone().requires_grad_()
        value = ll.build(text, kernel=FAST)(z, labels)
        value.backward()
        values.append(value.item())
        gradients.append(z.grad)
    assert values == pytest.approx([values[0]] * 3, rel=1e-12)
    for gradient in gradients[1:]:
        torch.testing.assert_close(gradient, gradients[0], rtol=1e-12, atol=1e-14)

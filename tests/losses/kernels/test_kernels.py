"""Every kernel has the values and gradients of the readable one, on every head, mask and option."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

import lesionloss as ll
from kernel_cases import FAST, Case, agree, case, result
from lesionloss.core.randomness import torch_generator
from lesionloss.losses.kernels import READABLE, by_name, on_cuda
from lesionloss.losses.kernels import background as background_module
from lesionloss.losses.kernels import pull as pull_module
from lesionloss.losses.kernels import single as single_module
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


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("name", FAST)
def test_values_and_gradients_are_those_of_the_readable_kernel(name: str, text: str) -> None:
    for channels in (1, 2) if "released" in text else (1, 2, 5):
        for number in range(3):
            of = case(text, number, channels=channels)
            slow = result(text, READABLE, of, torch.float64)
            for fast, expected in zip(result(text, by_name(name), of, torch.float64), slow, strict=True):
                agree(fast, expected, 1e-12)
            rounded = result(text, READABLE, of, torch.float32)
            for fast, expected, single in zip(
                result(text, by_name(name), of, torch.float32), slow, rounded, strict=True
            ):
                agree(fast, expected, 1e-5, rounding=3 * float((single.double() - expected).abs().max()))


@pytest.mark.parametrize("name", FAST)
@pytest.mark.parametrize("kind", ["shares", "one-hot", "lesion map"])
def test_other_labels(name: str, kind: str) -> None:
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
            result(text, by_name(name), of, torch.float64), result(text, READABLE, of, torch.float64), strict=True
        ):
            agree(fast, slow, 1e-12)


@pytest.mark.parametrize("name", FAST)
def test_multilabel_and_ignored_voxels(name: str) -> None:
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
                result(text, by_name(name), of, torch.float64), result(text, READABLE, of, torch.float64), strict=True
            ):
                agree(fast, slow, 1e-12)


@pytest.mark.parametrize("name", FAST)
@pytest.mark.parametrize("size", [3.0, 12.0, 40.0, 300.0, 1e4])
@pytest.mark.parametrize("channels", [1, 2, 4])
def test_sure_predictions_keep_their_digits(name: str, size: float, channels: int) -> None:
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
            fast_value, fast_gradient = result(text, by_name(name), of, torch.float32)
            torch.testing.assert_close(fast_value.double(), value, rtol=2e-5, atol=1e-12)
            # 1 - p of a sure false alarm has lost digits in the readable kernel too.
            rounding = (result(text, READABLE, of, torch.float32)[1].double() - gradient).abs().max()
            assert (fast_gradient.double() - gradient).abs().max() <= 1e-5 * gradient.abs().max() + 3 * rounding + 1e-16


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("name", FAST)
def test_first_and_second_derivatives(name: str, channels: int) -> None:
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
        criterion = ll.build(text, kernel=by_name(name))

        def value(x: Tensor, criterion: ll.Loss = criterion) -> Tensor:
            return criterion(x, labels, valid=valid)

        assert torch.autograd.gradcheck(value, logits)
        assert torch.autograd.gradgradcheck(value, logits)


@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize("name", FAST)
def test_pieces_add_up(name: str, channels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Images that are cut into many pieces, with lesions at the seams."""
    for module in (background_module, single_module, pull_module):
        monkeypatch.setattr(module, "CHUNK", 12)
    monkeypatch.setattr(single_module, "LONG_CHUNK", 12)
    stream = torch_generator("kernels", "pieces", channels)
    logits = torch.randn((2, channels, 5, 13), generator=stream, dtype=torch.float64)
    labels = torch.randint(0, max(2, channels), (2, 5, 13), generator=stream)
    of = Case(logits, labels, torch.rand(labels.shape, generator=stream) < 0.8, {})
    for text in ("hytver", "asymmetric_unified_focal_plus_plus", "ce_topk_dice"):
        for fast, slow in zip(
            result(text, by_name(name), of, torch.float64), result(text, READABLE, of, torch.float64), strict=True
        ):
            agree(fast, slow, 1e-12)


@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize("name", FAST)
def test_the_tail_of_small_errors_keeps_its_digits(name: str, channels: int) -> None:
    stream = torch_generator("kernels", "tail", channels)
    labels = (torch.rand((2, 9, 16), generator=stream) < 0.1).to(torch.uint8)
    for sure in (9, 5, 3, 0):  # from errors of 1e-4 to any
        logits = torch.randn((2, channels, 9, 16), generator=stream, dtype=torch.float64)
        logits[:, 0] += -sure if channels == 1 else sure
        of = Case(logits, labels, None, {})
        for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-5)):
            fast = result("weighted_gradient(lesion=0.01)", by_name(name), of, dtype)[0]
            agree(fast, result("weighted_gradient(lesion=0.01)", READABLE, of, torch.float64)[0], tolerance)


@pytest.mark.parametrize("name", FAST)
def test_large_logits_keep_their_differences(name: str) -> None:
    of = case("large", 1, channels=4)
    for far in (5e2, 3e4, 1e7):
        moved = Case(of.logits + far, of.labels, of.valid, of.options)
        for fast, slow in zip(
            result("dice_focal", by_name(name), moved, torch.float64),
            result("dice_focal", READABLE, moved, torch.float64),
            strict=True,
        ):
            agree(fast, slow, 1e-8)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_read_as_single(dtype: torch.dtype) -> None:
    of = case("half", 0, channels=2)
    of = Case(of.logits.to(dtype), of.labels, of.valid, {})
    single = Case(of.logits.float(), of.labels, of.valid, {})
    for name in FAST:
        value, _ = result("hytver", by_name(name), of, dtype)
        assert torch.equal(value.float(), result("hytver", by_name(name), single, torch.float32)[0])


TRITON = """
import torch
from lesionloss.losses.kernels import compiled, on_cuda
from lesionloss.core.randomness import torch_generator

stream = torch_generator("triton")
for voxels in (17, 4096, 5000):
    for masked in (False, True):
        z = 8 * torch.randn((3, voxels), generator=stream) - 3
        y = (torch.rand((3, voxels), generator=stream) < 0.1).to(torch.uint8)
        inside = torch.rand((3, voxels), generator=stream) < 0.8 if masked else None
        y = torch.where(inside, y, 0) if masked else y
        ours, theirs = (made.walk_found(z, y, inside, True)[:, :8] for made in (on_cuda, compiled))
        assert float(((ours - theirs).abs() / theirs.abs().clamp_min(1e-6)).max()) < 1e-6, (voxels, masked)
        weights = torch.randn((3, 9), generator=stream, dtype=torch.float64)
        ours, theirs = (made.walk_pull(z, y, inside, weights) for made in (on_cuda, compiled))
        assert float((ours - theirs).abs().max()) < 2e-6, (voxels, masked)
print("equal")
"""


@pytest.mark.skipif(
    not on_cuda.installed(), reason="Triton is not installed: its programs can't be run, not even slowly"
)
def test_the_triton_programs_find_what_the_compiled_ones_find() -> None:
    """On a machine without CUDA, in Triton's interpreter."""
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    done = subprocess.run([sys.executable, "-c", TRITON], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout == "equal\n", done.stderr


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize("text", ["hytver", "dice_plus_plus", "dice_ce", "focal", "asymmetric_unified_focal"])
def test_cuda_has_the_values_and_gradients_of_the_cpu(text: str) -> None:
    of = case(text, "cuda", channels=1)
    slow = result(text, READABLE, of, torch.float64)
    moved = Case(of.logits.cuda(), of.labels.cuda(), None if of.valid is None else of.valid.cuda(), of.options)
    for fast, expected in zip(result(text, None, moved, torch.float32), slow, strict=True):
        agree(fast.cpu(), expected, 1e-5)

"""Every kernel has the values and gradients of the readable one, on every head, mask and option."""

import gc
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

import lesionloss as ll
from lesionloss.kernels import KERNELS, READABLE, Kernel, by_name, fastest, on_cuda
from lesionloss.kernels import background as background_module
from lesionloss.kernels.compiled import compiled_positions
from lesionloss.kernels.lesions import positions
from lesionloss.kernels.plan import Plan, plan_of
from lesionloss.kernels.terms import CrossEntropy, Focal, Tail
from lesionloss.randomness import numpy_generator, torch_generator
from lesionloss.registry import LOSSES
from random_batches import random_batch, random_hyperparameters

torch.set_num_threads(1)  # tiny tensors

FAST = [kernel.name for kernel in KERNELS if kernel.name not in ("readable", "triton")]
RECORDS = {record.name: record for record in ll.losses()}
OPTIONS: list[dict[str, bool | str]] = [
    {},
    {"pooled": True},
    {"background": True},
    {"empty": "skip"},
    {"background": True, "empty": "skip"},
    {"pooled": True, "background": True},
]


def texts() -> Iterator[str]:
    for name, record in RECORDS.items():
        yield name
        given = random_hyperparameters(record.defaults, "kernels", name)
        yield f"{name}({', '.join(f'{key}={value}' for key, value in given.items())})" if given else name
    yield "0.5*dice + 0.5*focal(gamma=3) + weighted_gradient(gamma=3)"
    yield "dice_plus_plus(gamma=1.5) + dice_plus_plus(gamma=3) + tversky + focal(gamma=0.5)"


TEXTS = sorted(set(texts()))


@dataclass(frozen=True)
class Case:
    logits: Tensor
    labels: Tensor
    valid: Tensor | None
    options: dict[str, bool | str]


def case(*name: str | int, channels: int) -> Case:
    batch = random_batch("kernels", *name, channels=channels)
    stream = numpy_generator("kernels", "options", *name)
    options = OPTIONS[int(stream.integers(len(OPTIONS)))]
    logits, labels = torch.from_numpy(batch.logits), torch.from_numpy(batch.labels)
    valid = None if batch.valid is None else torch.from_numpy(batch.valid)
    kind = torch.uint8 if stream.random() < 0.5 else torch.int64
    if valid is not None:
        logits = torch.where(valid[:, None], logits, torch.nan)
        labels = torch.where(valid, labels, 99)
    return Case(logits, labels.to(kind), valid, options)


def result(text: str, kernel: Kernel | None, of: Case, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """The values per image and the gradient of a weighted sum of them."""
    logits = of.logits.to(dtype).requires_grad_()
    each = ll.build(text, kernel=kernel, **of.options)(logits, of.labels, valid=of.valid, reduce=False)
    weights = torch.linspace(0.5, 2, len(each), dtype=dtype)
    (gradient,) = torch.autograd.grad((weights * each).sum(), logits)
    return each.detach(), gradient


def agree(fast: Tensor, slow: Tensor, tolerance: float, rounding: float = 0.0) -> None:
    """Within a share of the largest, for single numbers may come out of cancellation, or within some rounding."""
    assert torch.isfinite(fast).all()
    error = float((fast.double() - slow).abs().max())
    assert error <= tolerance * float(slow.abs().max()) + tolerance * 1e-5 + rounding


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
    for text in ("hytver", "dice_plus_plus(gamma=1.7) + focal", "0.3*dice(squared=True) + weighted_gradient(gamma=3)"):
        criterion = ll.build(text, kernel=by_name(name))

        def value(x: Tensor, criterion: ll.Loss = criterion) -> Tensor:
            return criterion(x, labels, valid=valid)

        assert torch.autograd.gradcheck(value, logits)
        assert torch.autograd.gradgradcheck(value, logits)


@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize("name", FAST)
def test_pieces_add_up(name: str, channels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Images that are cut into many pieces, with lesions at the seams."""
    monkeypatch.setattr(background_module, "CHUNK", 12)
    stream = torch_generator("kernels", "pieces", channels)
    logits = torch.randn((2, channels, 5, 13), generator=stream, dtype=torch.float64)
    labels = torch.randint(0, max(2, channels), (2, 5, 13), generator=stream)
    of = Case(logits, labels, torch.rand(labels.shape, generator=stream) < 0.8, {})
    for text in ("hytver", "asymmetric_unified_focal_plus_plus"):
        for fast, slow in zip(
            result(text, by_name(name), of, torch.float64), result(text, READABLE, of, torch.float64), strict=True
        ):
            agree(fast, slow, 1e-12)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.bool, torch.int16, torch.int64])
@pytest.mark.parametrize("shape", [(1, 1), (2, 7), (3, 16), (1, 24)])
def test_positions_are_those_of_nonzero(dtype: torch.dtype, shape: tuple[int, int]) -> None:
    stream = torch_generator("kernels", "positions", *shape)
    for share in (0.0, 0.1, 1.0):
        labels = (torch.rand(shape, generator=stream) < share).to(dtype)
        for x in (labels, labels[:, 1:], labels.T):
            assert torch.equal(positions(x), x.reshape(-1).nonzero()[:, 0])
            assert torch.equal(compiled_positions(x), x.reshape(-1).nonzero()[:, 0])


def test_a_loss_is_known_before_it_asks() -> None:
    v = ll.Voxels(torch.zeros(2, 1, 9), torch.zeros(2, 9, dtype=torch.uint8), None, READABLE)
    asked: list[Plan] = []
    for text in ("hytver", "dice_plus_plus + focal(gamma=3)", "dice_focal", "topk_dice"):
        asked.append(plan_of([term.call for term in ll.build(text)._terms], v))
    plain = (CrossEntropy(), CrossEntropy())
    assert asked[0] == Plan((1.0,), (plain,))
    assert asked[1] == Plan((2.0,), ((Focal(3.0), Focal(3.0)),))
    assert asked[2] == Plan((1.0,), ((Focal(2.0), Focal(2.0)),))
    assert asked[3] == Plan((2.0,))


@pytest.mark.parametrize("name", FAST)
def test_one_gradient_serves_all_sums_and_keeps_nothing_but_the_input(name: str) -> None:
    logits = torch.zeros((2, 1, 8, 8), requires_grad=True)
    labels = torch.zeros((2, 8, 8), dtype=torch.uint8)
    labels[:, 2, 3] = 1
    kept: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x) or x, lambda x: x):
        value = ll.build("asymmetric_unified_focal_plus_plus + hytver", kernel=by_name(name))(logits, labels)
    given = {logits.untyped_storage().data_ptr(), labels.untyped_storage().data_ptr()}
    large = {x.untyped_storage().data_ptr(): x for x in kept if x.numel() >= 64}
    assert given <= set(large)
    more = sum(x.nbytes for place, x in large.items() if place not in given)
    assert more <= (logits.nbytes if name == "fused" else 0)
    passes, seen, queue = 0, set(), [value.grad_fn]
    while queue:
        node = queue.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        passes += node.name() == "_SumsBackward"
        queue += [edge[0] for edge in node.next_functions]
    assert passes == 1


@pytest.mark.parametrize("name", FAST)
def test_the_batch_is_freed_without_the_garbage_collector(name: str) -> None:
    gc.collect()
    gc.disable()
    try:
        logits = torch.randn((1, 1, 8, 8), generator=torch_generator("freed"), requires_grad=True)
        ll.build("hytver", kernel=by_name(name))(logits, torch.ones((1, 8, 8), dtype=torch.uint8)).backward()
        before = {id(x) for x in gc.get_objects() if type(x) is ll.Voxels}
        ll.build("hytver", kernel=by_name(name))(logits, torch.ones((1, 8, 8), dtype=torch.uint8)).backward()
        after = [x for x in gc.get_objects() if type(x) is ll.Voxels and id(x) not in before]
    finally:
        gc.enable()
    assert not after


@pytest.mark.parametrize("name", FAST)
def test_labels_changed_before_the_backward_pass_are_noticed(name: str) -> None:
    logits, labels = torch.zeros((1, 1, 4, 4), requires_grad=True), torch.ones((1, 4, 4), dtype=torch.uint8)
    value = ll.build("dice", kernel=by_name(name))(logits, labels)
    labels.zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        value.backward()


def test_a_term_of_ones_own_that_costs_at_zero_error_goes_the_readable_way() -> None:
    class Constant:
        def value(self, ce: Tensor, q: Tensor) -> Tensor:
            return ce + 1

        def slope(self, ce: Tensor, q: Tensor) -> Tensor:
            return torch.ones_like(ce)

    @ll.loss("ce_plus_one", source="a test")
    def ce_plus_one(v: ll.Voxels) -> Tensor:
        """Cross-entropy plus one."""
        lesion, background = v.term_sums(Constant(), Constant())
        return (lesion + background) / v.n

    try:
        of = case("own", 1, channels=1)
        for name in FAST:
            own, _ = result("ce_plus_one", by_name(name), of, torch.float64)
            plain, _ = result("cross_entropy", READABLE, of, torch.float64)
            torch.testing.assert_close(own, plain + 1)
    finally:
        LOSSES.remove("ce_plus_one")


def test_a_loss_that_needs_more_than_two_voxels_is_not_stopped_by_the_rehearsal() -> None:
    @ll.loss("picky", source="a test")
    def picky(v: ll.Voxels) -> Tensor:
        """Picky: looks at the tenth voxel."""
        return v.counts().fp[:, 0] + v.logits[:, 0, 9]

    try:
        of = Case(torch.ones((2, 1, 4, 4), dtype=torch.float64), torch.ones((2, 4, 4)).long(), None, {})
        assert result("picky", None, of, torch.float64)[0].tolist() == [1.0, 1.0]
    finally:
        LOSSES.remove("picky")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_read_as_single(dtype: torch.dtype) -> None:
    of = case("half", 0, channels=2)
    of = Case(of.logits.to(dtype), of.labels, of.valid, {})
    single = Case(of.logits.float(), of.labels, of.valid, {})
    for name in FAST:
        value, _ = result("hytver", by_name(name), of, dtype)
        assert torch.equal(value.float(), result("hytver", by_name(name), single, torch.float32)[0])


def test_the_fastest_is_never_the_readable_one_on_a_cpu_and_pickles() -> None:
    assert fastest(torch.zeros(1)) is not READABLE
    assert fastest(torch.zeros(1, device="meta")) is READABLE
    assert Tail(2) == Tail(2)
    loss = ll.build("dice", kernel=by_name("fused"))
    again = pickle.loads(pickle.dumps(loss))  # noqa: S301
    assert again.kernel == loss.kernel
    assert np.isfinite(again(torch.zeros(1, 1, 2, 2), torch.ones(1, 2, 2).long()).item())


TRITON = """
import torch
from lesionloss.kernels import compiled, on_cuda
from lesionloss.randomness import torch_generator

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

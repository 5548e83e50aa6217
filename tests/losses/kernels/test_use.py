"""Kernels in use: which is chosen, what is known before a pass, what it keeps, frees and notices."""

import gc
import pickle

import numpy as np
import pytest
import torch
from torch import Tensor

import lesionloss as ll
from kernel_cases import FAST, Case, case, result
from lesionloss.core.errors import DataError
from lesionloss.core.randomness import torch_generator
from lesionloss.losses.kernels import READABLE, by_name, fastest
from lesionloss.losses.kernels.compiled import compiled_find
from lesionloss.losses.kernels.joint import any_wrong
from lesionloss.losses.kernels.lesions import find_lesions
from lesionloss.losses.kernels.plan import Plan, plan_of
from lesionloss.losses.kernels.terms import CrossEntropy, Focal, Tail
from lesionloss.losses.registry import LOSSES

torch.set_num_threads(1)  # tiny tensors


@pytest.mark.parametrize("dtype", [torch.uint8, torch.bool, torch.int16, torch.int64])
@pytest.mark.parametrize("shape", [(1, 1), (2, 7), (3, 16), (1, 24)])
def test_positions_are_those_of_nonzero(dtype: torch.dtype, shape: tuple[int, int]) -> None:
    stream = torch_generator("kernels", "positions", *shape)
    for share in (0.0, 0.1, 1.0):
        labels = (torch.rand(shape, generator=stream) < share).to(dtype)
        for x in (labels, labels[:, 1:], labels.T):
            assert torch.equal(find_lesions(x).where, x.reshape(-1).nonzero()[:, 0])
            assert torch.equal(compiled_find(x).where, x.reshape(-1).nonzero()[:, 0])


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.int32])
def test_labels_out_of_range_are_seen_where_lesions_are_listed(dtype: torch.dtype) -> None:
    for find in (find_lesions, compiled_find):
        labels = torch.zeros((2, 16), dtype=dtype)
        assert (find(labels).low, find(labels).high) == (0, 0)
        labels[1, 3] = 7
        assert (find(labels).low, find(labels).high) == (0, 7)
        if dtype != torch.uint8:
            labels[0, 15] = -2
            assert (find(labels).low, find(labels).high) == (-2, 7)


@pytest.mark.parametrize("name", FAST)
@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("text", ["dice", "hytver", "focal", "topk_dice"])
def test_one_logit_that_is_not_finite_is_refused(name: str, channels: int, value: float, text: str) -> None:
    labels = torch.zeros((2, 4, 5), dtype=torch.uint8)
    labels[1, 2, 2] = 1
    for place in ((1, channels - 1, 2, 2), (0, 0, 3, 1)):  # a lesion voxel, a background voxel
        logits = torch.zeros((2, channels, 4, 5))
        logits[place] = value
        with pytest.raises(DataError, match=f"NaN or infinite values in 1 of {40 * (3 if channels == 3 else 1)}"):
            ll.build(text, kernel=by_name(name))(logits, labels)


@pytest.mark.parametrize("name", FAST)
def test_huge_but_finite_logits_are_no_error(name: str) -> None:
    labels = torch.zeros((1, 4, 5), dtype=torch.uint8)
    for channels in (1, 3):
        logits = torch.full((1, channels, 4, 5), -1e38)  # their sum is infinite
        value = ll.build("dice", kernel=by_name(name))(logits, labels)
        assert torch.isfinite(value)


def test_any_wrong_is_one_minus_the_product_and_keeps_small_digits() -> None:
    q = torch.rand((3, 32), generator=torch_generator("joint"), dtype=torch.float64)
    for together in (2, 8, 16):
        rights = (1 - q).view(3, together, -1).prod(1)
        torch.testing.assert_close(any_wrong(q, together), 1 - rights)
    assert torch.equal(any_wrong(torch.full((1, 16), 1e-30), 16), torch.full((1, 1), 1.6e-29))


def test_a_loss_is_known_before_it_asks() -> None:
    v = ll.Voxels(torch.zeros(2, 1, 9), torch.zeros(2, 9, dtype=torch.uint8), None, READABLE)
    asked: list[Plan] = []
    for text in ("hytver", "dice_plus_plus + focal(gamma=3)", "dice_focal", "topk_dice"):
        asked.append(plan_of([term.call for term in ll.build(text)._terms], v))
    plain = (CrossEntropy(), CrossEntropy())
    assert asked[0] == Plan((1.0,), (plain,))
    assert asked[1] == Plan((2.0,), ((Focal(3.0), Focal(3.0)),))
    assert asked[2] == Plan((1.0,), ((Focal(2.0), Focal(2.0)),))
    assert asked[3] == Plan((2.0,), listed=True)


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
        passes += node.name() == "SumsBackward"
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


def test_the_fastest_is_never_the_readable_one_on_a_cpu_and_pickles() -> None:
    assert fastest(torch.zeros(1)) is not READABLE
    assert fastest(torch.zeros(1, device="meta")) is READABLE
    assert Tail(2) == Tail(2)
    loss = ll.build("dice", kernel=by_name("fused"))
    again = pickle.loads(pickle.dumps(loss))  # noqa: S301
    assert again.kernel == loss.kernel
    assert np.isfinite(again(torch.zeros(1, 1, 2, 2), torch.ones(1, 2, 2).long()).item())

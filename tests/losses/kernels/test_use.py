"""Kernels in use: which one is chosen, what it keeps, frees and notices."""

import gc
import pickle

import pytest
import torch
from torch import Tensor

import lesionloss as ll
from kernel_cases import case, result
from lesionloss.core.errors import DataError, UsageError
from lesionloss.core.randomness import torch_generator
from lesionloss.losses.kernels import FAST, READABLE, Kernel, by_name
from lesionloss.losses.kernels.selection import Listed, Masked, Selection, positions
from lesionloss.losses.registry import LOSSES

torch.set_num_threads(1)  # tiny tensors


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("text", ["dice", "hytver", "focal", "topk_dice"])
def test_one_logit_that_is_not_finite_is_refused(channels: int, value: float, text: str) -> None:
    labels = torch.zeros((2, 4, 5), dtype=torch.uint8)
    labels[1, 2, 2] = 1
    for place in ((1, channels - 1, 2, 2), (0, 0, 3, 1)):  # a lesion voxel, a background voxel
        logits = torch.zeros((2, channels, 4, 5))
        logits[place] = value
        with pytest.raises(DataError, match=f"NaN or infinite values in 1 of {40 * (3 if channels == 3 else 1)}"):
            ll.build(text)(logits, labels)


def test_huge_but_finite_logits_are_no_error() -> None:
    labels = torch.zeros((1, 4, 5), dtype=torch.uint8)
    for channels in (1, 3):
        logits = torch.full((1, channels, 4, 5), -1e38)  # their sum is infinite
        assert torch.isfinite(ll.build("dice")(logits, labels))


@pytest.mark.parametrize("channels", [1, 14])
@pytest.mark.parametrize("text", ["dice", "hytver", "dice_focal", "asymmetric_unified_focal_plus_plus + hytver"])
def test_all_sums_keep_one_number_for_each_logit(text: str, channels: int) -> None:
    logits = torch.zeros((2, channels, 8, 8, 8), requires_grad=True)
    labels = torch.zeros((2, 8, 8, 8), dtype=torch.uint8)
    labels[:, 2, 3, 4] = 1
    kept: dict[int, int] = {}

    def keep(x: Tensor) -> Tensor:
        kept[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        value = ll.build(text)(logits, labels)
    assert value.requires_grad
    given = {x.untyped_storage().data_ptr() for x in (logits, labels)}
    assert given <= set(kept)
    assert sum(size for place, size in kept.items() if place not in given) <= 1.1 * logits.nbytes


def test_a_second_backward_pass_gives_the_same() -> None:
    of = case("twice", 0, channels=1)
    logits = of.logits.clone().requires_grad_()
    value = ll.build("hytver + dice_plus_plus")(logits, of.labels, valid=of.valid)
    first, second = (torch.autograd.grad(value, logits, retain_graph=True)[0].clone() for _ in range(2))
    assert torch.equal(first, second)


def test_the_batch_is_freed_without_the_garbage_collector() -> None:
    loss = ll.build("hytver")
    gc.freeze()  # what there is already is not looked at
    gc.disable()
    try:
        logits = torch.randn((1, 1, 8, 8), generator=torch_generator("freed"), requires_grad=True)
        loss(logits, torch.ones((1, 8, 8), dtype=torch.uint8)).backward()
        after = [x for x in gc.get_objects() if type(x) is ll.Voxels]
    finally:
        gc.enable()
    assert not after


def test_labels_changed_before_the_backward_pass_are_noticed() -> None:
    logits, labels = torch.zeros((1, 1, 4, 4), requires_grad=True), torch.ones((1, 4, 4), dtype=torch.uint8)
    value = ll.build("dice")(logits, labels)
    labels.zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        value.backward()


@pytest.mark.parametrize("channels", [1, 3])
def test_a_term_of_ones_own_may_be_above_0_without_an_error(channels: int) -> None:
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
        of = case("own", 1, channels=channels)
        own, own_gradient = result("ce_plus_one", FAST, of, torch.float64)
        plain, gradient = result("cross_entropy", READABLE, of, torch.float64)
        torch.testing.assert_close(own, plain + 1)
        torch.testing.assert_close(own_gradient, gradient)
    finally:
        LOSSES.remove("ce_plus_one")


@pytest.mark.parametrize("kernel", [FAST, READABLE], ids=lambda kernel: kernel.name)
def test_a_kernel_is_pickled_with_its_loss(kernel: Kernel) -> None:
    loss = ll.build("dice", kernel=by_name(kernel.name))
    again = pickle.loads(pickle.dumps(loss))  # noqa: S301
    assert again.kernel == kernel
    assert torch.isfinite(again(torch.zeros(1, 1, 2, 2), torch.ones(1, 2, 2).long()))


def test_an_unknown_kernel_is_refused_with_the_known_names() -> None:
    with pytest.raises(UsageError, match="known: readable, fast"):
        by_name("triton")


@pytest.mark.parametrize("dtype", [torch.uint8, torch.bool, torch.int64])
def test_positions_are_those_of_nonzero(dtype: torch.dtype) -> None:
    stream = torch_generator("kernels", "positions")
    for share in (0.0, 0.1, 1.0):
        labels = (torch.rand((3, 17), generator=stream) < share).to(dtype)
        for x in (labels, labels[:, 1:], labels.T):
            assert torch.equal(positions(x), (x != 0).reshape(-1).nonzero()[:, 0])


def test_listed_and_masked_voxels_are_the_same() -> None:
    stream = torch_generator("kernels", "selection")
    mask = torch.rand((3, 11), generator=stream) < 0.4
    x, rows = torch.rand((3, 4, 11), generator=stream), torch.rand((3, 4), generator=stream)
    selections: tuple[Selection, ...] = (Listed(positions(mask), 3, 11), Masked(mask))
    sums, changed = [], []
    for selection in selections:
        values = selection.take(x) * selection.spread(rows)
        sums.append(selection.sums(values))
        changed.append(selection.put(selection.put(x.clone(), values), values + 1))
    torch.testing.assert_close(sums[0], (x * rows[:, :, None] * mask[:, None]).sum(-1))
    torch.testing.assert_close(sums[0], sums[1])
    torch.testing.assert_close(changed[0], torch.where(mask[:, None], x * rows[:, :, None] + 1, x))
    torch.testing.assert_close(changed[0], changed[1])


@pytest.mark.parametrize("channels", [1, 2, 4])
@pytest.mark.parametrize("name", [record.name for record in ll.list_losses()])
def test_nothing_waits_for_a_device(name: str, channels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A meta tensor has no values: asking for one fails, as it would make the program wait for a GPU."""
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda device: False)  # refuses this kind of device
    if name == "hytver_released" and channels > 2:
        return
    logits = torch.zeros((2, channels, 5, 6), device="meta", requires_grad=True)
    valid = torch.ones((2, 5, 6), dtype=torch.bool, device="meta")
    value = ll.build(name)(logits, torch.zeros((2, 5, 6), dtype=torch.uint8, device="meta"), valid=valid)
    (gradient,) = torch.autograd.grad(value, logits)
    assert gradient.shape == logits.shape

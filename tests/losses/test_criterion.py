"""The module: building, options, reduction, named classes, bad input."""

import copy
import inspect
import pickle
import shutil
from collections.abc import Callable

import pytest
import torch

import lesionloss as ll
from lesionloss.core.errors import DataError, UsageError
from lesionloss.core.randomness import torch_generator
from lesionloss.losses.kernels import FAST, READABLE, Kernel
from lesionloss.losses.registry import LOSSES

SPECS = [record.name for record in ll.list_losses()]


def batch(
    channels: int = 1, space: tuple[int, ...] = (4, 5, 3), images: int = 2, name: str = "batch"
) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (B, C, *space) in float64 and labels (B, *space); every class occurs in every image."""
    stream = torch_generator("test_criterion", name, channels, images, *space)
    logits = 2 * torch.randn((images, channels, *space), generator=stream, dtype=torch.float64)
    labels = (torch.rand((images, *space), generator=stream) < 0.2).long()
    if channels > 2:
        labels = labels * torch.randint(1, channels, labels.shape, generator=stream)
    flat = labels.view(images, -1)
    flat[:, : max(2, channels)] = torch.arange(max(2, channels))
    return logits, labels


@pytest.mark.parametrize("spec", SPECS)
def test_one_value_per_image_and_their_mean(spec: str) -> None:
    criterion = ll.build(spec)
    logits, labels = batch()
    each = criterion(logits, labels, reduce=False)
    assert each.shape == (2,)
    torch.testing.assert_close(criterion(logits, labels), each.mean())


def test_a_sum_is_weighted() -> None:
    logits, labels = batch(3)
    parts = 0.3 * ll.build("dice")(logits, labels) + 2 * ll.build("focal(gamma=3)")(logits, labels)
    torch.testing.assert_close(ll.build("0.3*dice + 2*focal(gamma=3)")(logits, labels), parts)


def test_images_can_be_weighted() -> None:
    logits, labels = batch(images=3)
    criterion = ll.build("dice + cross_entropy")
    each = criterion(logits, labels, reduce=False)
    weights = torch.tensor([1.0, 0.0, 3.0])
    expected = (each[0] + 3 * each[2]) / 4
    torch.testing.assert_close(criterion(logits, labels, image_weights=weights), expected)
    with pytest.raises(UsageError, match="one number per image"):
        criterion(logits, labels, image_weights=weights[:2])
    with pytest.raises(UsageError, match="pooled or reduce=False"):
        criterion(logits, labels, image_weights=weights, reduce=False)


@pytest.mark.parametrize("spec", SPECS)
def test_named_class_is_the_same_loss(spec: str) -> None:
    record = next(record for record in ll.list_losses() if record.name == spec)
    made = getattr(ll, record.class_name)()
    logits, labels = batch()
    assert torch.equal(made(logits, labels), ll.build(spec)(logits, labels))
    assert isinstance(made, ll.Loss)
    assert record.title in (type(made).__doc__ or "")
    assert set(record.defaults) <= set(inspect.signature(type(made)).parameters)
    assert str(made) == spec


def test_named_class_prints_what_was_given_and_refuses_what_it_does_not_know() -> None:
    made = ll.HyTverLoss(fn=0.6, pooled=True, empty="skip")
    assert repr(made) == "HyTverLoss(fn=0.6, pooled=True, empty='skip')"
    assert str(made) == "hytver(fn=0.6)"
    with pytest.raises(UsageError, match="fn must be a number from 0 to 1"):
        ll.HyTverLoss(fn=2)
    with pytest.raises(TypeError, match="gamma"):
        ll.HyTverLoss(gamma=2)  # type: ignore[call-arg]
    with pytest.raises(AttributeError, match="NoSuchLoss"):
        _ = ll.NoSuchLoss  # type: ignore[attr-defined]


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda loss: pickle.loads(pickle.dumps(loss))])  # noqa: S301
@pytest.mark.parametrize(
    "loss", [ll.build("0.5*dice + focal(gamma=3)", pooled=True, ignore_index=0), ll.DiceCELoss(squared=True)]
)
def test_pickles_and_copies(loss: ll.Loss, copied) -> None:
    again = copied(loss)
    assert repr(again) == repr(loss)
    assert type(again) is type(loss)


@pytest.mark.parametrize(
    ("logits", "labels", "words"),
    [
        (torch.zeros(2, 4, 5), torch.zeros(2, 4, 5).long(), "class axis is missing"),
        (torch.zeros(2, 4, 5, 6), torch.zeros(2, 4, 5, 6).long(), "class axis missing"),
        (torch.zeros(2, 1, 4, 5), torch.zeros(2, 5, 4).long(), r"labels must be \(2, 4, 5\)"),
        (torch.zeros(2, 3, 4, 5), torch.zeros(2, 2, 4, 5), r"got \(2, 2, 4, 5\)"),
        (torch.zeros(2, 1, 4, 5).long(), torch.zeros(2, 4, 5), "floating point"),
        (torch.zeros(2, 1, 0, 5), torch.zeros(2, 0, 5), "empty"),
        (torch.zeros(2, 1, 4, 5), torch.full((2, 4, 5), 255), "class numbers 0 to 1, whole, got 255"),
        (torch.zeros(2, 3, 4, 5), torch.full((2, 4, 5), -1), "class numbers 0 to 2, whole, got -1"),
        (torch.zeros(2, 3, 4, 5), torch.full((2, 4, 5), 3), "class numbers 0 to 2, whole, got 3"),
        (torch.zeros(2, 3, 4, 5), torch.zeros(2, 3, 4, 5), "add up to 1"),
        (torch.zeros(2, 1, 4, 5), torch.full((2, 4, 5), 1.5), "0 to 1"),
        (torch.zeros(2, 3, 4, 5), torch.full((2, 4, 5), 0.5), "whole"),
        (torch.full((2, 1, 4, 5), torch.nan), torch.zeros(2, 4, 5).long(), "NaN or infinite"),
        (torch.full((2, 1, 4, 5), torch.inf), torch.ones(2, 4, 5).long(), "NaN or infinite"),
        (torch.full((2, 2, 4, 5), -torch.inf), torch.zeros(2, 4, 5).long(), "NaN or infinite"),
    ],
)
def test_bad_input_is_one_clear_line(logits: torch.Tensor, labels: torch.Tensor, words: str) -> None:
    with pytest.raises((UsageError, DataError), match=words) as error:
        ll.build("dice + cross_entropy")(logits, labels)
    assert "\n" not in str(error.value)


def test_wrong_mask_and_options() -> None:
    logits, labels = batch()
    with pytest.raises(UsageError, match=r"valid must be \(2, 4, 5, 3\)"):
        ll.build("dice")(logits, labels, valid=torch.ones(2, 5))
    with pytest.raises(UsageError, match='"count" or "skip"'):
        ll.build("dice", empty="zero")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="one map per channel"):
        ll.build("dice", multilabel=True)(logits.expand(-1, 3, -1, -1, -1), labels)


def test_a_loss_that_gives_the_wrong_shape_is_named() -> None:
    @ll.loss("total_error", source="a test")
    def total_error(v: ll.Voxels) -> torch.Tensor:
        """Total error: forgets to keep images apart."""
        return v.counts().fp.sum()

    try:
        with pytest.raises(UsageError, match=r"'total_error' must give one value per image, \(2,\).*got \(\)"):
            ll.build("total_error")(*batch())
    finally:
        LOSSES.remove("total_error")


@pytest.fixture
def forgetful_compiler() -> None:
    torch.compiler.reset()


def small_batch(shape: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    stream = torch_generator("compiled loss", *shape)
    return torch.randn((shape[0], 1, *shape[1:]), generator=stream), (torch.rand(shape, generator=stream) < 0.3).long()


def same_when_compiled(
    loss: ll.Loss, compiled: Callable[..., torch.Tensor], logits: torch.Tensor, labels: torch.Tensor
) -> None:
    plain, traced = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    (2 * loss(plain, labels)).backward()
    (2 * compiled(traced, labels)).backward()
    torch.testing.assert_close(traced.grad, plain.grad)


@pytest.mark.usefixtures("forgetful_compiler")
@pytest.mark.parametrize("kernel", [None, READABLE, FAST], ids=lambda kernel: kernel.name if kernel else "default")
def test_more_than_eight_losses_are_compiled_in_one_process(kernel: Kernel | None) -> None:
    for gamma in range(1, 10):
        loss = ll.build(f"dice_plus_plus(gamma={gamma})", kernel=kernel)
        graphs: list[object] = []

        def backend(module: torch.fx.GraphModule, inputs: object, graphs: list[object] = graphs) -> object:
            graphs.append(module)
            return module.forward

        same_when_compiled(loss, torch.compile(loss, backend=backend), *small_batch((2, 4, 5)))
        assert graphs


@pytest.mark.usefixtures("forgetful_compiler")
@pytest.mark.parametrize("kernel", [READABLE, FAST], ids=lambda kernel: kernel.name)
def test_a_loss_is_compiled_for_all_shapes_at_once(kernel: Kernel) -> None:
    loss, graphs = ll.build("hytver", kernel=kernel), []

    def backend(module: torch.fx.GraphModule, inputs: object) -> object:
        graphs.append(module)
        return module.forward

    compiled = torch.compile(loss, backend=backend, dynamic=True)
    numbers = []
    for shape in ((2, 4, 5, 6), (3, 6, 5, 7), (4, 8, 9, 10)):
        same_when_compiled(loss, compiled, *small_batch(shape))
        numbers.append(len(graphs))
    assert numbers[0] == numbers[2] > 0


@pytest.mark.usefixtures("forgetful_compiler")
@pytest.mark.parametrize("kernel", [READABLE, FAST], ids=lambda kernel: kernel.name)
def test_a_whole_step_is_compiled_with_its_loss(kernel: Kernel) -> None:
    net, loss = torch.nn.Conv3d(1, 1, 3, padding=1), ll.build("hytver", kernel=kernel)

    def step(images: torch.Tensor, labels: torch.Tensor) -> None:
        loss(net(images), labels).backward()

    compiled = torch.compile(step, backend="aot_eager", dynamic=True)
    for shape in ((2, 4, 5, 6), (3, 6, 5, 7)):
        gradients = []
        for take in (step, compiled):
            net.zero_grad()
            take(*small_batch(shape))
            gradients.append(net.weight.grad.clone())
        torch.testing.assert_close(*gradients)


@pytest.mark.usefixtures("forgetful_compiler")
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch's compiler needs a C++ compiler")
def test_machine_code_gives_the_same() -> None:
    loss = ll.build("dice_ce")
    same_when_compiled(loss, torch.compile(loss, fullgraph=True), *small_batch((2, 4, 5)))


def test_a_subclass_may_compute_the_loss_its_own_way() -> None:
    class Doubled(type(ll.build("dice"))):  # type: ignore[misc]
        def forward(self, *args: object) -> torch.Tensor:
            return 2 * super().forward(*args)

    criterion = ll.build("dice")
    logits, labels = torch.zeros(1, 1, 4, 4), torch.ones(1, 4, 4)
    assert Doubled(criterion.spec)(logits, labels) == 2 * criterion(logits, labels)

"""Any module as a loss: what it is given, what it refuses, and which laws are asked of it."""

import copy
import pickle
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from monai.losses import DiceCELoss, DiceLoss, TverskyLoss
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, one_hot

import lesionloss as ll
from lesionloss import TargetForm, UsageError
from lesionloss.core.user_files import load_user_file
from lesionloss.losses.laws import LAWS, LawOutcome, check
from lesionloss.losses.laws.law_batches import make_batch
from lesionloss.losses.registry import LOSSES

MODULES: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], TargetForm]] = {
    "map": (lambda logits, target: binary_cross_entropy_with_logits(logits, target), TargetForm.LESION_MAP),
    "map_monai": (DiceCELoss(sigmoid=True), TargetForm.LESION_MAP),
    "numbers": (nn.CrossEntropyLoss(), TargetForm.CLASS_NUMBERS),
    "channel": (DiceLoss(softmax=True, to_onehot_y=True, include_background=False), TargetForm.CLASS_CHANNEL),
    "one_hot": (TverskyLoss(softmax=True, include_background=False), TargetForm.ONE_HOT),
}
SPACES = ((5, 6), (4, 5, 6))


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    before = set(LOSSES.names()) | {record.name for record in ll.list_losses()}
    yield
    for name in set(LOSSES.names()) - before:
        LOSSES.remove(name)


def two_channels(logits: Tensor) -> Tensor:
    return torch.cat([torch.zeros_like(logits), logits], 1) if logits.shape[1] == 1 else logits


def by_hand(kind: str, logits: Tensor, labels: Tensor) -> Tensor:
    """The module as its own library calls it, on the whole batch of one image."""
    module, form = MODULES[kind]
    classes = max(2, logits.shape[1])
    if form is TargetForm.LESION_MAP:
        lesion = logits if logits.shape[1] == 1 else logits[:, 1:] - logits[:, :1]
        return module(lesion, labels[:, None].to(logits.dtype))
    target = {
        TargetForm.CLASS_NUMBERS: labels,
        TargetForm.CLASS_CHANNEL: labels[:, None],
        TargetForm.ONE_HOT: one_hot(labels, classes).movedim(-1, 1).to(logits.dtype),
    }[form]
    return module(two_channels(logits), target)


@pytest.mark.parametrize("kind", MODULES)
def test_every_image_has_the_value_that_the_module_gives_it(kind: str) -> None:
    module, form = MODULES[kind]
    loss = ll.from_module(module, form, name=kind)
    for space in SPACES:
        for channels in (1, 2) if form is TargetForm.LESION_MAP else (1, 2, 3):
            batch = make_batch("from_module", channels, space, images=3)
            logits = batch.logits.clone().requires_grad_()
            found = loss(logits, batch.labels, reduce=False)
            expected = torch.stack([by_hand(kind, logits[i : i + 1], batch.labels[i : i + 1]) for i in range(3)])
            assert torch.allclose(found, expected, rtol=1e-9)
            slope, wanted = (torch.autograd.grad(values.sum(), logits)[0] for values in (found, expected))
            assert torch.allclose(slope, wanted, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("kind", MODULES)
def test_the_laws_are_asked_and_kept(kind: str) -> None:
    module, form = MODULES[kind]
    ll.from_module(module, form, name=kind)
    outcomes = {verdict.law.name: (verdict.outcome, verdict.detail) for verdict in check(kind)}
    assert {name: found for name, found in outcomes.items() if found[0] is LawOutcome.BREAKS} == {}
    unasked = {name for name, (outcome, _) in outcomes.items() if outcome is LawOutcome.UNASKED}
    assert unasked == {"compiled", "weights", "class_weights"}
    assert len(outcomes) == len(LAWS)


def test_laws_find_a_wrong_module() -> None:
    ll.from_module(lambda logits, target: (logits * target).mean(), TargetForm.LESION_MAP, name="upside_down")
    broken = {verdict.law.name for verdict in check("upside_down") if verdict.outcome is LawOutcome.BREAKS}
    assert {"gradient_sign", "perfect_prediction", "false_positives"} <= broken


class Edges(nn.Module):
    """Cross-entropy with twice the weight at the edges of a lesion."""

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """One number."""
        pool = torch.nn.functional.max_pool2d if target.dim() == 4 else torch.nn.functional.max_pool3d
        weight = 1 + pool(target, 3, 1, 1) + pool(-target, 3, 1, 1)
        return binary_cross_entropy_with_logits(logits, target, weight=weight)


def test_what_needs_neighbours_is_not_asked_for_other_orders_and_masks() -> None:
    loss = ll.from_module(Edges(), TargetForm.LESION_MAP, name="edges", geometry=True)
    found = {verdict.law.name: verdict for verdict in check("edges")}
    unasked = {name for name, verdict in found.items() if verdict.outcome is LawOutcome.UNASKED}
    assert unasked == {"spatial_shape", "weights", "class_weights", "compiled"}
    assert "looks at neighbours" in found["spatial_shape"].detail
    assert [name for name, verdict in found.items() if verdict.outcome is LawOutcome.BREAKS] == []
    batch = make_batch("edges", 1, (5, 6))
    valid = torch.rand(batch.labels.shape, generator=torch.Generator().manual_seed(1)) < 0.7
    value = loss(batch.logits, batch.labels, valid=valid)
    sure = torch.where(valid[:, None], batch.logits, -30.0)
    assert loss(sure, batch.labels * valid).item() == pytest.approx(value.item(), rel=1e-9)
    ll.from_module(Edges(), TargetForm.LESION_MAP, name="edges_denied")
    assert "voxel_order" in {v.law.name for v in check("edges_denied") if v.outcome is LawOutcome.BREAKS}


def test_a_geometry_of_several_classes_masks_with_background() -> None:
    def numbers(logits: Tensor, target: Tensor) -> Tensor:
        return cross_entropy(logits, target)

    loss = ll.from_module(numbers, TargetForm.CLASS_NUMBERS, geometry=True)
    assert str(loss) == "numbers"
    batch = make_batch("masked", 3, (4, 5))
    valid = batch.labels >= 0
    valid[:, 0] = False
    expected = loss(batch.logits, batch.labels, valid=valid)
    changed = torch.where(valid[:, None], batch.logits, 7.0)
    assert loss(changed, batch.labels, valid=valid).item() == expected.item()
    hot = ll.from_module(lambda x, t: (x.softmax(1) - t).square().mean(), TargetForm.ONE_HOT, name="hot", geometry=True)
    perfect = 40.0 * one_hot(batch.labels, 3).movedim(-1, 1).double()
    assert hot(torch.where(valid[:, None], perfect, 3.0), batch.labels, valid=valid).item() < 1e-12


def test_a_pooled_batch_is_one_image_and_multilabel_channels_are_tasks() -> None:
    ll.from_module(DiceLoss(sigmoid=True), TargetForm.LESION_MAP, name="sides")
    batch = make_batch("pooled", 1, (4, 5), images=3)
    beside = torch.cat(list(batch.logits), -1)[None], torch.cat(list(batch.labels), -1)[None]
    pooled = ll.build("sides", pooled=True)(batch.logits, batch.labels)
    assert pooled.item() == pytest.approx(ll.build("sides")(*beside).item())
    two = torch.cat([batch.logits, -batch.logits], 1)
    maps = torch.stack([batch.labels, 1 - batch.labels], 1)
    each = ll.build("sides", multilabel=True)(two, maps, reduce=False)
    wanted = [ll.build("sides")(two[:, [c]], maps[:, c], reduce=False) for c in (0, 1)]
    assert torch.allclose(each, (wanted[0] + wanted[1]) / 2)
    together = ll.build("sides", multilabel=True, pooled=True)(two, maps, reduce=False)
    assert together.shape == (1,)


def test_buffers_follow_the_logits_and_the_module_stays_as_it_was() -> None:
    weighted = nn.CrossEntropyLoss(weight=torch.tensor([0.2, 0.8]))
    loss = ll.from_module(weighted, TargetForm.CLASS_NUMBERS, name="weighted")
    batch = make_batch("weighted", 2, (4, 5), images=1)
    expected = cross_entropy(batch.logits, batch.labels, weight=torch.tensor([0.2, 0.8]).double())
    assert loss(batch.logits, batch.labels).item() == pytest.approx(expected.item(), rel=1e-6)
    assert weighted.weight.dtype == torch.float32


def test_weights_of_voxels_are_refused_and_a_pooled_geometry_gets_the_batch() -> None:
    loss = ll.from_module(Edges(), TargetForm.LESION_MAP, name="edges", geometry=True)
    batch = make_batch("weights", 1, (4, 5))
    with pytest.raises(UsageError, match="'edges' calls a module, which takes no weights of voxels and of classes"):
        loss(batch.logits, batch.labels, weight=torch.ones(batch.labels.shape))
    with pytest.raises(UsageError, match="give valid= for a mask, and weights of classes to the module"):
        ll.build("edges", class_weights=(1, 2))(batch.logits, batch.labels)
    pooled = ll.build("edges", pooled=True)(batch.logits, batch.labels)
    assert pooled.item() == pytest.approx(Edges()(batch.logits, batch.labels[:, None].double()).item())


def test_an_image_without_a_valid_voxel_costs_nothing() -> None:
    loss = ll.from_module(DiceLoss(sigmoid=True), TargetForm.LESION_MAP, name="dice_of_none")
    batch = make_batch("none", 1, (4, 5))
    valid = torch.ones_like(batch.labels, dtype=torch.bool)
    valid[0] = False
    values = loss(batch.logits, batch.labels, valid=valid, reduce=False)
    assert values[0] == 0
    assert values[1] > 0


def test_copies_and_deep_supervision_work_as_with_other_losses() -> None:
    loss = ll.from_module(DiceCELoss(softmax=True, to_onehot_y=True), TargetForm.CLASS_CHANNEL)
    assert str(loss) == "monai_dice_ce"
    assert LOSSES.get("monai_dice_ce").source == "monai.losses.dice.DiceCELoss"
    assert LOSSES.get("monai_dice_ce").title == "DiceCELoss: a loss of monai, called on each image."
    batch = make_batch("copies", 3, (8, 8))
    pickled = pickle.loads(pickle.dumps(loss))  # noqa: S301  # pickled in the same line
    for other in (copy.deepcopy(loss), pickled, ll.build("monai_dice_ce")):
        assert torch.equal(other(batch.logits, batch.labels), loss(batch.logits, batch.labels))
    levels = [batch.logits, torch.nn.functional.avg_pool2d(batch.logits, 2)]
    deep = ll.DeepSupervision(loss)(levels, batch.labels)
    assert deep.item() > 0
    mixed = ll.build("0.5*monai_dice_ce + 0.5*dice")(batch.logits, batch.labels)
    parts = [ll.build(name)(batch.logits, batch.labels) for name in ("monai_dice_ce", "dice")]
    assert mixed.item() == pytest.approx((parts[0] + parts[1]).item() / 2)


class Learns(nn.Module):
    """Has a parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))


def test_what_can_not_be_a_loss_is_refused_in_one_line() -> None:
    good = nn.CrossEntropyLoss()
    for arguments, words in (
        ((good, "one_hot"), r"target: write TargetForm\.CLASS_NUMBERS, .*got str .one_hot"),
        ((3, TargetForm.ONE_HOT), "module must be an nn.Module or a function"),
        ((Learns(), TargetForm.ONE_HOT), "Learns has parameters, which would not be trained"),
    ):
        with pytest.raises(UsageError, match=words):
            ll.from_module(*arguments)
    with pytest.raises(UsageError, match="must be a Python identifier in small letters; got '<lambda>'"):
        ll.from_module(lambda logits, target: logits.sum(), TargetForm.ONE_HOT)
    with pytest.raises(UsageError, match="'dice' exists already"):
        ll.from_module(good, TargetForm.CLASS_NUMBERS, name="dice")
    batch = make_batch("refused", 3, (4, 5))
    ll.from_module(DiceLoss(sigmoid=True), TargetForm.LESION_MAP, name="single")
    with pytest.raises(UsageError, match="'single' takes a map of one lesion class, the logits have 3 classes"):
        ll.build("single")(batch.logits, batch.labels)
    ll.from_module(nn.CrossEntropyLoss(reduction="none"), TargetForm.CLASS_NUMBERS, name="maps")
    with pytest.raises(UsageError, match=r"'maps': its module must give one number.*got \(1, 4, 5\)"):
        ll.build("maps")(batch.logits, batch.labels)
    ll.from_module(good, TargetForm.CLASS_NUMBERS, name="whole")
    with pytest.raises(UsageError, match="'whole' takes class numbers, so labels must be"):
        ll.build("whole")(batch.logits[:, :1], torch.full((2, 4, 5), 0.5, dtype=torch.float64))


FILE = """
import lesionloss as ll
from monai.losses import DiceCELoss, TverskyLoss

ll.from_module(DiceCELoss(softmax=True, to_onehot_y=True), ll.TargetForm.CLASS_CHANNEL)
ll.from_module(TverskyLoss(sigmoid=True), ll.TargetForm.LESION_MAP, name="their_tversky")
"""


def test_a_file_registers_modules(tmp_path: Path) -> None:
    path = tmp_path / "theirs.py"
    path.write_text(FILE)
    assert load_user_file(path).names(LOSSES) == ("monai_dice_ce", "their_tversky")
    assert LOSSES.get("their_tversky").function.__module__ == "lesionloss_user_theirs"


def test_the_page_on_own_code_works_as_printed(tmp_path: Path) -> None:
    """The Python blocks of docs/howto/own-code.md are files with losses and a network."""
    from lesionloss.networks import NETWORKS, network_channels

    page = (Path(__file__).parents[2] / "docs" / "howto" / "own-code.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL)
    assert len(blocks) == 3
    loaded = []
    for number, block in enumerate(blocks):
        path = tmp_path / f"block{number}.py"
        path.write_text(block)
        loaded.append(load_user_file(path))
    try:
        assert loaded[0].names(LOSSES) == ("root_tversky",)
        assert loaded[1].names(LOSSES) == ("monai_dice_ce", "their_tversky", "torch_cross_entropy")
        assert network_channels("two_layers(features=8)") == (3, 1)
    finally:
        NETWORKS.remove("two_layers")
    for form in TargetForm:
        assert f"| `{form.name}` |" in page

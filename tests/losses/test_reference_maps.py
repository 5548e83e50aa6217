"""Maps of the reference: by hand and by brute force, and the ways by which they reach a loss."""

import itertools
import re
import sys
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.func import vmap

import lesionloss as ll
from lesionloss.core.errors import UsageError
from lesionloss.core.extras import MissingExtraError
from lesionloss.core.randomness import numpy_generator
from lesionloss.losses import reference_maps
from lesionloss.losses.laws.law_batches import make_lesions
from lesionloss.losses.loss_options import LossOptions
from lesionloss.losses.maps_of_batch import maps_of_batch
from lesionloss.losses.reference_maps import MAPS, ReferenceMap
from lesionloss.losses.registry import LOSSES

SPACES = ((1, 6), (5, 7), (3, 4, 6), (5, 1, 4))


def mask_of(space: tuple[int, ...], share: float = 0.2) -> NDArray[np.bool_]:
    return numpy_generator("reference maps", *space).random(space) < share


def touching(first: tuple[int, ...], second: tuple[int, ...]) -> bool:
    return max(abs(a - b) for a, b in zip(first, second, strict=True)) == 1


def by_flooding(mask: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Components by visiting neighbours, corners included, numbered in the order of their first voxels."""
    numbers, count = np.zeros(mask.shape, dtype=np.int32), 0
    voxels = [tuple(at) for at in np.argwhere(mask).tolist()]
    for seed in voxels:
        if numbers[seed]:
            continue
        count, todo = count + 1, [seed]
        while todo:
            here = todo.pop()
            numbers[here] = count
            todo += [other for other in voxels if not numbers[other] and touching(here, other)]
    return numbers


def distances(space: tuple[int, ...], targets: NDArray[np.bool_], spacing_mm: tuple[float, ...]) -> NDArray[np.float64]:
    """Distances in mm of all voxels to each target voxel, (*space, targets)."""
    places = np.stack(np.meshgrid(*map(np.arange, space), indexing="ij"), axis=-1)[..., None, :]
    return np.sqrt((((places - np.argwhere(targets)) * spacing_mm) ** 2).sum(-1))


@pytest.mark.parametrize("space", SPACES)
def test_maps_by_brute_force(space: tuple[int, ...]) -> None:
    mask, spacing_mm = mask_of(space), (0.7, 1.9, 1.3)[: len(space)]
    numbers = by_flooding(mask)
    np.testing.assert_array_equal(reference_maps.lesions(mask, spacing_mm), numbers)
    sizes = reference_maps.lesion_voxels(mask, spacing_mm)
    np.testing.assert_array_equal(sizes, np.where(mask, np.bincount(numbers.reshape(-1))[numbers], 0))

    to_lesion = distances(space, mask, spacing_mm)
    nearest = reference_maps.nearest_lesion(mask, spacing_mm)
    owners = numbers[mask]
    for at in np.ndindex(space):
        nearby = {int(owners[k]) for k in np.flatnonzero(to_lesion[at] <= to_lesion[at].min() + 1e-9)}
        assert int(nearest[at]) in nearby
    expected = to_lesion.min(-1) - np.where(mask, distances(space, ~mask, spacing_mm).min(-1), 0)
    np.testing.assert_allclose(reference_maps.distance_mm(mask, spacing_mm), expected, rtol=1e-6)


@pytest.mark.parametrize("record", list(MAPS), ids=lambda record: record.name)
@pytest.mark.parametrize("space", [(3, 4), (2, 3, 4)])
def test_maps_of_no_lesion_and_of_nothing_else(record: ReferenceMap, space: tuple[int, ...]) -> None:
    spacing_mm = (1.0,) * len(space)
    assert not record.function(np.zeros(space, dtype=np.bool_), spacing_mm).any()
    full = record.function(np.ones(space, dtype=np.bool_), spacing_mm)
    assert full.shape == space
    values = {"lesion_voxels": full.size, "distance_mm": 0, "skeleton": 0}
    assert np.unique(full).tolist() == [values.get(record.name, 1)]
    assert record.title.endswith(".")


def test_the_law_batches_have_no_voxel_between_two_lesions() -> None:
    """Else a mirrored image could have other cells."""
    for channels, space in itertools.product((1, 2, 3), ((4, 7), (3, 4, 5))):
        batch = make_lesions(channels, space)
        for number in range(1, max(2, channels)):
            mask = (batch.labels[0] == number).numpy()
            numbers = by_flooding(mask)
            if numbers.max() < 2:
                continue
            far = distances(space, mask, batch.spacing_mm or ())
            of_lesion = np.stack([far[..., numbers[mask] == n].min(-1) for n in range(1, numbers.max() + 1)], axis=-1)
            first, second = np.sort(of_lesion, axis=-1)[..., :2].reshape(-1, 2).T
            assert (second - first > 1e-3).all()


@pytest.fixture(autouse=True)
def _far_from_lesions() -> Iterator[None]:
    """A loss that uses two maps."""

    @ll.loss("far", source="a test", maps=("distance_mm", "lesions"))
    def far(v: ll.Voxels) -> Tensor:
        """Far: probability times distance, and the number of lesions."""
        count = v.reference_map("lesions").amax(-1)
        return v.total(v.p[:, 1:] * v.reference_map("distance_mm")) / v.n[:, None] + count

    yield
    LOSSES.remove("far")


LABELS = torch.zeros((2, 4, 5, 6), dtype=torch.long)
LABELS[0, 1, 1, 1], LABELS[0, 3, 4, 5], LABELS[1, 0, 0, :3], LABELS[1, 2, 4, 4] = 1, 2, 2, 1
LOGITS = torch.randn((2, 3, 4, 5, 6), generator=torch.Generator().manual_seed(3), dtype=torch.float64)
SPACING_MM = (3.0, 1.0, 0.5)


def test_a_loss_names_its_maps_and_a_sum_those_of_its_terms() -> None:
    assert ll.build("dice").maps == ()
    assert ll.build("dice").reference_maps(LABELS, channels=3) == {}
    assert ll.build("0.5*far + dice + far").maps == ("distance_mm", "lesions")
    with pytest.raises(UsageError, match="no reference map is named 'lesion'; did you mean 'lesions'"):
        ll.loss("other", source="a test", maps=("lesion",))(lambda v: v.n)


def test_maps_are_made_for_each_class_with_the_spacing_of_each_image() -> None:
    spacings = torch.tensor([SPACING_MM, (1.0, 1.0, 1.0)])
    maps = ll.build("far").reference_maps(LABELS, spacing_mm=spacings, channels=3)
    assert {name: (given.shape, given.dtype) for name, given in maps.items()} == {
        "distance_mm": ((2, 2, 4, 5, 6), torch.float32),
        "lesions": ((2, 2, 4, 5, 6), torch.int32),
    }
    for image, number in itertools.product(range(2), (1, 2)):
        mask, edges = (LABELS[image] == number).numpy(), tuple(spacings[image].tolist())
        expected = reference_maps.distance_mm(mask, edges)
        np.testing.assert_array_equal(maps["distance_mm"][image, number - 1], expected)
    loss = ll.build("far")
    given = loss(LOGITS, LABELS, maps=maps, reduce=False)
    torch.testing.assert_close(given, loss(LOGITS, LABELS, spacing_mm=spacings, reduce=False))
    torch.testing.assert_close(given[:1], loss(LOGITS[:1], LABELS[:1], spacing_mm=SPACING_MM, reduce=False))
    assert given[0] != loss(LOGITS[:1], LABELS[:1], reduce=False)


def test_labels_of_every_form_give_the_same_maps() -> None:
    loss = ll.build("far")
    expected = loss.reference_maps(LABELS, channels=3)["distance_mm"]
    onehot = torch.nn.functional.one_hot(LABELS, 3).movedim(-1, 1)
    for form in (LABELS[:, None], LABELS.to(torch.uint8), onehot, onehot.double()):
        assert torch.equal(loss.reference_maps(form, channels=3)["distance_mm"], expected)
    flat = LABELS[:, :, :, 0].clamp_max(1)
    assert loss.reference_maps(flat)["distance_mm"].shape == (2, 1, 4, 5)
    assert loss.reference_maps(flat[:, None])["distance_mm"].shape == (2, 1, 4, 5)
    channels = ll.build("far", multilabel=True).reference_maps(onehot, channels=3)["distance_mm"]
    assert torch.equal(channels[:, 1:], expected)
    masked = loss.reference_maps(LABELS, valid=LABELS != 2, channels=3)["lesions"]
    assert masked.amax((0, 2, 3, 4)).tolist() == [1, 0]
    ignored = ll.build("far", ignore_index=2).reference_maps(LABELS, channels=3)["lesions"]
    assert torch.equal(ignored, masked)


def test_maps_are_computed_once_for_all_terms_and_not_if_they_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    computed = reference_maps.compute

    def counting(name: str, lesion: Tensor, spacing_mm: Tensor) -> Tensor:
        calls.append(name)
        return computed(name, lesion, spacing_mm)

    monkeypatch.setattr(reference_maps, "compute", counting)
    loss = ll.build("far + 0.5*far")
    maps = loss.reference_maps(LABELS, channels=3)
    assert calls == ["distance_mm", "lesions"]
    loss(LOGITS, LABELS, maps=maps)
    assert calls == ["distance_mm", "lesions"]
    loss(LOGITS, LABELS, maps={"lesions": maps["lesions"]})
    assert calls == ["distance_mm", "lesions", "distance_mm"]


def test_maps_inside_torch_func_compile_and_on_the_meta_device() -> None:
    loss = ll.build("far")
    each = vmap(lambda z, y: loss(z[None], y[None], spacing_mm=SPACING_MM))(LOGITS, LABELS)
    torch.testing.assert_close(each, loss(LOGITS, LABELS, spacing_mm=SPACING_MM, reduce=False))
    maps = loss.reference_maps(LABELS, channels=3)
    given = vmap(lambda z, y, m: loss(z[None], y[None], maps={name: x[None] for name, x in m.items()}))
    torch.testing.assert_close(given(LOGITS, LABELS, maps), loss(LOGITS, LABELS, reduce=False))
    assert loss(LOGITS.to("meta"), LABELS.to("meta")).is_meta


@pytest.mark.slow
@pytest.mark.parametrize("text", ["component_dice(ce_share=0.5)", "lesion_tversky + inverse_weighted"])
def test_compiled_with_weights_spacing_and_maps(text: str) -> None:
    loss = ll.build(text)
    compiled = torch.compile(ll.build(text), backend="aot_eager", fullgraph=True)
    for side in (5, 6, 7):
        labels, weight = LABELS[..., :side, :5].clamp_max(1), torch.rand(2, 4, min(side, 5), 5).double()
        logits = LOGITS[:, :1, :, :side, :5].clone().requires_grad_()
        spacings = torch.tensor([SPACING_MM, (1.0, 1.0, 1.0)])
        maps = loss.reference_maps(labels, weight > 0, spacings)
        for given in ({}, maps):
            values = [f(logits, labels, weight=weight, spacing_mm=spacings, maps=given) for f in (compiled, loss)]
            gradients = [torch.autograd.grad(value, logits)[0] for value in values]
            torch.testing.assert_close(*values)
            torch.testing.assert_close(*gradients)


def test_without_the_extra_the_message_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [name for name in sys.modules if name.partition(".")[0] == "scipy"]:
        monkeypatch.setitem(sys.modules, module, None)
    for name in ("lesions", "distance_mm"):
        with pytest.raises(MissingExtraError, match=rf"{name} needs scipy.*pip install \"lesionloss\[metrics\]\""):
            maps_of_batch([name], LossOptions(), LABELS.clamp_max(1))


def test_coarser_outputs_have_their_own_maps() -> None:
    loss, coarse = ll.build("far"), LOGITS[..., ::2, ::2, ::2]
    maps = loss.reference_maps(LABELS, spacing_mm=SPACING_MM, channels=3)
    found = ll.DeepSupervision(loss)([LOGITS, coarse], LABELS, spacing_mm=SPACING_MM, maps=maps)
    lesions = torch.nn.functional.one_hot(LABELS, 3).movedim(-1, 1)[:, 1:].double()
    shares = torch.nn.functional.adaptive_avg_pool3d(lesions, coarse.shape[2:])
    labels = torch.where(shares.sum(1) > 0, shares.argmax(1) + 1, 0)
    edges = tuple(edge * a / b for edge, a, b in zip(SPACING_MM, (4, 5, 6), coarse.shape[2:], strict=True))
    fine, less = loss(LOGITS, LABELS, spacing_mm=SPACING_MM), loss(coarse, labels, spacing_mm=edges)
    torch.testing.assert_close(found, (fine + less / 2) / 1.5)


def test_a_map_of_the_users() -> None:
    @ll.reference_map("rows", np.int32)
    def rows(lesion: NDArray[np.bool_], spacing_mm: tuple[float, ...]) -> NDArray[np.int32]:
        """Number of the row."""
        return np.broadcast_to(np.arange(len(lesion), dtype=np.int32)[:, None], lesion.shape)

    try:
        made = maps_of_batch(["rows"], LossOptions(), torch.zeros(1, 2, 3, dtype=torch.long))["rows"]
        assert made.tolist() == [[[[0, 0, 0], [1, 1, 1]]]]
        with pytest.raises(UsageError, match="a reference map named 'rows' exists already"):
            ll.reference_map("rows")(reference_maps.distance_mm)
    finally:
        MAPS.remove("rows")


def no_title(lesion: NDArray[np.bool_], spacing_mm: tuple[float, ...]) -> NDArray[np.float32]:
    return np.zeros(2, dtype=np.float32)


def test_what_is_no_map_is_refused() -> None:
    with pytest.raises(UsageError, match="reference map 'x' has no docstring"):
        ll.reference_map("x")(no_title)
    with pytest.raises(UsageError, match="reference map 'x': dtype must be int32 or float32, got float64"):
        ll.reference_map("x", np.float64)(reference_maps.distance_mm)
    no_title.__doc__ = "Too small."
    ll.reference_map("x")(no_title)
    try:
        with pytest.raises(UsageError, match=re.escape("reference map 'x' must give an array (2, 3), got (2,)")):
            maps_of_batch(["x"], LossOptions(), torch.zeros(1, 2, 3, dtype=torch.long))
    finally:
        MAPS.remove("x")

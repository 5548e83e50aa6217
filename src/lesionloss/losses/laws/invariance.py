"""Laws of invariance: heads, forms of labels, masks, order of voxels, shape of space, other images of the batch.

Geometric losses depend on where voxels lie: for them whole images are mirrored and turned instead of voxels exchanged.
"""

from dataclasses import replace
from itertools import permutations

import torch
from torch import Tensor

from lesionloss.core.errors import UsageError
from lesionloss.core.randomness import torch_generator
from lesionloss.losses.laws.law_batches import (
    LawBatch,
    LawBroken,
    LossUnderTest,
    NotApplicable,
    equal,
    law,
    make_batch,
    make_lesions,
)
from lesionloss.losses.maps_of_batch import maps_of_batch
from lesionloss.losses.reference_maps import MAPS


@law("heads")
def heads(tested: LossUnderTest) -> None:
    """One sigmoid channel z gives the same value as two softmax channels (a, a + z)."""
    for space in ((5, 6), (4, 5, 6)):
        one = make_batch("heads", 1, space)
        shift = make_batch("shift", 1, space).logits
        two = one.with_logits(torch.cat([shift, shift + one.logits], dim=1))
        equal(tested.each(two), tested.each(one), f"two channels, {two.describe()}")


@law("labels")
def labels(tested: LossUnderTest) -> None:
    """Class numbers, with or without a channel axis, and one-hot labels of any type give the same value."""
    for batch in tested.batches("labels"):
        expected = tested.each(batch)
        forms = {"(B, 1, *space)": batch.labels[:, None], "uint8": batch.labels.to(torch.uint8)}
        channels = batch.logits.shape[1]
        if channels == 1:
            forms |= {"shares": batch.labels.double(), "bool": batch.labels > 0}
        else:
            one_hot = torch.nn.functional.one_hot(batch.labels, channels).movedim(-1, 1)
            forms |= {"one-hot whole numbers": one_hot, "one-hot shares": one_hot.double()}
        for form, given in forms.items():
            equal(tested.each(replace(batch, labels=given)), expected, f"labels as {form}, {batch.describe()}")


@law("masked_voxels")
def masked_voxels(tested: LossUnderTest) -> None:
    """Masked voxels are ignored, even if they are NaN: the loss is that of an image without them or any content."""
    for channels in tested.channels:
        space = (5, 8) if tested.geometric else (40, 1)
        whole = make_batch("masked_voxels", channels, space, images=1, lesion=0.3)
        kept = torch.rand((1, *space), generator=torch_generator("laws", "mask")) < 0.6
        kept.view(-1)[: max(2, channels)] = True
        without = replace(whole, labels=whole.labels * kept, valid=kept)
        if not tested.geometric:
            without = LawBatch(whole.logits[:, :, kept[0, :, 0]], whole.labels[:, kept[0, :, 0]])
        expected, slope = tested.each(without), tested.gradient(without)
        slope = slope.flatten(2)[:, :, kept.view(-1)] if tested.geometric else slope.flatten(2)
        for words, logit, label in (("ordinary values", None, None), ("NaN", torch.nan, 255), ("1e4", 1e4, -1)):
            logits, numbers = whole.logits.clone(), whole.labels.clone()
            if logit is not None and label is not None:
                logits.masked_fill_(~kept, logit), numbers.masked_fill_(~kept, label)
            batch = LawBatch(logits, numbers, kept)
            equal(tested.each(batch), expected, f"masked voxels hold {words}, {batch.describe()}")
            gradient = tested.gradient(batch).flatten(2)
            equal(gradient[:, :, kept.view(-1)], slope, f"gradient of valid voxels, masked ones hold {words}")
            if bool((gradient[:, :, ~kept.view(-1)] != 0).any()):
                raise LawBroken(f"masked voxels that hold {words} have a gradient, {batch.describe()}")


@law("weights")
def weights(tested: LossUnderTest) -> None:
    """A map of zeros and ones as weights of voxels is a mask, and other weights change the value."""
    for batch in tested.batches("weights"):
        stream = torch_generator("laws", "weights", *batch.labels.shape)
        kept = torch.rand(batch.labels.shape, generator=stream) < 0.7
        kept.view(len(kept), -1)[:, : max(2, batch.logits.shape[1])] = True
        masked, logits = replace(batch, valid=kept), batch.logits.masked_fill(~kept[:, None], torch.nan)
        as_weights = LawBatch(logits, batch.labels, weight=kept.double())
        equal(tested.each(as_weights), tested.each(masked), f"weights of 0 and 1 instead of a mask, {batch.describe()}")
        equal(tested.gradient(as_weights), tested.gradient(masked), "gradient, weights of 0 and 1 instead of a mask")
        uneven = tested.each(replace(batch, weight=0.2 + torch.rand(kept.shape, generator=stream)))
        if bool(((uneven - tested.each(batch)).abs() < 1e-9).any()):
            raise LawBroken(f"weights of 0.2 to 1.2 give the value without weights, {batch.describe()}")


@law("reference_maps")
def maps(tested: LossUnderTest) -> None:
    """Maps of the reference that come with the call replace those that the loss would compute, all of them."""
    criterion = tested.loss()
    if not criterion.maps:
        raise NotApplicable("it uses no maps of the reference")
    for batch in tested.batches("reference_maps"):
        channels = batch.logits.shape[1]
        given = criterion.reference_maps(batch.labels[:, None], channels=channels)
        equal(tested.each(replace(batch, maps=given)), tested.each(batch), f"maps given, {batch.describe()}")
        mirrored = batch.labels.flip(-1)[:, None]
        known = criterion.reference_maps(mirrored, channels=channels)
        everything = maps_of_batch(MAPS.names(), criterion.options, mirrored, channels=channels)
        found, expected = (tested.each(replace(batch, maps=given)) for given in (known, everything))
        equal(found, expected, "it uses a map that it does not name in maps=; value with the named and with all maps")


@law("voxel_order")
def voxel_order(tested: LossUnderTest) -> None:
    """The order of the voxels does not change the value; of geometric losses: mirroring and turning does not."""
    if tested.geometric:
        _check_turned(tested)
        return
    for batch in tested.batches("voxel_order"):
        count = batch.labels[0].numel()
        order = torch.randperm(count, generator=torch_generator("laws", "order", count))
        logits = batch.logits.flatten(2)[:, :, order].view_as(batch.logits)
        shuffled = LawBatch(logits, batch.labels.flatten(1)[:, order].view_as(batch.labels))
        equal(tested.each(shuffled), tested.each(batch), f"voxels permuted, {batch.describe()}")


def _check_turned(tested: LossUnderTest) -> None:
    for channels in tested.channels:
        for space in ((4, 7), (3, 4, 5)):
            batch, axes = make_lesions(channels, space), len(space)
            expected = tested.each(batch)
            for axis in range(axes):
                mirrored = replace(batch, logits=batch.logits.flip(2 + axis), labels=batch.labels.flip(1 + axis))
                equal(tested.each(mirrored), expected, f"axis {axis} mirrored, {batch.describe()}")
            for order in permutations(range(axes)):
                turned = LawBatch(
                    batch.logits.permute(0, 1, *(2 + axis for axis in order)),
                    batch.labels.permute(0, *(1 + axis for axis in order)),
                    spacing_mm=tuple((batch.spacing_mm or ())[axis] for axis in order),
                )
                equal(tested.each(turned), expected, f"axes in the order {order}, {batch.describe()}")


@law("spatial_shape")
def spatial_shape(tested: LossUnderTest) -> None:
    """The same voxels in another spatial shape, 2-D or 3-D, give the same value; of geometric losses: a slice."""
    for channels in tested.channels:
        batch = make_batch("spatial_shape", channels, (5, 6) if tested.geometric else (4, 5, 6))
        expected, space = tested.each(batch), tuple(batch.labels.shape[1:])
        shapes = ((1, 5, 6), (5, 1, 6), (5, 6, 1))
        for shape in shapes if tested.geometric else ((6, 5, 4), (2, 2, 30), (20, 6), (1, 8, 15), (120, 1)):
            logits = batch.logits.reshape(*batch.logits.shape[:2], *shape)
            reshaped = LawBatch(logits, batch.labels.reshape(-1, *shape))
            equal(tested.each(reshaped), expected, f"{space} reshaped to {shape}, {channels} channels")


@law("independent_images")
def independent_images(tested: LossUnderTest) -> None:
    """An image has the same value alone and in a batch; a pooled batch has that of its images side by side."""
    for channels in tested.channels:
        batch = make_batch("independent_images", channels, (5, 6), images=3)
        batch.labels[0] *= torch.rand((5, 6), generator=torch_generator("laws", "fewer")) < 0.3
        together = tested.each(batch)
        for image in range(3):
            single = LawBatch(batch.logits[image : image + 1], batch.labels[image : image + 1])
            equal(together[image : image + 1], tested.each(single), f"image {image} of 3, {batch.describe()}")
            if tested.geometric:  # side by side, lesions of two images could touch
                equal(tested.each(single, pooled=True), tested.each(single), f"one image pooled, {single.describe()}")
        pooled, words = tested.each(batch, pooled=True), f"pooled, {batch.describe()}"
        if tested.geometric:
            turned = LawBatch(batch.logits.flip(0), batch.labels.flip(0))
            equal(tested.each(turned, pooled=True), pooled, f"images in another order, {words}")
            continue
        beside = LawBatch(torch.cat(list(batch.logits), dim=-1)[None], torch.cat(list(batch.labels), dim=-1)[None])
        equal(pooled, tested.each(beside), words)


@law("multilabel")
def multilabel(tested: LossUnderTest) -> None:
    """With multilabel=True the value is the mean over channels, each an independent binary task."""
    first, second = make_batch("first", 1, (5, 6)), make_batch("second", 1, (5, 6))
    both = LawBatch(torch.cat([first.logits, second.logits], 1), torch.stack([first.labels, second.labels], 1))
    expected = (tested.each(first) + tested.each(second)) / 2
    equal(tested.each(both, multilabel=True), expected, "two channels with multilabel=True")


@law("soft_labels")
def soft_labels(tested: LossUnderTest) -> None:
    """Soft labels are used or refused, never rounded: a label of 0.3 gives a finite value unlike that of 0 and 1."""
    batch = make_batch("soft_labels", 1, (5, 6))
    try:
        value = tested.each(replace(batch, labels=torch.full_like(batch.logits, 0.3)))
    except UsageError:
        return
    if not bool(value.isfinite().all()):
        raise LawBroken(f"labels of 0.3 give {value.tolist()}")
    for rounded in (0.0, 1.0):
        other = tested.each(replace(batch, labels=torch.full_like(batch.logits, rounded)))
        if bool(((value - other).abs() < 1e-9).any()):
            raise LawBroken(f"labels of 0.3 give the same value as {rounded:g}: {value.tolist()}")


@law("class_weights")
def class_weights(tested: LossUnderTest) -> None:
    """Equal class weights change nothing, and of other class weights only the ratios matter."""
    for batch in tested.batches("class_weights"):
        classes = max(2, batch.logits.shape[1])

        def weighted(*weights: float, batch: LawBatch = batch) -> Tensor:
            return tested.loss(class_weights=weights)(batch.logits, batch.labels, reduce=False)

        equal(weighted(*[3.0] * classes), tested.each(batch), f"class weights of 3, {batch.describe()}")
        rising = [1.0 + number for number in range(classes)]
        doubled = weighted(*(2 * weight for weight in rising))
        equal(doubled, weighted(*rising), f"class weights {rising} doubled, {batch.describe()}")

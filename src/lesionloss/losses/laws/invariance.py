"""Laws of invariance: heads, forms of labels, masks, order of voxels, shape of space, other images of the batch."""

from dataclasses import replace

import torch
from torch import Tensor

from lesionloss.core.errors import UsageError
from lesionloss.core.randomness import torch_generator
from lesionloss.losses.laws.law_batches import LawBatch, LawBroken, LossUnderTest, equal, law, make_batch


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
    """Masked voxels are ignored, even if they are NaN: the loss is that of an image without them."""
    for channels in tested.channels:
        whole = make_batch("masked_voxels", channels, (40, 1), images=1, lesion=0.3)
        kept = torch.rand((1, 40, 1), generator=torch_generator("laws", "mask")) < 0.6
        kept[:, : max(2, channels)] = True
        rows = kept[0, :, 0]
        without = LawBatch(whole.logits[:, :, rows], whole.labels[:, rows])
        expected, slope = tested.each(without), tested.gradient(without)
        for words, logit, label in (("ordinary values", None, None), ("NaN", torch.nan, 255), ("1e4", 1e4, -1)):
            logits, numbers = whole.logits.clone(), whole.labels.clone()
            if logit is not None and label is not None:
                logits[:, :, ~rows], numbers[:, ~rows] = logit, label
            batch = LawBatch(logits, numbers, kept)
            equal(tested.each(batch), expected, f"masked voxels hold {words}, {batch.describe()}")
            gradient = tested.gradient(batch)
            equal(gradient[:, :, rows], slope, f"gradient of valid voxels, masked ones hold {words}")
            if bool((gradient[:, :, ~rows] != 0).any()):
                raise LawBroken(f"masked voxels that hold {words} have a gradient, {batch.describe()}")


@law("voxel_order")
def voxel_order(tested: LossUnderTest) -> None:
    """The order of the voxels does not change the value."""
    for batch in tested.batches("voxel_order"):
        count = batch.labels[0].numel()
        order = torch.randperm(count, generator=torch_generator("laws", "order", count))
        logits = batch.logits.flatten(2)[:, :, order].view_as(batch.logits)
        shuffled = LawBatch(logits, batch.labels.flatten(1)[:, order].view_as(batch.labels))
        equal(tested.each(shuffled), tested.each(batch), f"voxels permuted, {batch.describe()}")


@law("spatial_shape")
def spatial_shape(tested: LossUnderTest) -> None:
    """The same voxels in another spatial shape, 2-D or 3-D, give the same value."""
    for channels in tested.channels:
        batch = make_batch("spatial_shape", channels, (4, 5, 6))
        expected = tested.each(batch)
        for shape in ((6, 5, 4), (2, 2, 30), (20, 6), (1, 8, 15), (120, 1)):
            logits = batch.logits.reshape(*batch.logits.shape[:2], *shape)
            reshaped = LawBatch(logits, batch.labels.reshape(-1, *shape))
            equal(tested.each(reshaped), expected, f"(4, 5, 6) reshaped to {shape}, {channels} channels")


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
        beside = LawBatch(torch.cat(list(batch.logits), dim=-1)[None], torch.cat(list(batch.labels), dim=-1)[None])
        equal(tested.each(batch, pooled=True), tested.each(beside), f"pooled, {batch.describe()}")


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

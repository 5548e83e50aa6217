"""Laws of what must not matter: heads, forms of labels, masks, order of voxels, shape of space, other images."""

from dataclasses import replace

import torch

from lesionloss.core.errors import UsageError
from lesionloss.core.randomness import torch_generator
from lesionloss.losses.laws.law_batches import Batch, Broken, Subject, equal, law, make_batch


@law("heads")
def heads(subject: Subject) -> None:
    """One sigmoid channel gives the value of two softmax channels (a, a + z)."""
    for space in ((5, 6), (4, 5, 6)):
        one = make_batch("heads", 1, space)
        shift = make_batch("shift", 1, space).logits
        two = one.with_logits(torch.cat([shift, shift + one.logits], dim=1))
        equal(subject.each(two), subject.each(one), f"two channels, {two.describe()}")


@law("labels")
def labels(subject: Subject) -> None:
    """Class numbers, an extra axis, one-hot whole numbers and one-hot shares are the same labels."""
    for batch in subject.batches("labels"):
        expected = subject.each(batch)
        forms = {"(B, 1, *space)": batch.labels[:, None], "uint8": batch.labels.to(torch.uint8)}
        channels = batch.logits.shape[1]
        if channels == 1:
            forms |= {"shares": batch.labels.double(), "bool": batch.labels > 0}
        else:
            one_hot = torch.nn.functional.one_hot(batch.labels, channels).movedim(-1, 1)
            forms |= {"one-hot whole numbers": one_hot, "one-hot shares": one_hot.double()}
        for form, given in forms.items():
            equal(subject.each(replace(batch, labels=given)), expected, f"labels as {form}, {batch.describe()}")


@law("masked")
def masked(subject: Subject) -> None:
    """Masked voxels never matter, whatever they hold (NaN too): the loss is that of an image without them."""
    for channels in subject.channels:
        whole = make_batch("masked", channels, (40, 1), images=1, lesion=0.3)
        kept = torch.rand((1, 40, 1), generator=torch_generator("laws", "mask")) < 0.6
        kept[:, : max(2, channels)] = True
        rows = kept[0, :, 0]
        without = Batch(whole.logits[:, :, rows], whole.labels[:, rows])
        expected, slope = subject.each(without), subject.gradient(without)
        for words, held, label in (("as they were", None, None), ("NaN", torch.nan, 255), ("1e4", 1e4, -1)):
            logits, numbers = whole.logits.clone(), whole.labels.clone()
            if held is not None and label is not None:
                logits[:, :, ~rows], numbers[:, ~rows] = held, label
            batch = Batch(logits, numbers, kept)
            equal(subject.each(batch), expected, f"masked voxels hold {words}, {batch.describe()}")
            gradient = subject.gradient(batch)
            equal(gradient[:, :, rows], slope, f"gradient of valid voxels, masked ones hold {words}")
            if bool((gradient[:, :, ~rows] != 0).any()):
                raise Broken(f"masked voxels that hold {words} have a gradient, {batch.describe()}")


@law("permuted")
def permuted(subject: Subject) -> None:
    """The order of the voxels does not matter."""
    for batch in subject.batches("permuted"):
        count = batch.labels[0].numel()
        order = torch.randperm(count, generator=torch_generator("laws", "order", count))
        logits = batch.logits.flatten(2)[:, :, order].view_as(batch.logits)
        shuffled = Batch(logits, batch.labels.flatten(1)[:, order].view_as(batch.labels))
        equal(subject.each(shuffled), subject.each(batch), f"voxels permuted, {batch.describe()}")


@law("space")
def space(subject: Subject) -> None:
    """The shape of space does not matter: an axis split in two or merged, a 2-D image or a thin 3-D one."""
    for channels in subject.channels:
        batch = make_batch("space", channels, (4, 5, 6))
        expected = subject.each(batch)
        for shape in ((6, 5, 4), (2, 2, 30), (20, 6), (1, 8, 15), (120, 1)):
            logits = batch.logits.reshape(*batch.logits.shape[:2], *shape)
            reshaped = Batch(logits, batch.labels.reshape(-1, *shape))
            equal(subject.each(reshaped), expected, f"(4, 5, 6) reshaped to {shape}, {channels} channels")


@law("alone")
def alone(subject: Subject) -> None:
    """An image in a batch costs what it costs alone; pooled, a batch costs what its images cost side by side."""
    for channels in subject.channels:
        batch = make_batch("alone", channels, (5, 6), images=3)
        batch.labels[0] *= torch.rand((5, 6), generator=torch_generator("laws", "fewer")) < 0.3
        together = subject.each(batch)
        for image in range(3):
            single = Batch(batch.logits[image : image + 1], batch.labels[image : image + 1])
            equal(together[image : image + 1], subject.each(single), f"image {image} of 3, {batch.describe()}")
        beside = Batch(torch.cat(list(batch.logits), dim=-1)[None], torch.cat(list(batch.labels), dim=-1)[None])
        equal(subject.each(batch, pooled=True), subject.each(beside), f"pooled, {batch.describe()}")


@law("multilabel")
def multilabel(subject: Subject) -> None:
    """With multilabel=True an image costs the mean of its channels, each a question of its own."""
    first, second = make_batch("first", 1, (5, 6)), make_batch("second", 1, (5, 6))
    both = Batch(torch.cat([first.logits, second.logits], 1), torch.stack([first.labels, second.labels], 1))
    expected = (subject.each(first) + subject.each(second)) / 2
    equal(subject.each(both, multilabel=True), expected, "two channels with multilabel=True")


@law("soft")
def soft(subject: Subject) -> None:
    """Soft labels are taken or refused, never rounded: a share of 0.3 gives another finite value than 0 or 1."""
    batch = make_batch("soft", 1, (5, 6))
    try:
        value = subject.each(replace(batch, labels=torch.full_like(batch.logits, 0.3)))
    except UsageError:
        return
    if not bool(value.isfinite().all()):
        raise Broken(f"shares of 0.3 give {value.tolist()}")
    for rounded in (0.0, 1.0):
        other = subject.each(replace(batch, labels=torch.full_like(batch.logits, rounded)))
        if bool(((value - other).abs() < 1e-9).any()):
            raise Broken(f"shares of 0.3 give the same value as {rounded:g}: {value.tolist()}")

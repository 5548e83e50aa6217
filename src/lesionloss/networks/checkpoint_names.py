"""Layer names of published checkpoints: one function per layout, from their name to ours or None."""

from collections.abc import Callable

NameMap = Callable[[str], str | None]

_NUMBERS = {word: index for index, word in enumerate(("one", "two", "three", "four", "five"))}
_UP = {"five": 3, "six": 2, "seven": 1, "eight": 0}  # the level that each step up leads to
_JOINED = {"six": 3, "seven": 2, "eight": 1}  # the level of the decoder's inner blocks
_BRANCHES = {"block_nine_1": "baseline", "block_nine_2": "followup", "block_nine_3": "both", "block_c2f": "new"}
_HEADS = {"out_conv_1": "head_baseline", "out_conv_2": "head_followup", "out_conv_3": "head_new"}


def same_name(theirs: str) -> str | None:
    """Return the name unchanged: for checkpoints of this package."""
    return theirs


def coactseg_name(theirs: str) -> str | None:
    """Map CoactSeg's `vnet_best_model.pth` and the files of HyTver's code to `longitudinal_vnet`.

    HyTver's cross-attention layers are in its files, but its code never calls them; they have no counterpart.
    """
    part, _, rest = theirs.partition(".")
    block, _, inner = rest.partition(".")
    if part == "encoder":
        found = _encoder_part(block, "blocks")
    elif part == "decoder" and block in _HEADS:
        return f"decoder.{_HEADS[block]}.{inner}"
    elif part == "decoder":
        found = _decoder_part(block)
    else:
        found = None
    if found is None:
        return None
    layer = _inside_block(inner, resampling=found.startswith(("down", "up")))
    return None if layer is None else f"{part}.{found}.{layer}"


def coactseg_single_name(theirs: str) -> str | None:
    """Map the same files to `vnet`, which lacks the branches and heads at full resolution."""
    ours = coactseg_name(theirs)
    if ours is None or ".convolutions.shortcut." in ours:
        return None
    part, kind, rest = (*ours.split(".", 2), "")[:3]
    rest = rest.replace(".convolutions.", ".", 1)
    if kind in ("up", "down"):
        return f"{kind}.{rest}"
    if kind != "blocks":
        return None
    level, _, layer = rest.partition(".")
    return f"encoder.{level}.{layer}" if part == "encoder" else f"decoder.{int(level) + 1}.{layer}"


def resnet34_name(theirs: str) -> str | None:
    """Map published ResNet-34 classifiers to the encoder of `resnet34_unet`; their last layer has no counterpart."""
    return None if theirs.startswith("fc.") else f"encoder.{theirs}"


NAME_MAPS: dict[str, NameMap] = {
    "same": same_name,
    "coactseg": coactseg_name,
    "coactseg_single": coactseg_single_name,
    "resnet34": resnet34_name,
}


def _encoder_part(block: str, blocks: str) -> str | None:
    word = block.removeprefix("block_").removesuffix("_dw")
    if word not in _NUMBERS or not block.startswith("block_"):
        return None
    return f"{'down' if block.endswith('_dw') else blocks}.{_NUMBERS[word]}"


def _decoder_part(block: str) -> str | None:
    if block in _BRANCHES:
        return _BRANCHES[block]
    word = block.removeprefix("block_").removesuffix("_up")
    if block == f"block_{word}_up" and word in _UP:
        return f"up.{_UP[word]}"
    return f"blocks.{_JOINED[word] - 1}" if block == f"block_{word}" and word in _JOINED else None


def _inside_block(inner: str, resampling: bool) -> str | None:
    kind, _, layer = inner.partition(".")
    if kind == "conv":
        return layer if resampling else f"convolutions.{layer}"
    return f"shortcut.{layer}" if kind == "conv1x1" and not resampling else None

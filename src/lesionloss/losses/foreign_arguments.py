"""Arguments of MONAI, torch, segmentation-models-pytorch and nnU-Net that our losses name otherwise, or do not need."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class ForeignArgument:
    """Names of an argument elsewhere, and what to do here; `needs`: only for losses with this hyperparameter."""

    names: tuple[str, ...]
    advice: str
    needs: str | None = None


_WEIGHTED_SUM = 'weights of summands are written into a sum: build("0.5*dice + 2*cross_entropy")'

# The first line that fits an argument counts.
FOREIGN_ARGUMENTS = (
    ForeignArgument(("alpha",), "use fp= (weight of false positives)", needs="fp"),
    ForeignArgument(("alpha",), "use fn= (weight of false negatives; false positives have 1 - fn)", needs="fn"),
    ForeignArgument(("alpha",), "use lesion=alpha and background=1 - alpha", needs="background"),
    ForeignArgument(("alpha", "pos_weight"), "use lesion= (weight of lesion voxels)", needs="lesion"),
    ForeignArgument(("beta",), "use fn= (weight of false negatives)", needs="fn"),
    ForeignArgument(("gamma",), "use exponent= (the power itself, which some papers call 1/gamma)", needs="exponent"),
    ForeignArgument(("gamma",), "only focal losses have a focus; use focal or focal_tversky"),
    ForeignArgument(("weight", "class_weight"), "use class_weights=, or lesion= and background=", needs="lesion"),
    ForeignArgument(
        ("w_type",), 'use power=2 for "square", power=1 for "simple", power=0 for "uniform"', needs="power"
    ),
    ForeignArgument(("squared_pred",), "use squared=True", needs="squared"),
    ForeignArgument(("weight", "class_weight"), "use class_weights= (one for each class, background first)"),
    ForeignArgument(
        ("alpha", "beta", "pos_weight"),
        "use a loss with weights: weighted_cross_entropy and focal have lesion= and background=, tversky fp= and fn=",
    ),
    ForeignArgument(("include_background", "do_bg"), "use average_background= (off by default)"),
    ForeignArgument(("batch", "batch_dice"), "use pooled=True (the batch counts as one image)"),
    ForeignArgument(
        ("sigmoid", "softmax", "use_softmax", "other_act", "apply_nonlin", "from_logits", "mode"),
        "leave it out: losses take logits, and apply a sigmoid to one channel and a softmax to several",
    ),
    ForeignArgument(
        ("to_onehot_y", "soft_label"), "leave it out: labels may be class numbers, one-hot or soft, and are recognised"
    ),
    ForeignArgument(
        ("reduction", "size_average", "reduce"),
        "leave it out: the value is the mean over images; criterion(logits, labels, reduce=False) gives one per image",
    ),
    ForeignArgument(
        ("smooth", "smooth_nr", "smooth_dr", "eps", "epsilon"), "leave it out: the smoothing is 1e-5 in every loss"
    ),
    ForeignArgument(("ignore_label",), "use ignore_index=, or valid= in the call"),
    ForeignArgument(("jaccard",), "use the loss jaccard"),
    ForeignArgument(("classes",), "leave it out: all lesion classes are averaged; mask voxels with valid= in the call"),
    ForeignArgument(
        ("lambda_dice", "lambda_ce", "lambda_focal", "weight_ce", "weight_dice", "ce_weight", "dice_weight"),
        _WEIGHTED_SUM,
    ),
    ForeignArgument(("label_smoothing",), "smooth the labels before the call: losses take soft labels"),
)


def foreign_hint(given: Iterable[str], hyperparameters: Iterable[str]) -> str:
    """What to write instead of arguments that other libraries have.

    Args:
        given: the names of the arguments that were passed and are not known here.
        hyperparameters: the names of the loss's own hyperparameters.

    Returns:
        "sigmoid: leave it out ...; alpha: use ...", or "" where none is known from another library.
    """
    own = set(hyperparameters)
    hints = []
    for name in given:
        fits = (item for item in FOREIGN_ARGUMENTS if name in item.names and (item.needs is None or item.needs in own))
        item = next(fits, None)
        if item is not None:
            hints.append(f"{name}: {item.advice}")
    return "; ".join(hints)

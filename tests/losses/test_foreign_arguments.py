"""Arguments that other libraries have: an error that says what to write here."""

import inspect

import monai.losses
import pytest
import torch

import lesionloss as ll
from lesionloss.core.errors import UsageError
from lesionloss.losses.foreign_arguments import foreign_hint


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("DiceLoss", {"sigmoid": True}, "sigmoid: leave it out: losses take logits"),
        ("DiceLoss", {"to_onehot_y": True, "softmax": True}, "to_onehot_y: leave it out: labels may be class numbers"),
        ("DiceLoss", {"include_background": False}, "use average_background= (off by default)"),
        ("DiceLoss", {"smooth_nr": 0.0}, "the smoothing is 1e-5 in every loss"),
        ("DiceLoss", {"squared_pred": True}, "use squared=True"),
        ("DiceLoss", {"batch": True}, "use pooled=True"),
        ("DiceLoss", {"gamma": 2.0}, "only focal losses have a focus"),
        ("DiceCELoss", {"lambda_dice": 0.5}, 'build("0.5*dice + 2*cross_entropy")'),
        ("DiceCELoss", {"weight": None}, "use class_weights= (one for each class, background first)"),
        ("FocalLoss", {"weight": None}, "use class_weights=, or lesion= and background="),
        ("DiceCELoss", {"pos_weight": None}, "weighted_cross_entropy and focal have lesion= and background="),
        ("FocalLoss", {"alpha": 0.25}, "use lesion=alpha and background=1 - alpha"),
        ("FocalLoss", {"reduction": "none"}, "reduce=False) gives one per image"),
        ("TverskyLoss", {"alpha": 0.3}, "use fp= (weight of false positives)"),
        ("TverskyLoss", {"beta": 0.7}, "use fn= (weight of false negatives)"),
        ("HyTverLoss", {"alpha": 0.7}, "use fn= (weight of false negatives; false positives have 1 - fn)"),
        ("FocalTverskyLoss", {"gamma": 0.75}, "use exponent="),
        ("GeneralisedDiceLoss", {"w_type": "square"}, "use power=2"),
        ("DiceLoss", {"nothing_of_anybody": 1}, "it takes squared, pooled"),
    ],
)
def test_a_named_class_says_what_to_write(name: str, arguments: dict[str, object], words: str) -> None:
    with pytest.raises(TypeError) as error:
        getattr(ll, name)(**arguments)
    assert str(error.value).startswith(f"{name}: got an unexpected keyword argument '{next(iter(arguments))}'; ")
    assert words in str(error.value)


def test_a_text_says_it_too() -> None:
    with pytest.raises(UsageError, match=r"no hyperparameter .sigmoid..*leave it out: losses take logits"):
        ll.build("dice(sigmoid=True)")


OURS = {"DiceLoss": "dice", "DiceCELoss": "dice_ce", "DiceFocalLoss": "dice_focal", "FocalLoss": "focal"}
OURS |= {"TverskyLoss": "tversky", "GeneralizedDiceLoss": "generalised_dice"}


@pytest.mark.parametrize("theirs", OURS)
def test_every_argument_of_monai_is_ours_or_has_a_hint(theirs: str) -> None:
    own = {record.name: record for record in ll.list_losses()}[OURS[theirs]]
    options = inspect.signature(getattr(ll, own.class_name)).parameters
    foreign = [name for name in inspect.signature(getattr(monai.losses, theirs)).parameters if name not in options]
    assert [name for name in foreign if not foreign_hint([name], own.defaults)] == []


def test_every_argument_of_torch_has_a_hint() -> None:
    own = {record.name: record for record in ll.list_losses()}["cross_entropy"]
    for theirs in (torch.nn.CrossEntropyLoss, torch.nn.BCEWithLogitsLoss):
        foreign = [name for name in inspect.signature(theirs).parameters if name != "ignore_index"]
        assert [name for name in foreign if not foreign_hint([name], own.defaults)] == []
